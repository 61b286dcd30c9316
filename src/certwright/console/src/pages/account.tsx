import { useLocation } from "preact-iso";
import { useState } from "preact/hooks";
import { useAnnounce } from "../components/announce";
import { Confirm } from "../components/confirm";
import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Page } from "../components/page";
import { Facts, Panel } from "../components/panel";
import { Status } from "../components/status";
import { Pager, Table } from "../components/table";
import { Time } from "../components/time";
import { serverName, some, words } from "../format";
import { AccountDocument, AccountOrdersDocument, type AccountQuery, DeactivateAccountDocument } from "../gql/graphql";
import { useAction, useEvents, useQuery } from "../query";
import { useMay } from "../viewer";
import { ContactForm } from "./account-contact";
import { NotFound } from "./not-found";

const ABOVE = [{ href: "/acme/accounts", name: "Accounts" }];

type Account = NonNullable<AccountQuery["account"]>;

export function AccountPage({ id }: { id: string }) {
  const { after } = useLocation().query;
  const { data, error, refetch } = useQuery(AccountDocument, { id, after: after ?? null });
  const announce = useAnnounce();
  useEvents(AccountOrdersDocument, data?.account ? { accountId: id } : null, ({ orderStatus: { domains, status } }) => {
    announce(`Order of ${some(domains)}: ${words(status)}`);
    refetch();
  });
  if (!data) return error ? <Failure error={error} retry={refetch} /> : <Loading />;
  if (!data.account) return <NotFound what="account" />;
  const { account } = data;
  return (
    <Page title={account.email} lead={serverName(account.acmeServer, data.acmeServers)} above={ABOVE} actions={<Actions account={account} onChange={refetch} />}>
      <About account={account} onChange={refetch} />
      <Panel title="Orders">
        <Table
          caption="Orders of this account"
          rows={account.orders.edges.map(({ node }) => node)}
          id={(order) => order.id}
          empty="Nothing has been ordered with this account yet."
          columns={[
            { name: "Names", cell: (order) => <a href={`/acme/orders/${order.id}`}>{some(order.domains)}</a> },
            { name: "Status", cell: ({ status }) => <Status of={status} /> },
            { name: "Created", isEnd: true, cell: ({ createdAt }) => <Time at={createdAt} /> },
          ]}
        />
        <Pager path={`/acme/accounts/${id}`} after={after} next={account.orders.pageInfo.hasNextPage ? account.orders.pageInfo.endCursor : null} />
      </Panel>
    </Page>
  );
}

function Actions({ account, onChange }: { account: Account; onChange: () => void }) {
  const [isAsking, setAsking] = useState(false);
  const deactivate = useAction(DeactivateAccountDocument);
  const mayOrder = useMay("OPERATOR");
  const mayEnd = useMay("ADMIN");
  if (account.status !== "VALID") return null;
  const run = async () => {
    if (await deactivate.run({ id: account.id })) {
      setAsking(false);
      onChange();
    }
  };
  return (
    <>
      {mayEnd && (
        <button type="button" class="button danger" onClick={() => setAsking(true)}>
          Deactivate
        </button>
      )}
      {mayOrder && (
        <a class="button primary" href={`/acme/orders/create?account=${account.id}`}>
          Order a certificate
        </a>
      )}
      {isAsking && (
        <Confirm title={`Deactivate ${account.email}?`} verb="Deactivate for ever" isBusy={deactivate.isBusy} onConfirm={run} onClose={() => setAsking(false)}>
          <p>
            The CA takes no more orders with this account, and that cannot be undone. Certificates that it got stay valid, and
            are not renewed with it.
          </p>
          {deactivate.error && <Failure error={deactivate.error} />}
        </Confirm>
      )}
    </>
  );
}

function About({ account, onChange }: { account: Account; onChange: () => void }) {
  const [isEditing, setEditing] = useState(false);
  const mayEdit = useMay("ADMIN") && account.status === "VALID";
  const edit = mayEdit && !isEditing && (
    <button type="button" class="button small" onClick={() => setEditing(true)}>
      Edit contacts
    </button>
  );
  const done = () => {
    setEditing(false);
    onChange();
  };
  return (
    <Panel title="Account" actions={edit}>
      {isEditing ? (
        <ContactForm account={account} onDone={done} onCancel={() => setEditing(false)} />
      ) : (
        <Facts
          facts={[
            ["Status", <Status of={account.status} />],
            ["E-mail", account.email],
            account.contact.length > 0 && ["Further contacts", account.contact.join(", ")],
            ["Directory", <span class="mono">{account.acmeServer}</span>],
            ["Account URL", account.url ? <span class="mono">{account.url}</span> : "The CA has not confirmed it yet"],
            ["Key thumbprint", <span class="mono">{account.keyThumbprint}</span>],
            ["Created", <Time at={account.createdAt} />],
          ]}
        />
      )}
    </Panel>
  );
}
