import { ago, day } from "../format";

export interface Life {
  notBefore: string;
  notAfter: string;
  status: string;
  renewal?: { at: string; windowStart?: string | null; windowEnd?: string | null } | null;
}

interface Props {
  of: Life;
  now: Date;
  /** Thicker, with the CA's window for the renewal. */
  isLarge?: boolean;
}

/** A lifetime from its begin to its end: what is gone and what is left of it, and when it is renewed. */
export function LifeBar({ of, now, isLarge = false }: Props) {
  const { notBefore, notAfter, renewal, status } = of;
  const at = (time: string | Date) => share(notBefore, notAfter, time);
  const gone = status === "VALID" ? at(now) : 100;
  const height = isLarge ? 20 : 12;
  const [top, thick] = isLarge ? [4, 12] : [3, 6];
  const [opens, closes] = [renewal?.windowStart, renewal?.windowEnd];
  return (
    <svg class="life-bar" width="100%" height={height} role="img" aria-label={told(of, now)}>
      <rect class="life-gone" x="0" y={top} width="100%" height={thick} rx={thick / 2} />
      {gone < 100 && (
        <rect
          class={`life-left ${tone(gone)}`}
          x={`${gone}%`}
          y={top}
          width={`${100 - gone}%`}
          height={thick}
          rx={thick / 2}
        />
      )}
      {isLarge && opens && closes && (
        <rect
          class="life-window"
          x={`${at(opens)}%`}
          y={top}
          width={`${Math.max(at(closes) - at(opens), 0.5)}%`}
          height={thick}
        />
      )}
      {gone < 100 && renewal && (
        <circle class="life-renewal" cx={`${at(renewal.at)}%`} cy={height / 2} r={isLarge ? 7 : 4} />
      )}
      {isLarge && gone > 0 && gone < 100 && (
        <line class="life-now" x1={`${gone}%`} x2={`${gone}%`} y1="0" y2={height} />
      )}
    </svg>
  );
}

/** How far a time is between two others, 0 to 100. */
function share(from: string, to: string, time: string | Date): number {
  const [begin, end] = [Date.parse(from), Date.parse(to)];
  const part = (new Date(time).getTime() - begin) / Math.max(end - begin, 1);
  return Math.min(1, Math.max(0, part)) * 100;
}

function tone(gone: number): string {
  return gone > 100 * (5 / 6) ? "life-bad" : gone > 100 * (2 / 3) ? "life-warn" : "life-good";
}

function told({ notBefore, notAfter, renewal, status }: Life, now: Date): string {
  const renews = status === "VALID" && renewal ? ` To be renewed ${ago(renewal.at, now)}.` : "";
  const ends = Date.parse(notAfter) > now.getTime() ? "ends" : "ended";
  return `Valid from ${day(notBefore)} to ${day(notAfter)}: ${ends} ${ago(notAfter, now)}.${renews}`;
}
