import { useEffect, useRef } from "preact/hooks";
import { useAnnounce } from "../components/announce";
import { words } from "../format";
import { type Name, provedOf } from "./order-parts";

const MOST = 3;

/** Says what changed by itself since it was last shown: few names one by one, many as a number; and the order. */
export function useAnnouncedProofs(status: string | undefined, names: readonly Name[]): void {
  const announce = useAnnounce();
  const known = useRef<{ status: string; names: Map<string, string> } | null>(null);
  useEffect(() => {
    if (!status) return;
    const before = known.current;
    known.current = { status, names: new Map(names.map((name) => [name.name, name.status])) };
    if (!before) return;
    const changed = names.filter(({ name, status }) => (before.names.get(name) ?? status) !== status);
    const said =
      changed.length > MOST
        ? []
        : changed.map(({ name, status }) => `${name}: challenge ${words(status).toLowerCase()}`);
    if (changed.length > MOST) said.push(`${provedOf(names)} of ${names.length} names proved`);
    if (before.status !== status) said.push(`The order is ${words(status).toLowerCase()}`);
    if (said.length > 0) announce(said.join(". "));
  }, [status, names]);
}
