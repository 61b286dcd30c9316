import { Panel } from "../components/panel";
import { Status } from "../components/status";
import { Time } from "../components/time";
import type { PresentationPartsFragment } from "../gql/graphql";
import { PlainProblem } from "./order-problem";

type Presentation = PresentationPartsFragment;

const STATES: Record<Presentation["state"], [string, string]> = {
  PLANNED: ["PENDING", "About to be published"],
  PRESENTED: ["PROCESSING", "Published, not seen yet"],
  VISIBLE: ["VALID", "Seen everywhere"],
  REMOVING: ["PENDING", "Being removed"],
};

/** What providers have in place for an order, and who sees it. */
export function Presentations({ presentations }: { presentations: readonly Presentation[] }) {
  if (presentations.length === 0) return null;
  return (
    <Panel title="Published by Certwright">
      <ul class="presentations">
        {presentations.map((presentation) => (
          <li key={presentation.challengeId}>
            <PresentationState of={presentation} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}

export function PresentationState({ of }: { of: Presentation }) {
  const { record, value, state, since, attempts, problem, servers, provider } = of;
  const [status, label] = STATES[state];
  return (
    <>
      <p class="presentation-head">
        <b class="mono name">{record}</b> <Status of={status} label={label} />
      </p>
      <p class="hint">
        By {provider?.name ?? "a provider that was deleted"}, <Time at={since} />
        {attempts > 0 && `; ${attempts} ${attempts === 1 ? "look" : "looks"} in vain`}. Value:{" "}
        <span class="mono name">{value}</span>
      </p>
      {problem && <PlainProblem problem={problem} />}
      {servers.length > 0 && <Servers servers={servers} />}
    </>
  );
}

function Servers({ servers }: { servers: Presentation["servers"] }) {
  const agreeing = servers.filter(({ agrees }) => agrees).length;
  return (
    <details>
      <summary>
        {agreeing} of {servers.length} name servers have it
      </summary>
      <ul class="servers">
        {servers.map(({ name, address, agrees, answered, answer }) => (
          <li key={`${name} ${address}`}>
            <Status
              of={agrees ? "VALID" : answered ? "PENDING" : "INVALID"}
              label={agrees ? "Has it" : answered ? "Not yet" : "No answer"}
            />{" "}
            <span class="mono name">
              {name} ({address})
            </span>
            {answer && !agrees && <span class="hint name"> {answer}</span>}
          </li>
        ))}
      </ul>
    </details>
  );
}
