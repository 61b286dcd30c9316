/** What keeps an order from going on: what it waits for, what may go wrong, and where it was tried before. */
import { Note } from "../components/note";
import { Panel } from "../components/panel";
import { Time } from "../components/time";
import { sentence } from "../errors";
import { moment, serverName } from "../format";
import type { OrderQuery, WaitPartsFragment } from "../gql/graphql";
import { PlainProblem } from "./order-problem";

/** "newOrders" → "new orders". */
function limitName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

export function Delay({ delay }: { delay: NonNullable<WaitPartsFragment["delay"]> }) {
  const { until, attempts, limit, problem } = delay;
  return (
    <Note tone="warn" title="It waits, and goes on by itself">
      <p>
        The next attempt: <Time at={until} /> ({moment(until)}).
        {attempts > 0 && ` ${attempts === 1 ? "One attempt was" : `${attempts} attempts were`} in vain so far.`}
      </p>
      {limit && (
        <p>
          The CA's limit of {limitName(limit.name)}: {limit.most} in {hours(limit.windowSeconds)}, for{" "}
          <b class="name">{limit.subject}</b>.
        </p>
      )}
      <PlainProblem problem={problem} />
    </Note>
  );
}

function hours(seconds: number): string {
  const hours = Math.round(seconds / 3600);
  return hours >= 48 ? `${Math.round(hours / 24)} days` : hours === 1 ? "an hour" : `${hours} hours`;
}

export function Advice({ advice }: { advice: WaitPartsFragment["advice"] }) {
  if (advice.length === 0) return null;
  return (
    <Note tone="warn" title="This may keep the CA from issuing">
      <ul>
        {advice.map(({ code, identifier, message }) => (
          <li key={`${code} ${identifier}`}>
            {identifier && !message.includes(identifier) && <b class="name">{identifier}: </b>}
            {sentence(message)}
          </li>
        ))}
      </ul>
      <p class="hint">Seen from here; the CA may see something else. Nothing was stopped by it.</p>
    </Note>
  );
}

type Order = NonNullable<OrderQuery["order"]>;

export function Attempts({ attempts, servers }: { attempts: Order["attempts"]; servers: OrderQuery["acmeServers"] }) {
  if (attempts.length === 0) return null;
  return (
    <Panel title="Tried before, elsewhere">
      <ul class="tried">
        {attempts.map(({ at, acmeServer, account, problem }) => (
          <li key={at}>
            <p>
              <b>{serverName(acmeServer, servers)}</b>, <a href={`/acme/accounts/${account.id}`}>{account.email}</a>,{" "}
              <Time at={at} />
            </p>
            <PlainProblem problem={problem} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}
