import { ago, day, some } from "../format";

export interface Lifetime {
  id: string;
  names: readonly string[];
  notBefore: string;
  notAfter: string;
  status: string;
  /** None where nothing renews it. */
  renewal?: { at: string } | null;
}

interface Props {
  certificates: readonly Lifetime[];
  now: Date;
}

const MOST = 8;
const ROW = 46;
const HEAD = 22;
const DAY = 86_400_000;
const TICKS = [1, 2, 5, 10, 15, 30, 60, 90, 180, 365, 730, 1825];

/** What is renewed or ends next: how much of each lifetime is left, and when it is renewed, on a line that begins now. */
export function Timeline({ certificates, now }: Props) {
  const shown = certificates
    .filter(({ status, notAfter }) => status === "VALID" && Date.parse(notAfter) > now.getTime())
    .sort((a, b) => Date.parse(turn(a)) - Date.parse(turn(b)))
    .slice(0, MOST);
  if (shown.length === 0) return <p class="muted">Certificates stand here once there are some.</p>;
  const begin = now.getTime();
  const span = Math.max(...shown.map(({ notAfter }) => Date.parse(notAfter) - begin)) * 1.04;
  const at = (time: string | number) => `${Math.max(0, ((new Date(time).getTime() - begin) / span) * 100)}%`;
  const height = HEAD + shown.length * ROW;
  return (
    <svg class="timeline" width="100%" height={height} role="group" aria-label="Lifetimes, from now on">
      {ticks(span).map((days) => (
        <g key={days} aria-hidden="true">
          <line x1={at(begin + days * DAY)} x2={at(begin + days * DAY)} y1={HEAD} y2={height} />
          <text x={at(begin + days * DAY)} y={13} class="tick" text-anchor={days ? "middle" : "start"}>
            {label(days)}
          </text>
        </g>
      ))}
      {shown.map((certificate, index) => (
        <Row key={certificate.id} of={certificate} at={at} y={HEAD + index * ROW} now={now} />
      ))}
    </svg>
  );
}

interface RowProps {
  of: Lifetime;
  at: (time: string | number) => string;
  y: number;
  now: Date;
}

function Row({ of, at, y, now }: RowProps) {
  const { id, names, notBefore, notAfter } = of;
  const renewAt = of.renewal?.at;
  const left = (Date.parse(notAfter) - now.getTime()) / (Date.parse(notAfter) - Date.parse(notBefore));
  const tone = left < 1 / 6 ? "bad" : left < 1 / 3 ? "warn" : "good";
  const ends = `ends ${ago(notAfter, now)}`;
  const renews = renewAt ? (Date.parse(renewAt) <= now.getTime() ? "renews now, " : `renews ${ago(renewAt, now)}, `) : "";
  return (
    <a href={`/acme/certificates/${id}`} aria-label={`${some(names, 1)} ${renews}${ends}, on ${day(notAfter)}`}>
      <rect class="hit" x="0" y={y + 2} width="100%" height={ROW - 4} rx="6" />
      <foreignObject x="0" y={y + 3} width="100%" height="22">
        <div class="what">
          <span>{some(names, 1)}</span>{" "}
          <span class="when">
            {renews}
            {ends}
          </span>
        </div>
      </foreignObject>
      <rect class={`life life-${tone}`} x="0" y={y + 27} width={at(notAfter)} height="8" rx="4" />
      {renewAt && <circle class="renewal" cx={at(renewAt)} cy={y + 31} r="6" />}
    </a>
  );
}

/** What happens to it next: its renewal, or its end. */
function turn({ renewal, notAfter }: Lifetime): string {
  return renewal?.at ?? notAfter;
}

/** Days at which the line is marked: now, and up to six more. */
function ticks(span: number): number[] {
  const days = span / DAY;
  const step = TICKS.find((size) => days / size <= 6) ?? 3650;
  return Array.from({ length: Math.floor(days / step) + 1 }, (_, index) => index * step);
}

function label(days: number): string {
  if (days === 0) return "now";
  return days % 365 === 0 ? `${days / 365} y` : `${days} d`;
}
