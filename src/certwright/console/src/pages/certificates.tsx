import { useLocation } from "preact-iso";
import { useEffect, useState } from "preact/hooks";
import { LifeBar } from "../components/life";
import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { Status } from "../components/status";
import { Pager, Table } from "../components/table";
import { Time, useNow } from "../components/time";
import { some } from "../format";
import { CertificateChangesDocument, type CertificateRowFragment, CertificatesDocument } from "../gql/graphql";
import { useEvents, useQuery } from "../query";
import { issuerName } from "./certificate-names";
import "../styles/certificate.css";

const SIZE = 25;
const PATH = "/acme/certificates";

export function Certificates() {
  const { after, name } = useLocation().query;
  const { data, error, refetch } = useQuery(CertificatesDocument, {
    first: SIZE,
    after: after ?? null,
    name: name ?? null,
  });
  useEvents(CertificateChangesDocument, {}, refetch);
  const next = data?.certificates.pageInfo;
  return (
    <Page
      title="Certificates"
      lead="What was issued, how long it lasts, and when it is renewed."
      actions={<Search name={name ?? ""} />}
    >
      {error && <Failure error={error} retry={refetch} />}
      {!data && !error && <Loading />}
      {data && (
        <Panel title={name ? `With the name ${name}` : after ? "Older certificates" : "Newest first"}>
          <List rows={data.certificates.edges.map(({ node }) => node)} name={name} />
          <Pager
            path={PATH}
            after={after}
            next={next?.hasNextPage ? next.endCursor : null}
            keep={name ? { name } : {}}
          />
        </Panel>
      )}
    </Page>
  );
}

function List({ rows, name }: { rows: readonly CertificateRowFragment[]; name: string | undefined }) {
  const now = useNow();
  const none = name ? (
    <>
      No certificate holds exactly this name. <a href={PATH}>Show all</a>
    </>
  ) : (
    <>
      There is no certificate yet. <a href="/acme/orders">See the orders</a>
    </>
  );
  return (
    <Table
      caption="Certificates"
      rows={rows}
      id={({ id }) => id}
      empty={none}
      columns={[
        {
          name: "Names",
          cell: ({ id, names, issuer }) => (
            <div class="roomy">
              <a href={`${PATH}/${id}`}>{some(names)}</a>
              <div class="hint">{issuerName(issuer)}</div>
            </div>
          ),
        },
        { name: "Status", cell: ({ status }) => <Status of={status} /> },
        {
          name: "Lifetime",
          cell: (row) => (
            <div class="life-cell">
              <LifeBar of={row} now={now} />
            </div>
          ),
        },
        { name: "Next", isEnd: true, cell: (row) => <Next of={row} now={now} /> },
      ]}
    />
  );
}

/** What happens to it next. */
function Next({ of: { status, renewal, notAfter }, now }: { of: CertificateRowFragment; now: Date }) {
  if (status === "REVOKED" || status === "REPLACED") return <span class="muted">Not in use</span>;
  if (renewal?.order) return <a href={`/acme/orders/${renewal.order.id}`}>Being renewed</a>;
  if (renewal) return <>Renews {Date.parse(renewal.at) > now.getTime() ? <Time at={renewal.at} /> : "now"}</>;
  return (
    <>
      {Date.parse(notAfter) > now.getTime() ? "Ends" : "Ended"} <Time at={notAfter} />
    </>
  );
}

/** By one whole name; what is found is an address, so that it can be gone back to. */
function Search({ name }: { name: string }) {
  const { route } = useLocation();
  const [text, setText] = useState(name);
  useEffect(() => setText(name), [name]);
  const submit = (event: Event) => {
    event.preventDefault();
    const wanted = text.trim();
    route(wanted ? `${PATH}?${new URLSearchParams({ name: wanted }).toString()}` : PATH);
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <input
        type="search"
        aria-label="Find by a whole name"
        placeholder="www.example.com"
        spellcheck={false}
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
      <button type="submit" class="button">
        Find
      </button>
    </form>
  );
}
