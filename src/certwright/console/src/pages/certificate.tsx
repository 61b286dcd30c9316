import { useEffect, useRef } from "preact/hooks";
import { useAnnounce } from "../components/announce";
import { LifeBar } from "../components/life";
import { Loading } from "../components/loading";
import { Failure } from "../components/note";
import { Outside } from "../components/outside";
import { Page } from "../components/page";
import { Facts, Panel } from "../components/panel";
import { Status } from "../components/status";
import { Time, useNow } from "../components/time";
import { day, moment, serverName, some, words } from "../format";
import { CertificateChangesDocument, CertificateDocument, type CertificateQuery } from "../gql/graphql";
import { useEvents, useQuery } from "../query";
import { CertificateActions } from "./certificate-actions";
import { Chains } from "./certificate-chains";
import { Downloads } from "./certificate-downloads";
import { issuerName } from "./certificate-names";
import { NotFound } from "./not-found";
import "../styles/certificate.css";

const ABOVE = [{ href: "/acme/certificates", name: "Certificates" }];

export type Certificate = NonNullable<CertificateQuery["certificate"]>;

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
      <div class="columns">
        <About certificate={certificate} authority={serverName(certificate.order.account.acmeServer, data.acmeServers)} />
        <Downloads certificate={certificate} />
      </div>
      <Chains id={id} />
    </Page>
  );
}

function Validity({ of }: { of: Certificate }) {
  const now = useNow();
  const { notBefore, notAfter, renewal } = of;
  return (
    <Panel title="Validity" actions={<Status of={of.status} />}>
      <LifeBar of={of} now={now} isLarge />
      <div class="life-ends">
        <span>from {moment(notBefore)}</span>
        <span>to {moment(notAfter)}</span>
      </div>
      <div class="life-says">
        <Ahead of={of} now={now} />
        {renewal && <Why of={renewal} />}
      </div>
    </Panel>
  );
}

/** What is to come, in words. */
function Ahead({ of: { status, renewal, notAfter, revokedAt, replacedBy }, now }: { of: Certificate; now: Date }) {
  if (revokedAt) return <p>Revoked at {moment(revokedAt)}. Nobody should trust it any more.</p>;
  if (replacedBy) {
    return (
      <p>
        <a href={`/acme/certificates/${replacedBy.id}`}>A newer certificate</a> took its place.
      </p>
    );
  }
  if (status === "EXPIRED") return <p>It ended <Time at={notAfter} />.</p>;
  const ends = <>It ends <Time at={notAfter} />.</>;
  if (!renewal) return <p>{ends} Nothing renews it by itself.</p>;
  if (renewal.order) {
    return (
      <p>
        <a href={`/acme/orders/${renewal.order.id}`}>An order renews it now</a> ({words(renewal.order.status)}). {ends}
      </p>
    );
  }
  return (
    <p>
      {Date.parse(renewal.at) > now.getTime() ? <>It is renewed by itself <Time at={renewal.at} />, </> : "It is renewed now, "}
      at {moment(renewal.at)}. {ends}
    </p>
  );
}

/** Where the time of the renewal comes from. */
function Why({ of: { source, windowStart, windowEnd, explanationUrl, attempts } }: { of: NonNullable<Certificate["renewal"]> }) {
  return (
    <>
      {windowStart && windowEnd && (
        <p class="muted">
          The CA suggests a time between {day(windowStart)} and {day(windowEnd)}.{" "}
          {explanationUrl && <Outside href={explanationUrl}>Why</Outside>}
        </p>
      )}
      {source === "lifetime" && <p class="muted">The CA suggests no time: it is ours, while enough of the lifetime is left.</p>}
      {attempts > 0 && <p>{attempts === 1 ? "One attempt" : `${attempts} attempts`} failed; it is tried again.</p>}
    </>
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
              {names.map((name) => <li key={name}>{name}</li>)}
            </ul>,
          ],
          ["Issuer", issuer],
          ["Serial number", <span class="mono">{serial}</span>],
          ["SHA-256 fingerprint", <span class="mono">{inPairs(fingerprintSha256)}</span>],
          ["Ordered by", <a href={`/acme/orders/${order.id}`}>order {order.id}</a>],
          ["Account", <a href={`/acme/accounts/${order.account.id}`}>{order.account.email} at {authority}</a>],
          replaces ? ["Takes the place of", link(replaces)] : null,
          replacedBy ? ["Replaced by", link(replacedBy)] : null,
        ]}
      />
    </Panel>
  );
}

/** "0a1b" → "0A:1B", as browsers and openssl show fingerprints. */
export function inPairs(hex: string): string {
  return (hex.match(/../g) ?? []).join(":").toUpperCase();
}

/** Says when the certificate's status, or the order that renews it, is another. */
function useAnnounced(certificate: Certificate | null | undefined): void {
  const announce = useAnnounce();
  const known = useRef<string | null>(null);
  const order = certificate?.renewal?.order;
  const now = certificate && [`Certificate: ${words(certificate.status)}`, order && `Renewal: ${words(order.status)}`].filter(Boolean).join(". ");
  useEffect(() => {
    if (!now) return;
    if (known.current !== null && known.current !== now) announce(now);
    known.current = now;
  }, [now]);
}
