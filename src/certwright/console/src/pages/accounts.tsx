import { useLocation } from "preact-iso";
import { Icon } from "../components/icon";
import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { Status } from "../components/status";
import { Pager, Table } from "../components/table";
import { Time } from "../components/time";
import { serverName } from "../format";
import { AccountsDocument } from "../gql/graphql";
import { useQuery } from "../query";
import { useMay } from "../viewer";

const SIZE = 25;

export function Accounts() {
  const { after } = useLocation().query;
  const { data, error, refetch } = useQuery(AccountsDocument, { first: SIZE, after: after ?? null });
  const create = useMay("ADMIN") && (
    <a class="button primary" href="/acme/accounts/create">
      <Icon name="plus" />
      Create an account
    </a>
  );
  return (
    <Page title="Accounts" lead="Registrations at certificate authorities. Orders are made with one of them." actions={create}>
      {error && <Failure error={error} retry={refetch} />}
      {!data && !error && <Loading />}
      {data && (
        <Panel title={after ? "Older accounts" : "Newest first"}>
          <Table
            caption="Accounts"
            rows={data.accounts.edges.map(({ node }) => node)}
            id={({ id }) => id}
            empty={<>There is no account yet. {create}</>}
            columns={[
              { name: "E-mail", cell: ({ id, email }) => <a href={`/acme/accounts/${id}`}>{email}</a> },
              { name: "Certificate authority", cell: (account) => serverName(account.acmeServer, data.acmeServers) },
              { name: "Status", cell: ({ status }) => <Status of={status} /> },
              { name: "Created", isEnd: true, cell: ({ createdAt }) => <Time at={createdAt} /> },
            ]}
          />
          <Pager path="/acme/accounts" after={after} next={next(data.accounts.pageInfo)} />
        </Panel>
      )}
    </Page>
  );
}

function next({ hasNextPage, endCursor }: { hasNextPage: boolean; endCursor?: string | null }): string | null {
  return hasNextPage ? (endCursor ?? null) : null;
}
