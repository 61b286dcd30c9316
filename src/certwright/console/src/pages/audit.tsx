import { useLocation } from "preact-iso";
import { useMemo, useRef, useState } from "preact/hooks";
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
import { SubjectChoice } from "./audit-subject";
import "../styles/audit.css";

const SIZE = 50;
const MOST = 200;
const MOST_SAID = 3;
const CALM_MS = 500;
const PATH = "/acme/audit";
const OUTCOMES: AuditOutcome[] = ["SUCCEEDED", "FAILED", "DENIED"];

export function Audit() {
  return (
    <Page
      title="Audit trail"
      lead="Who did what, when, and what came of it. Each record is chained to the one before it by its hash."
    >
      {useMay("OPERATOR") ? <Trail /> : <Note tone="warn">The audit trail is for operators and administrators.</Note>}
    </Page>
  );
}

function Trail() {
  const { after, subject } = useLocation().query;
  const { data, error, refetch, update } = useQuery(AuditEventsDocument, {
    first: SIZE,
    after: after ?? null,
    subjectId: subject ?? null,
  });
  const tell = useCalmAnnounce();
  const [text, setText] = useState("");
  const [outcome, setOutcome] = useState<AuditOutcome | "">("");
  const all = data?.auditEvents.edges.map(({ node }) => node) ?? [];
  useEvents(AuditEventsLiveDocument, after ? null : {}, ({ auditEvents: event }) => {
    if (subject && event.subjectId !== subject) return;
    tell(`${kindOf(event.type)} by ${event.actor}`);
    if (all.length < MOST) update((shown) => withEvent(shown, event));
    else refetch();
  });
  const events = useMemo(() => all.filter((event) => fits(event, text, outcome)), [data, text, outcome]);
  const next = data?.auditEvents.pageInfo;
  return (
    <>
      <SubjectChoice subject={subject ?? ""} />
      <Panel
        title={after ? "Older records" : "Newest first"}
        actions={<Count shown={events.length} all={all.length} />}
      >
        <div class="filters">
          <TextField label="Filter what is shown" name="filter" value={text} onValue={setText} />
          <Field label="Outcome">
            {(tied) => (
              <select
                {...tied}
                value={outcome}
                onChange={(event) => setOutcome(event.currentTarget.value as AuditOutcome | "")}
              >
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
        <Pager
          path={PATH}
          after={after}
          next={next?.hasNextPage ? next.endCursor : null}
          keep={subject ? { subject } : {}}
        />
      </Panel>
    </>
  );
}

/** Records come by the handful: what comes close together is said at once. */
function useCalmAnnounce(): (text: string) => void {
  const announce = useAnnounce();
  const waiting = useRef<string[]>([]);
  return (text) => {
    waiting.current.push(text);
    if (waiting.current.length > 1) return;
    setTimeout(() => {
      const { length } = waiting.current;
      announce(length > MOST_SAID ? `${length} new records` : waiting.current.join(". "));
      waiting.current = [];
    }, CALM_MS);
  };
}

/** A record that was there when the page was asked for may come by the subscription as well. */
function withEvent(shown: AuditEventsQuery, node: AuditEventPartsFragment): AuditEventsQuery {
  const { edges, pageInfo } = shown.auditEvents;
  if (edges.some((edge) => edge.node.id === node.id)) return shown;
  const newer = [{ node }, ...edges].sort((a, b) => (a.node.id < b.node.id ? 1 : -1));
  return { ...shown, auditEvents: { edges: newer, pageInfo } };
}

function fits(event: AuditEventPartsFragment, text: string, outcome: string): boolean {
  const { type, actor, detail, subjectId, requestId, sourceIp } = event;
  const all = [type, kindOf(type), actor, detail, subjectId, requestId, sourceIp].join(" ").toLowerCase();
  return (!outcome || event.outcome === outcome) && all.includes(text.trim().toLowerCase());
}

function Count({ shown, all }: { shown: number; all: number }) {
  return <span class="muted">{shown === all ? `${all} records` : `${shown} of ${all} records`}</span>;
}
