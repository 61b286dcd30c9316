import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Panel } from "../components/panel";
import { day } from "../format";
import { CertificateChainsDocument, type CertificateChainsQuery } from "../gql/graphql";
import { useQuery } from "../query";
import { issuerName } from "./certificate-names";

type Link = CertificateChainsQuery["certificateChains"][number][number];

/** By whom the certificate was signed, and by whom that one was: the chain in use, then the others. */
export function Chains({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(CertificateChainsDocument, { id });
  const [chain, ...alternates] = data?.certificateChains ?? [];
  return (
    <Panel title="Chain">
      {error && <Failure error={error} retry={refetch} />}
      {!data && !error && <Loading />}
      <div class="chains">
        {chain && <Chain links={chain} />}
        {alternates.map((links, index) => (
          <details key={index}>
            <summary>
              {alternates.length > 1 ? `Alternate chain ${index + 1}` : "Alternate chain"}, up to {topOf(links)}
            </summary>
            <Chain links={links} />
          </details>
        ))}
      </div>
    </Panel>
  );
}

function Chain({ links }: { links: readonly Link[] }) {
  const last = links[links.length - 1];
  return (
    <ol class="chain">
      {links.map((link, index) => (
        <li key={link.fingerprintSha256}>
          <h3>{index === 0 ? "This certificate" : issuerName(link.subject)}</h3>
          <span class="hint">
            {index > 0 && `${link.subject} · `}valid to {day(link.notAfter)}
          </span>
        </li>
      ))}
      {last && last.issuer !== last.subject && (
        <li>
          <h3>{issuerName(last.issuer)}</h3>
          <span class="hint">{last.issuer} · the root, which clients have already</span>
        </li>
      )}
    </ol>
  );
}

function topOf(links: readonly Link[]): string {
  return issuerName(links[links.length - 1]?.issuer ?? "");
}
