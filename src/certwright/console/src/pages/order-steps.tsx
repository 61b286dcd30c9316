import { Icon } from "../components/icon";
import { words } from "../format";
import type { OrderStatus } from "../gql/graphql";

const STEPS: [OrderStatus, string][] = [
  ["NEW", "Placing at the CA"],
  ["PENDING", "Proving the names"],
  ["READY", "All names proved"],
  ["PROCESSING", "The CA issues"],
  ["VALID", "The certificate is there"],
];

interface Props {
  status: OrderStatus;
  /** Where it ended, if it is invalid. */
  reached: OrderStatus;
}

/** How far an order has come (RFC 8555 §7.1.6), on a line. */
export function Steps({ status, reached }: Props) {
  const isFailed = status === "INVALID";
  const at = STEPS.findIndex(([step]) => step === (isFailed ? reached : status));
  return (
    <ol class="steps" aria-label="Steps of the order">
      {STEPS.map(([step, meaning], index) => {
        const isDone = index < at || status === "VALID";
        const isFault = isFailed && index === at;
        const state = isDone ? "done" : isFault ? "failed" : index === at ? "now" : "later";
        return (
          <li key={step} class={`step step-${state}`} aria-current={index === at ? "step" : undefined}>
            <span class="step-mark">
              {state === "done" && <Icon name="done" />}
              {state === "failed" && <Icon name="cross" />}
            </span>
            <span class="step-name">{isFault ? "Invalid" : words(step)}</span>
            <span class="step-meaning">{meaning}</span>
            <span class="unseen">{SAID[state]}</span>
          </li>
        );
      })}
    </ol>
  );
}

const SAID = { done: "(done)", now: "(now)", failed: "(it ended here)", later: "(to come)" };
