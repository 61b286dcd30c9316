import { words } from "../format";
import { Icon, type IconName } from "./icon";

type Tone = "good" | "wait" | "bad" | "over";

/** Of accounts, orders, challenges, certificates and audit events. */
const TONES: Record<string, Tone> = {
  VALID: "good",
  SUCCEEDED: "good",
  READY: "wait",
  NEW: "wait",
  PENDING: "wait",
  PROCESSING: "wait",
  INVALID: "bad",
  FAILED: "bad",
  DENIED: "bad",
  REVOKED: "bad",
  EXPIRED: "bad",
  REPLACED: "over",
  DEACTIVATED: "over",
};
const ICONS: Record<Tone, IconName> = { good: "done", wait: "wait", bad: "cross", over: "dash" };

/** A status: never by its colour alone. */
export function Status({ of, label }: { of: string; label?: string }) {
  const tone = TONES[of] ?? "over";
  return (
    <span class={`status status-${tone}`}>
      <Icon name={ICONS[tone]} />
      {label ?? words(of)}
    </span>
  );
}
