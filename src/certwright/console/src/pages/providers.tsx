import { Icon } from "../components/icon";
import { Loading } from "../components/loading";
import { Failure, Note } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { Table } from "../components/table";
import { Time } from "../components/time";
import { some } from "../format";
import { ProvidersDocument } from "../gql/graphql";
import { useQuery } from "../query";
import { useMay } from "../viewer";

const LEAD = "They answer the challenges of orders for names in their zones.";

export function Providers() {
  const { data, error, refetch } = useQuery(ProvidersDocument, {});
  const mayCreate = useMay("ADMIN");
  const create = mayCreate && (
    <a class="button primary" href="/acme/providers/create">
      <Icon name="plus" />
      Add a provider
    </a>
  );
  const title = (kind: string) => data?.challengeProviderKinds.find(({ name }) => name === kind)?.title ?? kind;
  return (
    <Page title="Challenge providers" lead={LEAD} actions={create}>
      {!mayCreate && <Note tone="info">Administrators add and change providers.</Note>}
      {error && <Failure error={error} retry={refetch} />}
      {!data && !error && <Loading />}
      {data && (
        <Panel title="Providers">
          <Table
            caption="Challenge providers"
            rows={data.challengeProviders}
            id={({ id }) => id}
            empty="There is none yet: every challenge is yours to answer, or this server's by http-01."
            columns={[
              {
                name: "Name",
                cell: ({ id, name }) => (mayCreate ? <a href={`/acme/providers/${id}`}>{name}</a> : name),
              },
              { name: "Kind", cell: ({ kind }) => <div class="roomy">{title(kind)}</div> },
              {
                name: "Zones",
                cell: ({ zones }) => (
                  <div class="roomy">{zones.length > 0 ? some(zones) : "All that no other serves"}</div>
                ),
              },
              { name: "Changed", isEnd: true, cell: ({ updatedAt }) => <Time at={updatedAt} /> },
            ]}
          />
        </Panel>
      )}
    </Page>
  );
}
