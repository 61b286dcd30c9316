/** @jsxImportSource react */
/** The GraphQL IDE at GET /graphql, all of it from this server. Whoever signed in on the console is signed in here. */
import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import { type DocumentNode, parse } from "graphql";
import { createClient } from "graphql-ws";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { loadConfig } from "../config";
import { sessionState } from "../session";
import "./graphiql.css";

const WELCOME = `# Certwright's whole API: see the documentation on the left.
#
# A tab of its own needs a token of its own: sign in at /acme in this tab, or give it under "Headers":
#   {"Authorization": "Bearer cw_…"}

{
  viewer { name role }
  dashboard { counts { accounts orders certificates } }
}
`;

async function start(): Promise<void> {
  const { socketUrl } = await loadConfig();
  const session = sessionState.get().session;
  let authorization = session ? `Bearer ${session.token}` : "";
  const sockets = createClient({
    url: socketUrl ?? `${location.origin.replace(/^http/, "ws")}/graphql`,
    connectionParams: () => ({ authorization }),
  });
  const signed = session ? { headers: { Authorization: authorization } } : {};
  const ask = createGraphiQLFetcher({ url: "/graphql", wsClient: sockets, ...signed });
  // What stands under "Headers" goes before the console's session, for subscriptions too.
  const fetcher: Fetcher = (params, options) => {
    const given = Object.entries(options?.headers ?? {}).find(([name]) => name.toLowerCase() === "authorization");
    authorization = given ? String(given[1]) : authorization;
    return ask(params, { ...options, documentAST: read(params.query) ?? options?.documentAST });
  };
  createRoot(document.getElementById("ide") as HTMLElement).render(
    <StrictMode>
      <GraphiQL fetcher={fetcher} defaultQuery={WELCOME} shouldPersistHeaders={false}>
        <GraphiQL.Logo>
          <a href="/acme">Certwright</a>
        </GraphiQL.Logo>
      </GraphiQL>
    </StrictMode>,
  );
}

/** The text as it is now: the editor's own reading of it comes later, and decides between HTTP and the socket. */
function read(text: string): DocumentNode | undefined {
  try {
    return parse(text);
  } catch {
    return undefined; // The server says what is wrong with it.
  }
}

void start();
