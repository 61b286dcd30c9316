import { useMemo, useState } from "preact/hooks";
import { Loading } from "../components/loading";
import { Failure, Note } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { some } from "../format";
import { ChallengeChangedDocument, OrderChallengesDocument, OrderChangedDocument } from "../gql/graphql";
import { useEvents, useQuery } from "../query";
import { type ChallengeOrder, type Preparations, shown, typesOf, usePreparations, useRespond } from "./challenge-data";
import { NameCard } from "./challenge-name";
import { Together } from "./challenge-together";
import { NotFound } from "./not-found";
import { useAnnouncedProofs } from "./order-announce";
import { isAutomatic, namesOf, type Proof } from "./order-parts";
import { PlainProblem } from "./order-problem";
import { ProofCount } from "./order-proofs";
import { Advice, Delay } from "./order-waits";
import "../styles/orders.css";

export function Challenges({ id }: { id: string }) {
  const { data, error, refetch, update } = useQuery(OrderChallengesDocument, { id });
  const order = data?.order;
  const take = (proof: Proof) => update((shown) => ({ ...shown, order: shown.order && withProof(shown.order, proof) }));
  const preparing = usePreparations(order, refetch);
  const listening = order ? { id } : null;
  useEvents(ChallengeChangedDocument, order ? { orderId: id } : null, ({ challengeStatus }) => take(challengeStatus));
  useEvents(OrderChangedDocument, listening, refetch);
  if (!data) return error ? <Failure error={error} retry={refetch} /> : <Loading />;
  if (!order) return <NotFound what="order" />;
  const above = [
    { href: "/acme/orders", name: "Orders" },
    { href: `/acme/orders/${id}`, name: some(order.domains, 1) },
  ];
  return (
    <Page
      title="Challenges"
      lead={`How ${some(order.domains)} ${order.domains.length === 1 ? "is" : "are"} proved to be yours.`}
      above={above}
    >
      {error && <Failure error={error} retry={refetch} />}
      <Outcome order={order} />
      {order.delay && <Delay delay={order.delay} />}
      {preparing.error && <Failure error={preparing.error} retry={preparing.retry} />}
      <Names order={order} preparations={preparing.preparations} onProof={take} />
    </Page>
  );
}

function withProof(order: ChallengeOrder, proof: Proof): ChallengeOrder {
  const isKnown = order.challenges.some(({ id }) => id === proof.id);
  const challenges = order.challenges.map((known) => (known.id === proof.id ? proof : known));
  return { ...order, challenges: isKnown ? challenges : [...challenges, proof] };
}

/** What came of the order, or comes next. */
function Outcome({ order: { id, status, certificate, error } }: { order: ChallengeOrder }) {
  if (status === "VALID" && certificate) {
    return (
      <Note tone="good" title="Proved, and issued">
        <p>What was published for it can be removed.</p>
        <a class="button primary" href={`/acme/certificates/${certificate.id}`}>
          See the certificate
        </a>
      </Note>
    );
  }
  if (status === "INVALID" && error) {
    return (
      <Note tone="bad" title="There will be no certificate from this order">
        <PlainProblem problem={error} />
        <a href={`/acme/orders/${id}`}>See the order</a>
      </Note>
    );
  }
  if (status === "READY" || status === "PROCESSING")
    return <Note tone="good">All names are proved; the CA issues the certificate.</Note>;
  return status === "NEW" ? (
    <Note tone="info">The order is being placed at the CA; its challenges come then.</Note>
  ) : null;
}

interface NamesProps {
  order: ChallengeOrder;
  preparations: Preparations;
  onProof: (proof: Proof) => void;
}

function Names({ order, preparations, onProof }: NamesProps) {
  const [chosen, setChosen] = useState("");
  const { told, respond } = useRespond(onProof);
  const names = useMemo(() => namesOf(order.challenges, order.domains), [order]);
  useAnnouncedProofs(order.status, names);
  if (names.length === 0) return null;
  const types = typesOf(names, preparations);
  const type = types.includes(chosen) ? chosen : (types[0] ?? "");
  const rows = names.map((name) => {
    const proof = shown(name, type, preparations);
    return { name, proof, preparation: proof && preparations.get(proof.id), isAutomatic: isAutomatic(name, order) };
  });
  const open =
    order.status === "PENDING" ? rows.filter(({ name, isAutomatic }) => name.status === "PENDING" && !isAutomatic) : [];
  const general = order.advice.filter(
    ({ identifier }) =>
      !identifier || !open.some(({ name, proof }) => [name.name, proof?.identifier].includes(identifier)),
  );
  return (
    <>
      {order.status === "PENDING" && <Advice advice={general} />}
      <Panel title={names.length === 1 ? "One name" : `${names.length} names`}>
        <ProofCount names={names} />
        <Together rows={open} types={types} type={type} onType={setChosen} told={told} onRespond={respond} />
      </Panel>
      <ul class="challenges">
        {rows.map(({ name, ...row }) => (
          <NameCard
            key={name.name}
            name={name}
            order={order}
            {...row}
            told={told}
            onRespond={(challenge) => void respond([challenge])}
          />
        ))}
      </ul>
    </>
  );
}
