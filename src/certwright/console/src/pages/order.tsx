import { useMemo, useState } from "preact/hooks";
import { Confirm } from "../components/confirm";
import { Loading } from "../components/loading";
import { Failure, Note } from "../components/note";
import { Page } from "../components/page";
import { Facts, Panel } from "../components/panel";
import { Status } from "../components/status";
import { Time } from "../components/time";
import { serverName, some } from "../format";
import { CancelOrderDocument, OrderChangedDocument, OrderDocument, type OrderQuery, type OrderStatus } from "../gql/graphql";
import { useAction, useEvents, useQuery } from "../query";
import { useMay } from "../viewer";
import { NotFound } from "./not-found";
import { useAnnouncedProofs } from "./order-announce";
import { isOpen, type Name, namesOf } from "./order-parts";
import { Presentations } from "./order-presentations";
import { PlainProblem } from "./order-problem";
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
  const providers = new Map(order.presentations.map(({ challengeId, provider }) => [challengeId, provider?.name ?? "Certwright"]));
  const lead = `${order.account.email} at ${serverName(order.account.acmeServer, data.acmeServers)}`;
  return (
    <Page title={some(order.domains)} lead={lead} above={ABOVE} actions={<Actions order={order} onChange={refetch} />}>
      <Panel title="Progress">
        <Steps status={order.status} reached={reached(names)} />
      </Panel>
      {error && <Failure error={error} retry={refetch} />}
      <Next order={order} names={names} providers={providers} />
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

/** What comes next, and who does it. */
function Next({ order, names, providers }: { order: Order; names: readonly Name[]; providers: ReadonlyMap<string, string> }) {
  const mayRespond = useMay("OPERATOR");
  const { status, certificate, error } = order;
  if (status === "INVALID" && error) {
    return (
      <Note tone="bad" title="There will be no certificate from this order">
        <PlainProblem problem={error} />
      </Note>
    );
  }
  if (status === "VALID") {
    return (
      <Note tone="good" title="The certificate is there">
        {certificate && (
          <a class="button primary" href={`/acme/certificates/${certificate.id}`}>
            See the certificate
          </a>
        )}
      </Note>
    );
  }
  const waiting = names.filter(({ status, proofs }) => status === "PENDING" && !proofs.some((p) => p.solver || providers.has(p.id)));
  if (status !== "PENDING" || waiting.length === 0) {
    return order.delay ? null : <Note tone="info">Nothing is to be done: it goes on by itself.</Note>;
  }
  const what = waiting.length === 1 ? waiting[0]?.name : `${waiting.length} names`;
  return (
    <Note tone="warn" title={mayRespond ? "You are next" : "Someone has to act"}>
      <p class="name">
        The CA wants to see that {what} {waiting.length === 1 ? "is" : "are"} yours.
      </p>
      <a class="button primary" href={`/acme/orders/${order.id}/challenges`}>
        See what to publish
      </a>
    </Note>
  );
}

function Actions({ order, onChange }: { order: Order; onChange: () => void }) {
  const [isAsking, setAsking] = useState(false);
  const cancel = useAction(CancelOrderDocument);
  const mayCancel = useMay("OPERATOR");
  if (!mayCancel) return null;
  if (order.status === "INVALID") {
    const again = new URLSearchParams({ account: order.account.id, domains: order.domains.join(",") });
    return (
      <a class="button primary" href={`/acme/orders/create?${again.toString()}`}>
        Order again
      </a>
    );
  }
  if (!isOpen(order.status) && !isAsking) return null;
  const run = async () => {
    if (await cancel.run({ id: order.id })) {
      setAsking(false);
      onChange();
    }
  };
  return (
    <>
      <button type="button" class="button danger" onClick={() => setAsking(true)}>
        Cancel the order
      </button>
      {isAsking && (
        <Confirm title={`Cancel the order of ${some(order.domains)}?`} verb="Cancel the order for good" isBusy={cancel.isBusy} onConfirm={run} onClose={() => setAsking(false)}>
          <p>It ends here, without a certificate. The same names can be ordered again at any time.</p>
          {cancel.error && <Failure error={cancel.error} />}
        </Confirm>
      )}
    </>
  );
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
          ["Proved", solver === "manual" ? "By you" : solver ? "By one provider for all" : "By the provider of each name, or you"],
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
