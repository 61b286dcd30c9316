/** The way to the API: queries and mutations over HTTP, subscriptions over one WebSocket that comes back by itself. */
import { type CombinedError, Client, fetchExchange, mapExchange, subscriptionExchange } from "@urql/core";
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { createClient } from "graphql-ws";
import type { Config } from "./config";
import { type Signal, signal } from "./signal";

/** 4403: the token is not good, or not any more (src/certwright/api/socket.py). */
const REFUSED = 4403;
const PING_MS = 20_000;
const PONG_MS = 5_000;
const MOST_PAUSE_MS = 10_000;

export type Liveness = "connecting" | "live" | "reconnecting" | "ended";

export interface Api {
  client: Client;
  liveness: Signal<Liveness>;
  /** How many subscriptions were begun so far. */
  listeners: Signal<number>;
  dispose(): void;
}

export function connect(config: Config, token: string, onRefused: (reason: string) => void): Api {
  const authorization = `Bearer ${token}`;
  const liveness = signal<Liveness>("connecting");
  let pong: number | undefined;
  let isOver = false;
  const refuse = (reason: string) => {
    if (!isOver) onRefused(reason);
  };
  const sockets = createClient({
    url: config.socketUrl ?? `${location.origin.replace(/^http/, "ws")}/graphql`,
    connectionParams: { authorization },
    lazy: false,
    keepAlive: PING_MS,
    retryAttempts: Infinity,
    retryWait: (tries) => pause(Math.min(300 * 2 ** tries, MOST_PAUSE_MS) * (0.5 + Math.random() / 2)),
    shouldRetry: (event) => !(event instanceof CloseEvent && event.code === REFUSED),
    onNonLazyError: () => liveness.set("ended"),
    on: {
      connected: () => liveness.set("live"),
      closed: (event) => {
        clearTimeout(pong);
        if (event instanceof CloseEvent && event.code === REFUSED) refuse("");
        else if (!isOver && liveness.get() !== "ended") liveness.set("reconnecting");
      },
      // A connection that died without a word is given up, and made anew.
      ping: (received) => {
        if (!received) pong = window.setTimeout(() => sockets.terminate(), PONG_MS);
      },
      pong: (received) => {
        if (received) clearTimeout(pong);
      },
    },
  });
  const client = new Client({
    url: "/graphql",
    preferGetMethod: false,
    requestPolicy: "network-only",
    fetchOptions: { headers: { authorization } },
    exchanges: [
      mapExchange({
        onResult({ error }) {
          if (error && isRefusal(error)) refuse(error.graphQLErrors[0]?.message ?? "");
        },
      }),
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: ({ query, variables }) => ({
          subscribe: (sink) => ({
            unsubscribe: sockets.subscribe<unknown, Record<string, unknown>>(
              { query: query ?? "", variables },
              { ...sink, next: (result) => sink.next({ ...result, data: result.data ?? null }) },
            ),
          }),
        }),
      }),
    ],
  });
  const dispose = () => {
    isOver = true;
    // It waits for the connection that is being made, and fails with it.
    Promise.resolve(sockets.dispose()).catch(() => undefined);
  };
  return { client, liveness, listeners: signal(0), dispose };
}

function isRefusal(error: CombinedError): boolean {
  const response = error.response as Response | undefined;
  return response?.status === 401 || error.graphQLErrors.some((e) => e.extensions["code"] === "UNAUTHENTICATED");
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

export const ApiContext = createContext<Api | null>(null);

export function useApi(): Api {
  const api = useContext(ApiContext);
  if (!api) throw new Error("nobody is signed in");
  return api;
}
