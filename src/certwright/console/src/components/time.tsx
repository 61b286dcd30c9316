import { useEffect, useState } from "preact/hooks";
import { ago, moment } from "../format";

const REFRESH_MS = 20_000;

/** The present, anew from time to time. */
export function useNow(): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), REFRESH_MS);
    return () => clearInterval(timer);
  }, []);
  return now;
}

/** A time as the distance from now, with the time itself where it is pointed at. */
export function Time({ at }: { at: string }) {
  const now = useNow();
  return (
    <time dateTime={at} title={moment(at)}>
      {ago(at, now)}
    </time>
  );
}
