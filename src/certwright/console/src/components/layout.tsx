import type { ComponentChildren } from "preact";
import { useLocation } from "preact-iso";
import { useApi } from "../client";
import { words } from "../format";
import type { Role } from "../gql/graphql";
import { end } from "../session";
import { useSignal } from "../signal";
import { choose, type Theme, theme } from "../theme";
import { useMay, useViewer } from "../viewer";
import { Icon, type IconName } from "./icon";

const PLACES: { href: string; name: string; icon: IconName; role?: Role }[] = [
  { href: "/acme", name: "Dashboard", icon: "dashboard" },
  { href: "/acme/accounts", name: "Accounts", icon: "accounts" },
  { href: "/acme/orders", name: "Orders", icon: "orders" },
  { href: "/acme/certificates", name: "Certificates", icon: "certificates" },
  { href: "/acme/providers", name: "Providers", icon: "providers", role: "ADMIN" },
  { href: "/acme/audit", name: "Audit trail", icon: "audit", role: "OPERATOR" },
];

export function Layout({ version, children }: { version: string; children: ComponentChildren }) {
  return (
    <div class="layout">
      <a class="skip" href="#content">
        Skip to the content
      </a>
      <header class="side">
        <Brand />
        <Navigation />
        <div class="side-foot">
          <div class="side-state">
            <Live />
            <Who />
          </div>
          <div class="side-tools">
            <a class="tool" href="/graphql" target="_self">
              <Icon name="api" />
              <span>GraphQL</span>
            </a>
            <button type="button" class="tool" onClick={() => end(null)}>
              <Icon name="leave" />
              <span>Sign out</span>
            </button>
            <ThemeChoice />
          </div>
          <p class="version">Certwright {version}</p>
        </div>
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </div>
  );
}

export function Brand() {
  return (
    <a class="brand" href="/acme">
      <svg viewBox="0 0 32 32" aria-hidden="true">
        <rect width="32" height="32" rx="8" />
        <path d="M16 6l8 3v6.5c0 5-3.3 8.6-8 10.5-4.7-1.9-8-5.5-8-10.5V9zM12.2 15.8l2.8 2.8 5-5.2" />
      </svg>
      Certwright
    </a>
  );
}

function Navigation() {
  const { path } = useLocation();
  const may = { VIEWER: true, OPERATOR: useMay("OPERATOR"), ADMIN: useMay("ADMIN") };
  const places = PLACES.filter(({ role = "VIEWER" }) => may[role]);
  return (
    <nav class="places" aria-label="Main">
      {places.map(({ href, name, icon }) => {
        const isHere = href === "/acme" ? path === href : path === href || path.startsWith(`${href}/`);
        return (
          <a key={href} href={href} aria-current={isHere ? (path === href ? "page" : "true") : undefined}>
            <Icon name={icon} />
            {name}
          </a>
        );
      })}
    </nav>
  );
}

const LIVENESS = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  ended: "Not live: reload the page",
};

function Live() {
  const state = useSignal(useApi().liveness);
  return (
    <p class={`live live-${state}`} role="status">
      {LIVENESS[state]}
    </p>
  );
}

function Who() {
  const { name, role, tenant } = useViewer();
  return (
    <p class="who">
      <b title={`Tenant ${tenant}`}>{name.replace(/^token:/, "")}</b>
      <span>{words(role)}</span>
    </p>
  );
}

const NEXT: Record<Theme, [Theme, IconName, string]> = {
  auto: ["light", "auto", "Colours: as the system has them"],
  light: ["dark", "sun", "Colours: light"],
  dark: ["auto", "moon", "Colours: dark"],
};

export function ThemeChoice() {
  const [next, icon, label] = NEXT[useSignal(theme)];
  return (
    <button type="button" class="tool" title={label} aria-label={`${label}. Change`} onClick={() => choose(next)}>
      <Icon name={icon} />
    </button>
  );
}
