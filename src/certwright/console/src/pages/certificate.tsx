import { useEffect, useRef } from "preact/hooks";
import { useAnnounce } from "../components/announce";
import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Page } from "../components/page";
import { Facts, Panel } from "../components/panel";
import { day, serverName, some, words } from "../format";
import { CertificateChangesDocument, CertificateDocument, type CertificateQuery } from "../gql/graphql";
import { useEvents, useQuery } from "../query";
import { CertificateActions } from "./certificate-actions";
import { Chains } from "./certificate-chains";
import { Downloads } from "./certificate-downloads";
import { issuerName } from "./certificate-names";
import { Validity } from "./certificate-validity";
import { NotFound } from "./not-found";
import "../styles/certificate.css";

const ABOVE = [{ href: "/acme/certificates", name: "Certificates" }];

type Certificate = NonNullable<CertificateQuery["certificate"]>;

export function CertificatePage({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(CertificateDocument, { id });
  useEvents(CertificateChangesDocument, {}, refetch);
  useAnnounced(data?.certificate);
  if (!data) return error ? <Failure error={error} retry={refetch} /> : <Loading />;
  const { certificate } = data;
  if (!certificate) return <NotFound what="certificate" />;
  return (
    <Page
      title={some(certificate.names)}
      lead={`Issued by ${issuerName(certificate.issuer)}`}
      above={ABOVE}
      actions={<CertificateActions certificate={certificate} onChange={refetch} />}
    >
      {error && <Failure error={error} retry={refetch} />}
      <Validity of={certificate} />
      <div class="certificate">
        <About
          certificate={certificate}
          authority={serverName(certificate.order.account.acmeServer, data.acmeServers)}
        />
        <Downloads certificate={certificate} />
      </div>
      <Chains id={id} />
    </Page>
  );
}

function About({ certificate, authority }: { certificate: Certificate; authority: string }) {
  const { names, issuer, serial, fingerprintSha256, order, replaces, replacedBy } = certificate;
  const link = (other: { id: string; notAfter: string }) => (
    <a href={`/acme/certificates/${other.id}`}>the certificate that ends on {day(other.notAfter)}</a>
  );
  return (
    <Panel title="Certificate">
      <Facts
        facts={[
          [
            names.length === 1 ? "Name" : `Names (${names.length})`,
            <ul class="names" tabIndex={names.length > 20 ? 0 : undefined} aria-label="Names">
              {names.map((name) => (
                <li key={name}>{name}</li>
              ))}
            </ul>,
          ],
          ["Issuer", issuer],
          ["Serial number", <span class="mono">{serial}</span>],
          ["SHA-256 fingerprint", <span class="mono">{inPairs(fingerprintSha256)}</span>],
          [
            "Order",
            <a class="mono" href={`/acme/orders/${order.id}`}>
              {order.id}
            </a>,
          ],
          [
            "Account",
            <a href={`/acme/accounts/${order.account.id}`}>
              {order.account.email} at {authority}
            </a>,
          ],
          replaces ? ["Takes the place of", link(replaces)] : null,
          replacedBy ? ["Replaced by", link(replacedBy)] : null,
        ]}
      />
    </Panel>
  );
}

/** "0a1b" → "0A:1B", as browsers and openssl show fingerprints. */
function inPairs(hex: string): string {
  return (hex.match(/../g) ?? []).join(":").toUpperCase();
}

/** Says when the certificate's status, or the order that renews it, is another. */
function useAnnounced(certificate: Certificate | null | undefined): void {
  const announce = useAnnounce();
  const known = useRef<string | null>(null);
  const order = certificate?.renewal?.order;
  const now =
    certificate &&
    [`Certificate: ${words(certificate.status)}`, order && `Renewal: ${words(order.status)}`]
      .filter(Boolean)
      .join(". ");
  useEffect(() => {
    if (!now) return;
    if (known.current !== null && known.current !== now) announce(now);
    known.current = now;
  }, [now]);
}
