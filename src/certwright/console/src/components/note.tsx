import type { CombinedError } from "@urql/core";
import type { ComponentChildren } from "preact";
import { refusal, sentence } from "../errors";
import { Icon } from "./icon";

interface Props {
  tone: "info" | "good" | "warn" | "bad";
  title?: string;
  children?: ComponentChildren;
}

/** Words that stand out. */
export function Note({ tone, title, children }: Props) {
  return (
    <div class={`note note-${tone}`} role={tone === "bad" ? "alert" : undefined}>
      <Icon name={tone === "good" ? "done" : "alert"} />
      <div>
        {title && <strong>{title}</strong>}
        {children}
      </div>
    </div>
  );
}

/** Why the API refused. */
export function Failure({ error, retry }: { error: CombinedError; retry?: () => void }) {
  const { message, problem, reference } = refusal(error);
  return (
    <Note tone="bad">
      <p>{message}</p>
      {reference && <p>The server's log has the details under {reference}.</p>}
      {problem && <Document of={problem} />}
      {retry && (
        <button type="button" class="button small" onClick={retry}>
          Try again
        </button>
      )}
    </Note>
  );
}

export interface ProblemLike {
  type: string;
  detail?: string | null;
  status?: number | null;
  instance?: string | null;
  subproblems?: readonly { identifier?: string | null; type: string; detail?: string | null }[];
}

/** What the CA says is wrong (RFC 8555 §6.7), in its own words, with the whole document behind them. */
export function ProblemText({ problem }: { problem: ProblemLike }) {
  // What the detail says already is not said twice.
  const subproblems = (problem.subproblems ?? []).filter(({ detail }) => !detail || !problem.detail?.includes(detail));
  return (
    <>
      <p>{problem.detail ? sentence(problem.detail) : `The CA says only: ${shortType(problem.type)}.`}</p>
      {subproblems.length > 0 && (
        <ul>
          {subproblems.map((sub, index) => (
            <li key={index}>
              {sub.identifier && <b class="name">{sub.identifier}: </b>}
              {sub.detail ? sentence(sub.detail) : shortType(sub.type)}
            </li>
          ))}
        </ul>
      )}
      <Document of={problem} />
    </>
  );
}

/** "urn:ietf:params:acme:error:dns" → "dns". */
export function shortType(type: string): string {
  return type.replace(/^urn:ietf:params:acme:error:/, "");
}

function Document({ of }: { of: object }) {
  const shown = Object.fromEntries(Object.entries(of).filter(([name]) => name !== "__typename"));
  return (
    <details class="document">
      <summary>The CA's whole answer</summary>
      <pre>{JSON.stringify(shown, (name, value: unknown) => (name === "__typename" ? undefined : value), 2)}</pre>
    </details>
  );
}
