import { useLocation } from "preact-iso";
import { useMemo, useState } from "preact/hooks";
import { useAnnounce } from "../components/announce";
import { Field, TextField } from "../components/field";
import { Loading } from "../components/loading";
import { Failure, Note } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { Pager } from "../components/table";
import { words } from "../format";
import {
  type AuditEventPartsFragment,
  AuditEventsDocument,
  AuditEventsLiveDocument,
  type AuditEventsQuery,
  type AuditOutcome,
} from "../gql/graphql";
import { useEvents, useQuery } from "../query";
import { useMay } from "../viewer";
import { AuditEntry, kindOf } from "./audit-event";
import "../styles/audit.css";

const SIZE = 50;
const MOST = 200;
const PATH = "/acme/audit";
const OUTCOMES: AuditOutcome[] = ["SUCCEEDED", "FAILED", "DENIED"];

export function Audit() {
  return (
    <Page title="Audit trail" lead="Who did what, when, and what came of it. Each record is chained to the one before it by its hash.">
      {useMay("OPERATOR") ? <Trail /> : <Note tone="warn">The audit trail is for operators and administrators.</Note>}
    </Page>
  );
}

function Trail() {
  const { after, subject } = useLocation().query;
  const { data, error, refetch, update } = useQuery(AuditEventsDocument, { first: SIZE, after: after ?? null, subjectId: subject ?? null });
  const announce = useAnnounce();
  const [text, setText] = useState("");
  const [outcome, setOutcome] = useState<AuditOutcome | "">("");
  useEvents(AuditEventsLiveDocument, after ? null : {}, ({ auditEvents: event }) => {
    if (subject && event.subjectId !== subject) return;
    announce(`${kindOf(event.type)} by ${event.actor}`);
    update((shown) => withEvent(shown, event));
  });
  const all = data?.auditEvents.edges.map(({ node }) => node) ?? [];
  const events = useMemo(() => all.filter((event) => fits(event, text, outcome)), [data, text, outcome]);
  const next = data?.auditEvents.pageInfo;
  return (
    <>
      <SubjectChoice subject={subject ?? ""} />
      <Panel title={after ? "Older records" : "Newest first"} actions={<Count shown={events.length} all={all.length} />}>
        <div class="filters">
          <TextField label="Filter what is shown" name="filter" value={text} onValue={setText} />
          <Field label="Outcome">
            {(tied) => (
              <select {...tied} value={outcome} onChange={(event) => setOutcome(event.currentTarget.value as AuditOutcome | "")}>
                <option value="">Any</option>
                {OUTCOMES.map((value) => (
                  <option key={value} value={value}>
                    {words(value)}
                  </option>
                ))}
              </select>
            )}
          </Field>
        </div>
        {error && <Failure error={error} retry={refetch} />}
        {!data && !error && <Loading />}
        {data && events.length === 0 && <p class="empty">Nothing of what is loaded fits.</p>}
        <ol class="trail" aria-label="Audit records">
          {events.map((event) => (
            <AuditEntry key={event.id} event={event} subject={subject} />
          ))}
        </ol>
        <Pager path={PATH} after={after} next={next?.hasNextPage ? next.endCursor : null} keep={subject ? { subject } : {}} />
      </Panel>
    </>
  );
}

/** A record that was there when the page was asked for may come by the subscription as well. */
function withEvent(shown: AuditEventsQuery, node: AuditEventPartsFragment): AuditEventsQuery {
  const { edges, pageInfo } = shown.auditEvents;
  if (edges.some((edge) => edge.node.id === node.id)) return shown;
  const newer = [{ node }, ...edges].sort((a, b) => (a.node.id < b.node.id ? 1 : -1));
  return { ...shown, auditEvents: { edges: newer.slice(0, MOST), pageInfo } };
}

function fits(event: AuditEventPartsFragment, text: string, outcome: string): boolean {
  const { type, actor, detail, subjectId, requestId, sourceIp } = event;
  const all = [type, kindOf(type), actor, detail, subjectId, requestId, sourceIp].join(" ").toLowerCase();
  return (!outcome || event.outcome === outcome) && all.includes(text.trim().toLowerCase());
}

function Count({ shown, all }: { shown: number; all: number }) {
  return <span class="muted">{shown === all ? `${all} records` : `${shown} of ${all} records`}</span>;
}

/** All records about one account, order, certificate or provider: asked of the server, so that an address holds it. */
function SubjectChoice({ subject }: { subject: string }) {
  const { route } = useLocation();
  const [id, setId] = useState(subject);
  const submit = (event: Event) => {
    event.preventDefault();
    const wanted = id.trim();
    route(wanted ? `${PATH}?${new URLSearchParams({ subject: wanted }).toString()}` : PATH);
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <input
        type="search"
        aria-label="Only about the id"
        placeholder="Id of an order, account, certificate…"
        spellcheck={false}
        value={id}
        onInput={(event) => setId(event.currentTarget.value)}
      />
      <button type="submit" class="button">
        Find
      </button>
      {subject && (
        <a class="button" href={PATH} onClick={() => setId("")}>
          Show all
        </a>
      )}
    </form>
  );
}
