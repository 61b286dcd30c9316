import { useEffect } from "preact/hooks";

const LOOKS_MS = [300, 1500, 5000];

/**
 * Looks again shortly after a page has begun to listen: the server does not say when a subscription has begun, and what
 * happened between the first answer and then is told by nobody. `key` is what is listened to; null: nothing yet.
 */
export function useLooks(key: string | null, refetch: () => void): void {
  useEffect(() => {
    if (key === null) return undefined;
    const timers = LOOKS_MS.map((pause) => setTimeout(refetch, pause));
    return () => timers.forEach(clearTimeout);
  }, [key, refetch]);
}
