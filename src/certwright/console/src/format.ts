/** Values as people read them. Times are the reader's own. */

const DAY = 86_400_000;
/** Units, their sizes, and from where on they are told in: lifetimes of certificates are told in days. */
const STEPS: [Intl.RelativeTimeFormatUnit, number, number][] = [
  ["year", 365 * DAY, 730 * DAY],
  ["month", 30 * DAY, 100 * DAY],
  ["day", DAY, DAY],
  ["hour", 3_600_000, 3_600_000],
  ["minute", 60_000, 60_000],
];

const relative = new Intl.RelativeTimeFormat("en", { numeric: "always" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const dayOnly = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

/** "in 3 days", "2 hours ago", "just now". */
export function ago(time: string | Date, now: Date): string {
  const distance = new Date(time).getTime() - now.getTime();
  const step = STEPS.find(([, , from]) => Math.abs(distance) >= from);
  return step ? relative.format(Math.trunc(distance / step[1]), step[0]) : distance > 0 ? "in a moment" : "just now";
}

export function moment(time: string | Date): string {
  return absolute.format(new Date(time));
}

export function day(time: string | Date): string {
  return dayOnly.format(new Date(time));
}

export function days(from: Date, to: Date): number {
  return Math.floor((to.getTime() - from.getTime()) / DAY);
}

/** "PENDING" → "Pending"; "CESSATION_OF_OPERATION" → "Cessation of operation". */
export function words(constant: string): string {
  const text = constant.toLowerCase().replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "a.example, b.example and 98 more". */
export function some(names: readonly string[], shown = 2): string {
  if (names.length <= shown + 1) return names.join(", ");
  return `${names.slice(0, shown).join(", ")} and ${names.length - shown} more`;
}

export function host(url: string): string {
  try {
    return new URL(url).host;
  } catch {
    return url;
  }
}

/** The name of an ACME server, or its host where it has none. */
export function serverName(url: string, servers: readonly { name: string; url: string }[]): string {
  const name = servers.find((server) => server.url === url)?.name;
  return name && name !== url ? name : host(url);
}
