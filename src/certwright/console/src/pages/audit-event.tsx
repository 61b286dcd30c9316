import { Facts } from "../components/panel";
import { Status } from "../components/status";
import { Time } from "../components/time";
import { moment } from "../format";
import type { AuditEventPartsFragment } from "../gql/graphql";

interface Props {
  event: AuditEventPartsFragment;
  /** Whose records alone are shown. */
  subject: string | undefined;
}

/** One record in a line, and all of it behind that. */
export function AuditEntry({ event, subject }: Props) {
  const { at, type, actor, outcome, detail, subjectId } = event;
  return (
    <li>
      <details>
        <summary>
          <span class="trail-what">
            <b>{kindOf(type)}</b>
            {detail && <span class="trail-detail">{detail}</span>}
          </span>
          <span class="trail-who">{actor}</span>
          <Status of={outcome} />
          <Time at={at} />
        </summary>
        <Facts
          facts={[
            [
              "Time",
              <time dateTime={at}>
                {moment(at)}, {at}
              </time>,
            ],
            ["Type", <span class="mono">{type}</span>],
            detail ? ["Detail", detail] : null,
            ["Actor", actor],
            subjectId ? ["About", <Subject of={event} isAlone={subject === subjectId} />] : null,
            event.requestId ? ["Request", <span class="mono">{event.requestId}</span>] : null,
            event.sourceIp ? ["From", <span class="mono">{event.sourceIp}</span>] : null,
            ["Hash", <span class="mono">{event.hash}</span>],
            [
              "Hash before",
              event.previousHash ? <span class="mono">{event.previousHash}</span> : "None: it is the first about this",
            ],
          ]}
        />
      </details>
    </li>
  );
}

/** Where the page of a subject is, by the beginning of the record's type. */
const PAGES: [RegExp, string][] = [
  [/^(Order|Challenge)/, "/acme/orders/"],
  [/^(Account|Key(Rol))/, "/acme/accounts/"],
  [/^(Certificate|PrivateKey|Renewal)/, "/acme/certificates/"],
  [/^Provider/, "/acme/providers/"],
];

function Subject({ of: { type, subjectId }, isAlone }: { of: AuditEventPartsFragment; isAlone: boolean }) {
  const page = PAGES.find(([pattern]) => pattern.test(type))?.[1];
  const id = <span class="mono">{subjectId}</span>;
  return (
    <>
      {page ? <a href={page + encodeURIComponent(subjectId ?? "")}>{id}</a> : id}
      {!isAlone && (
        <>
          {" · "}
          <a href={`/acme/audit?${new URLSearchParams({ subject: subjectId ?? "" }).toString()}`}>
            all records about it
          </a>
        </>
      )}
    </>
  );
}

/** "PrivateKeyExported" → "Private key exported". */
export function kindOf(type: string): string {
  const text = type.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
