import { useLocation } from "preact-iso";
import { useAnnounce } from "../components/announce";
import { Field } from "../components/field";
import { Icon } from "../components/icon";
import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { Status } from "../components/status";
import { Pager, Table } from "../components/table";
import { Time } from "../components/time";
import { serverName, some, words } from "../format";
import { OrdersChangedDocument, OrdersDocument, type OrdersQuery, type OrderStatus } from "../gql/graphql";
import { useEvents, useQuery } from "../query";
import { useMay } from "../viewer";
import "../styles/orders.css";

const SIZE = 25;
const PATH = "/acme/orders";
const STATUSES: OrderStatus[] = ["NEW", "PENDING", "READY", "PROCESSING", "VALID", "INVALID"];

type Filter = { status?: string; account?: string };

export function Orders() {
  const { after, status, account } = useLocation().query;
  const wanted = STATUSES.find((one) => one === status) ?? null;
  const shown = { first: SIZE, after: after ?? null, status: wanted, accountId: account || null };
  const { data, error, refetch } = useQuery(OrdersDocument, shown);
  const announce = useAnnounce();
  useEvents(OrdersChangedDocument, { accountId: account || null }, ({ orderStatus: { id, domains, status } }) => {
    const known = data?.orders.edges.find(({ node }) => node.id === id)?.node.status;
    if (known !== status) announce(`Order of ${some(domains)}: ${words(status)}`);
    refetch();
  });
  const order = useMay("OPERATOR") && (
    <a class="button primary" href={account ? `${PATH}/create?account=${account}` : `${PATH}/create`}>
      <Icon name="plus" />
      Order a certificate
    </a>
  );
  const filter: Filter = { ...(wanted && { status: wanted }), ...(account && { account }) };
  return (
    <Page title="Orders" lead="Each is for one certificate, for all its names." actions={order}>
      {error && <Failure error={error} retry={refetch} />}
      {!data && !error && <Loading />}
      {data && (
        <Panel title={after ? "Older orders" : "Newest first"} actions={<Filters data={data} filter={filter} />}>
          <Rows
            data={data}
            empty={wanted || account ? "No order is like that." : <>Nothing has been ordered yet. {order}</>}
          />
          <Pager
            path={PATH}
            after={after}
            next={data.orders.pageInfo.hasNextPage ? data.orders.pageInfo.endCursor : null}
            keep={filter}
          />
        </Panel>
      )}
    </Page>
  );
}

function Rows({ data, empty }: { data: OrdersQuery; empty: preact.ComponentChildren }) {
  return (
    <Table
      caption="Orders"
      rows={data.orders.edges.map(({ node }) => node)}
      id={({ id }) => id}
      empty={empty}
      columns={[
        { name: "Names", cell: ({ id, domains }) => <a href={`${PATH}/${id}`}>{some(domains)}</a> },
        {
          name: "Account",
          cell: ({ account }) => (
            <a class="order-account" href={`/acme/accounts/${account.id}`}>
              {account.email}
            </a>
          ),
        },
        {
          name: "Status",
          cell: ({ status, delay }) => <Status of={status} label={delay ? `${words(status)}, waits` : words(status)} />,
        },
        { name: "Changed", isEnd: true, cell: ({ updatedAt }) => <Time at={updatedAt} /> },
      ]}
    />
  );
}

/** Filters are part of the address: a list can be kept, and sent to others. */
function Filters({ data, filter }: { data: OrdersQuery; filter: Filter }) {
  const { route } = useLocation();
  const go = (change: Filter) => {
    const chosen = Object.entries({ ...filter, ...change }).filter(([, value]) => value);
    const query = new URLSearchParams(Object.fromEntries(chosen)).toString();
    route(query ? `${PATH}?${query}` : PATH);
  };
  return (
    <div class="filters">
      <Field label="Status">
        {(tied) => (
          <select {...tied} value={filter.status ?? ""} onChange={(event) => go({ status: event.currentTarget.value })}>
            <option value="">Any</option>
            {STATUSES.map((status) => (
              <option key={status} value={status}>
                {words(status)}
              </option>
            ))}
          </select>
        )}
      </Field>
      <Field label="Account">
        {(tied) => (
          <select
            {...tied}
            value={filter.account ?? ""}
            onChange={(event) => go({ account: event.currentTarget.value })}
          >
            <option value="">All</option>
            {data.accounts.edges.map(({ node: { id, email, acmeServer } }) => (
              <option key={id} value={id}>
                {email}, {serverName(acmeServer, data.acmeServers)}
              </option>
            ))}
          </select>
        )}
      </Field>
    </div>
  );
}
