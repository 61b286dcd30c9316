import { useEffect, useRef } from "preact/hooks";
import { useAnnounce } from "../components/announce";
import { Icon } from "../components/icon";
import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { Status } from "../components/status";
import { Table } from "../components/table";
import { Time, useNow } from "../components/time";
import { Timeline } from "../components/timeline";
import { serverName, some, words } from "../format";
import {
  DashboardChangesDocument,
  DashboardDocument,
  type DashboardPartsFragment,
  type DashboardQuery,
  type LifetimePartsFragment,
} from "../gql/graphql";
import { useEvents, useQuery } from "../query";
import { useMay } from "../viewer";
import { needs, Needs } from "./dashboard-needs";
import "../styles/dashboard.css";

type Orders = DashboardPartsFragment["recentOrders"];

export function Dashboard() {
  const { data, error, refetch, update } = useQuery(DashboardDocument, {});
  useEvents(DashboardChangesDocument, {}, ({ dashboard }) => {
    update((shown) => ({ ...shown, dashboard }));
    refetch();
  });
  useAnnouncedOrders(data?.dashboard.recentOrders);
  const mayOrder = useMay("OPERATOR");
  const hasAccount = Boolean(data?.dashboard.activeAccounts.length);
  const action = mayOrder && hasAccount && (
    <a class="button primary" href="/acme/orders/create">
      <Icon name="plus" />
      Order a certificate
    </a>
  );
  return (
    <Page title="Dashboard" lead="What needs you, what goes on, and what comes next." actions={action}>
      {error && <Failure error={error} retry={refetch} />}
      {data ? <Parts data={data} /> : !error && <Loading />}
    </Page>
  );
}

function Parts({ data }: { data: DashboardQuery }) {
  const now = useNow();
  const { dashboard, acmeServers } = data;
  const certificates = lifetimes(data);
  return (
    <>
      <Needs needs={needs(dashboard, certificates, now)} hasAccounts={dashboard.activeAccounts.length > 0} />
      <Tiles counts={dashboard.counts} active={dashboard.activeAccounts.length} />
      <Panel title="What comes next" actions={<a href="/acme/certificates">All certificates</a>}>
        <Timeline certificates={certificates} now={now} />
      </Panel>
      <div class="columns wide-first">
        <Panel title="Recent orders" actions={<a href="/acme/orders">All orders</a>}>
          <RecentOrders orders={dashboard.recentOrders} />
        </Panel>
        <Panel title="Active accounts" actions={<a href="/acme/accounts">All accounts</a>}>
          <ul class="plain">
            {dashboard.activeAccounts.slice(0, 8).map(({ id, email, acmeServer }) => (
              <li key={id}>
                <a href={`/acme/accounts/${id}`}>{email}</a>
                <span class="muted">{serverName(acmeServer, acmeServers)}</span>
              </li>
            ))}
          </ul>
          {dashboard.activeAccounts.length === 0 && <p class="muted">There are none yet.</p>}
        </Panel>
      </div>
    </>
  );
}

/** Certificates in use: those that are renewed next, and of the newest those that nothing renews. */
function lifetimes({ dashboard, certificates }: DashboardQuery): LifetimePartsFragment[] {
  const unrenewed = certificates.edges.map(({ node }) => node).filter(({ renewal }) => !renewal);
  return [...dashboard.renewingNext, ...unrenewed];
}

function Tiles({ counts, active }: { counts: DashboardPartsFragment["counts"]; active: number }) {
  const tiles: [string, number, string][] = [
    ["Certificates", counts.certificates, "/acme/certificates"],
    ["Open orders", counts.ordersOpen, "/acme/orders"],
    ["Failed orders", counts.ordersInvalid, "/acme/orders?status=INVALID"],
    [active < counts.accounts ? "Accounts, all told" : "Accounts", counts.accounts, "/acme/accounts"],
  ];
  return (
    <ul class="tiles" aria-label="Counts">
      {tiles.map(([name, count, href]) => (
        <li key={name}>
          <a href={href}>
            <b>{count.toLocaleString("en")}</b>
            <span>{name}</span>
          </a>
        </li>
      ))}
    </ul>
  );
}

function RecentOrders({ orders }: { orders: Orders }) {
  return (
    <Table
      caption="Recent orders"
      rows={orders}
      id={({ id }) => id}
      empty="No certificate has been ordered yet."
      columns={[
        { name: "Names", cell: ({ id, domains }) => <a href={`/acme/orders/${id}`}>{some(domains)}</a> },
        { name: "Status", cell: ({ status }) => <Status of={status} /> },
        { name: "Changed", isEnd: true, cell: ({ updatedAt }) => <Time at={updatedAt} /> },
      ]}
    />
  );
}

/** Says which orders have another status than when they were last shown. */
function useAnnouncedOrders(orders: Orders | undefined): void {
  const announce = useAnnounce();
  const known = useRef<Map<string, string> | null>(null);
  useEffect(() => {
    if (!orders) return;
    const before = known.current;
    const changed = before ? orders.filter(({ id, status }) => before.get(id) !== status) : [];
    if (changed.length > 0) {
      announce(changed.map(({ domains, status }) => `Order of ${some(domains)}: ${words(status)}`).join(". "));
    }
    known.current = new Map(orders.map(({ id, status }) => [id, status]));
  }, [orders]);
}
