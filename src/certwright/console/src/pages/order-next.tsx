import { Note } from "../components/note";
import type { OrderQuery } from "../gql/graphql";
import { useMay } from "../viewer";
import { isAutomatic, type Name } from "./order-parts";
import { PlainProblem } from "./order-problem";

type Order = NonNullable<OrderQuery["order"]>;

/** What comes next, and who does it. */
export function Next({ order, names }: { order: Order; names: readonly Name[] }) {
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
  const waiting = names.filter((name) => name.status === "PENDING" && !isAutomatic(name, order));
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
