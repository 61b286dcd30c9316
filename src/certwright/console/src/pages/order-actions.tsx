import { useState } from "preact/hooks";
import { Confirm } from "../components/confirm";
import { Failure } from "../components/note";
import { some } from "../format";
import { CancelOrderDocument, type OrderQuery } from "../gql/graphql";
import { useAction } from "../query";
import { useMay } from "../viewer";
import { isOpen } from "./order-parts";

type Order = NonNullable<OrderQuery["order"]>;

/** Cancelling what is open, and ordering anew what failed. */
export function Actions({ order, onChange }: { order: Order; onChange: () => void }) {
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
        <Confirm
          title={`Cancel the order of ${some(order.domains)}?`}
          verb="Cancel the order for good"
          isBusy={cancel.isBusy}
          onConfirm={run}
          onClose={() => setAsking(false)}
        >
          <p>It ends here, without a certificate. The same names can be ordered again at any time.</p>
          {cancel.error && <Failure error={cancel.error} />}
        </Confirm>
      )}
    </>
  );
}
