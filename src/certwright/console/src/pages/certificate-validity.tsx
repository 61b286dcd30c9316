import { LifeBar } from "../components/life";
import { Outside } from "../components/outside";
import { Panel } from "../components/panel";
import { Status } from "../components/status";
import { Time, useNow } from "../components/time";
import { day, moment, words } from "../format";
import type { CertificateQuery } from "../gql/graphql";

type Certificate = NonNullable<CertificateQuery["certificate"]>;

/** How long it lasts, and what is to come. */
export function Validity({ of }: { of: Certificate }) {
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
  if (status === "EXPIRED")
    return (
      <p>
        It ended <Time at={notAfter} />.
      </p>
    );
  const ends = (
    <>
      It ends <Time at={notAfter} />.
    </>
  );
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
      {Date.parse(renewal.at) > now.getTime() ? (
        <>
          It is renewed by itself <Time at={renewal.at} />,{" "}
        </>
      ) : (
        "It is renewed now, "
      )}
      at {moment(renewal.at)}. {ends}
    </p>
  );
}

/** Where the time of the renewal comes from. */
function Why({
  of: { source, windowStart, windowEnd, explanationUrl, attempts },
}: {
  of: NonNullable<Certificate["renewal"]>;
}) {
  return (
    <>
      {windowStart && windowEnd && (
        <p class="muted">
          The CA suggests a time between {day(windowStart)} and {day(windowEnd)}.{" "}
          {explanationUrl && <Outside href={explanationUrl}>Why</Outside>}
        </p>
      )}
      {source === "lifetime" && (
        <p class="muted">The CA suggests no time: Certwright chose one that leaves enough of the lifetime.</p>
      )}
      {attempts > 0 && <p>{attempts === 1 ? "One attempt" : `${attempts} attempts`} failed; it is tried again.</p>}
    </>
  );
}
