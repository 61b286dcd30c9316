import { useMemo } from "preact/hooks";
import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Page } from "../components/page";
import { Facts, Panel } from "../components/panel";
import { Status } from "../components/status";
import { Time } from "../components/time";
import { serverName, some } from "../format";
import { OrderChangedDocument, OrderDocument, type OrderQuery, type OrderStatus } from "../gql/graphql";
import { useEvents, useQuery } from "../query";
import { NotFound } from "./not-found";
import { Actions } from "./order-actions";
import { useAnnouncedProofs } from "./order-announce";
import { Next } from "./order-next";
import { isOpen, MANUAL, type Name, namesOf } from "./order-parts";
import { Presentations } from "./order-presentations";
import { Proofs } from "./order-proofs";
import { Steps } from "./order-steps";
import { Advice, Attempts, Delay } from "./order-waits";
import "../styles/orders.css";

const ABOVE = [{ href: "/acme/orders", name: "Orders" }];

type Order = NonNullable<OrderQuery["order"]>;

export function OrderPage({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(OrderDocument, { id });
  const order = data?.order;
  const names = useMemo(() => namesOf(order?.challenges ?? [], order?.domains ?? []), [order]);
  useEvents(OrderChangedDocument, order ? { id } : null, refetch);
  useAnnouncedProofs(order?.status, names);
  if (!data) return error ? <Failure error={error} retry={refetch} /> : <Loading />;
  if (!order) return <NotFound what="order" />;
  const providers = new Map(
    order.presentations.map(({ challengeId, provider }) => [challengeId, provider?.name ?? "Certwright"]),
  );
  const lead = `${order.account.email} at ${serverName(order.account.acmeServer, data.acmeServers)}`;
  return (
    <Page title={some(order.domains)} lead={lead} above={ABOVE} actions={<Actions order={order} onChange={refetch} />}>
      <Panel title="Progress">
        <Steps status={order.status} reached={reached(names)} />
      </Panel>
      {error && <Failure error={error} retry={refetch} />}
      <Next order={order} names={names} />
      {order.delay && <Delay delay={order.delay} />}
      <Advice advice={order.advice} />
      <Proofs names={names} providers={providers} href={`/acme/orders/${id}/challenges`} />
      <Presentations presentations={order.presentations} />
      <Attempts attempts={order.attempts} servers={data.acmeServers} />
      <About order={order} />
    </Page>
  );
}

/** How far an order came that is invalid: the API does not say. */
function reached(names: readonly Name[]): OrderStatus {
  if (names.length === 0) return "NEW";
  return names.every(({ status }) => status === "VALID") ? "PROCESSING" : "PENDING";
}

function About({ order }: { order: Order }) {
  const { id, domains, status, profile, solver, expires, createdAt, updatedAt, account, fallbacks, replaces } = order;
  return (
    <Panel title="Order">
      <Facts
        facts={[
          ["Status", <Status of={status} />],
          [domains.length === 1 ? "Name" : `${domains.length} names`, <Domains domains={domains} />],
          ["Account", <a href={`/acme/accounts/${account.id}`}>{account.email}</a>],
          fallbacks.length > 0 && ["If that fails", fallbacks.map(({ email }) => email).join(", then ")],
          profile ? ["Profile", profile] : null,
          [
            "Proved",
            solver === MANUAL ? "By you" : solver ? "By one provider for all" : "By the provider of each name, or you",
          ],
          replaces ? ["Renews", <a href={`/acme/certificates/${replaces.id}`}>the certificate before it</a>] : null,
          ["Created", <Time at={createdAt} />],
          ["Changed", <Time at={updatedAt} />],
          expires && isOpen(status) ? ["To be proved until", <Time at={expires} />] : null,
          ["Id", <span class="mono">{id}</span>],
        ]}
      />
    </Panel>
  );
}

const FEW = 5;

function Domains({ domains }: { domains: readonly string[] }) {
  if (domains.length <= FEW) return <>{domains.join(", ")}</>;
  return (
    <details>
      <summary>{some(domains, FEW - 1)}</summary>
      {domains.join(", ")}
    </details>
  );
}
