import type { ComponentChildren } from "preact";
import { Icon } from "../components/icon";
import { Note } from "../components/note";
import { Panel } from "../components/panel";
import { Time } from "../components/time";
import { sentence } from "../errors";
import { days, some } from "../format";
import type { DashboardPartsFragment, LifetimePartsFragment } from "../gql/graphql";
import { useMay } from "../viewer";

type Order = DashboardPartsFragment["recentOrders"][number];

export interface Need {
  id: string;
  tone: "bad" | "warn";
  title: string;
  detail: ComponentChildren;
  href: string;
  verb: string;
}

const DAY = 86_400_000;
const RECENT_DAYS = 7;

/** What does not go on without a human, the most pressing first. */
export function needs(dashboard: DashboardPartsFragment, certificates: LifetimePartsFragment[], now: Date): Need[] {
  const orders = dashboard.recentOrders;
  return [
    ...orders.filter((order) => isUnmended(order, orders, now)).map(failed),
    ...certificates.filter((certificate) => isEnding(certificate, certificates, now)).map((c) => ending(c, now)),
    ...certificates.filter((c) => !isEnding(c, certificates, now) && c.renewal?.attempts).map(unrenewed),
    ...orders.filter(isUnproven).map(unproven),
  ];
}

/** An order that failed lately, and that no later order of the same names has made good. */
function isUnmended({ status, domains, updatedAt }: Order, orders: Order[], now: Date): boolean {
  if (status !== "INVALID" || days(new Date(updatedAt), now) >= RECENT_DAYS) return false;
  const same = orders.filter((other) => other.domains.join() === domains.join());
  return same[0]?.status === "INVALID" && same[0].updatedAt === updatedAt;
}

function failed({ id, domains, error }: Order): Need {
  const detail = error?.detail ? sentence(error.detail) : "The CA refused it.";
  return { id, tone: "bad", title: `No certificate for ${some(domains)}`, detail, href: `/acme/orders/${id}`, verb: "See why" };
}

/** With less than a sixth of its lifetime left, and no newer certificate for its names. */
function isEnding(certificate: LifetimePartsFragment, all: LifetimePartsFragment[], now: Date): boolean {
  const { names, notBefore, notAfter, status } = certificate;
  const [from, to] = [Date.parse(notBefore), Date.parse(notAfter)];
  const left = to - now.getTime();
  if (status === "REVOKED" || status === "REPLACED" || left > (to - from) / 6 || left < -RECENT_DAYS * DAY) return false;
  return !all.some((other) => Date.parse(other.notAfter) > to && other.names.join() === names.join());
}

function ending({ id, names, notAfter }: LifetimePartsFragment, now: Date): Need {
  const isOver = Date.parse(notAfter) <= now.getTime();
  return {
    id,
    tone: isOver ? "bad" : "warn",
    title: `The certificate of ${some(names)} ${isOver ? "has expired" : "expires soon"}`,
    detail: <Time at={notAfter} />,
    href: `/acme/certificates/${id}`,
    verb: "Look",
  };
}

function unrenewed({ id, names, renewal }: LifetimePartsFragment): Need {
  return {
    id,
    tone: "warn",
    title: `Renewing the certificate of ${some(names)} fails`,
    detail: renewal && (
      <>
        {renewal.attempts === 1 ? "One attempt" : `${renewal.attempts} attempts`} so far; the next one: <Time at={renewal.at} />
      </>
    ),
    href: `/acme/certificates/${id}`,
    verb: "Look",
  };
}

/** It waits for proofs that nobody has said to be in place. */
function isUnproven({ status, challenges }: Order): boolean {
  return status === "PENDING" && challenges.length > 0 && challenges.every((c) => c.status === "PENDING");
}

function unproven({ id, domains }: Order): Need {
  return {
    id,
    tone: "warn",
    title: `${some(domains)} must be proved to be yours`,
    detail: "Put in place what the CA wants to see, then say that it is there.",
    href: `/acme/orders/${id}/challenges`,
    verb: "See what to publish",
  };
}

export function Needs({ needs, hasAccounts }: { needs: Need[]; hasAccounts: boolean }) {
  const mayCreate = useMay("ADMIN");
  if (!hasAccounts) return <FirstStep mayCreate={mayCreate} />;
  if (needs.length === 0) return <Note tone="good">Nothing needs you now.</Note>;
  return (
    <Panel title="Needs you now" tone={needs.some(({ tone }) => tone === "bad") ? "bad" : "warn"}>
      <ul class="needs">
        {needs.map(({ id, tone, title, detail, href, verb }) => (
          <li key={id} class={`need-${tone}`}>
            <Icon name={tone === "bad" ? "cross" : "alert"} />
            <div>
              <b>{title}</b>
              <p class="muted">{detail}</p>
            </div>
            <a class="button small" href={href} aria-label={`${verb}: ${title}`}>
              {verb}
            </a>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function FirstStep({ mayCreate }: { mayCreate: boolean }) {
  return (
    <Panel title="Begin here">
      <div class="first-step">
        <p>
          A certificate authority issues certificates to an account. Make one first; ordering a certificate comes next.
          {!mayCreate && " An administrator can do that."}
        </p>
        {mayCreate && (
          <a class="button primary" href="/acme/accounts/create">
            <Icon name="plus" />
            Create an account
          </a>
        )}
      </div>
    </Panel>
  );
}
