import { useRef } from "preact/hooks";
import { Failure, Note } from "../components/note";
import { Status } from "../components/status";
import { useMay } from "../viewer";
import type { ChallengeOrder, Preparation, Told } from "./challenge-data";
import { Publish } from "./challenge-publish";
import type { Name, Proof } from "./order-parts";
import { PresentationState } from "./order-presentations";
import { PlainProblem } from "./order-problem";

interface Props {
  name: Name;
  order: ChallengeOrder;
  /** The challenge that is looked at: of one that counts already, or of the chosen kind. */
  proof: Proof | undefined;
  preparation: Preparation | undefined;
  isAutomatic: boolean;
  told: Told;
  onRespond: (id: string) => void;
}

/** One name: what to publish, and how far its proof has come. */
export function NameCard({ name: of, order, proof, preparation, isAutomatic, told, onRespond }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  const mayRespond = useMay("OPERATOR");
  const isAsked = of.status === "PENDING" && order.status === "PENDING" && !isAutomatic;
  const state = proof && told.get(proof.id);
  const advice = isAsked
    ? order.advice.filter(({ identifier }) => identifier === proof?.identifier || identifier === of.name)
    : [];
  const respond = () => {
    if (!proof) return;
    // The button is about to go; who pressed it is left at the name.
    heading.current?.focus();
    onRespond(proof.id);
  };
  return (
    <li class={`challenge challenge-${of.status.toLowerCase()}`}>
      <div class="challenge-head">
        <h3 tabIndex={-1} ref={heading} class="name">
          {of.name}
        </h3>
        {proof && <span class="muted">{proof.type}</span>}
        <Status of={of.status} />
      </div>
      {isAutomatic && of.status !== "VALID" && <Automatic of={of} order={order} />}
      {of.proofs.map(({ id, error }) => error && <Fault key={id} problem={error} />)}
      {preparation && (isAsked || (of.status === "INVALID" && !isAutomatic)) && <Publish preparation={preparation} />}
      {isAsked && proof && !preparation && (
        <p class="muted">The CA offers {proof.type} only, which Certwright has no instructions for.</p>
      )}
      {advice.map(({ code, message }) => (
        <Note key={code} tone="warn">
          <p>{message}</p>
        </Note>
      ))}
      {typeof state === "object" && <Failure error={state} />}
      {isAsked && preparation && mayRespond && (
        <button
          type="button"
          class="button"
          disabled={state === "busy"}
          aria-label={`It is there: let the CA look at ${of.name}`}
          onClick={respond}
        >
          {state === "busy" ? "Telling the CA…" : "It is there: let the CA look"}
        </button>
      )}
    </li>
  );
}

function Fault({ problem }: { problem: NonNullable<Proof["error"]> }) {
  return (
    <Note tone="bad">
      <PlainProblem problem={problem} />
    </Note>
  );
}

function Automatic({ of, order }: { of: Name; order: ChallengeOrder }) {
  const ids = of.proofs.map(({ id }) => id);
  const presentation = order.presentations.find(({ challengeId }) => ids.includes(challengeId));
  return (
    <div class="automatic">
      <p>Certwright answers this one itself: nothing is to be done.</p>
      {presentation && <PresentationState of={presentation} />}
    </div>
  );
}
