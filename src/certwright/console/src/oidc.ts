/**
 * Sign-in at an OpenID Connect provider: authorization code with PKCE (RFC 7636), for a public client.
 * The provider sends the browser back to /acme/signed-in; what must be known then waits in the tab's storage.
 */
import type { Provider } from "./config";
import { begin, end } from "./session";

const KEY = "certwright.sign-in";
const RETURN_PATH = "/acme/signed-in";

interface Pending {
  state: string;
  verifier: string;
  from: string;
}

export async function startSignIn(provider: Provider): Promise<void> {
  const pending: Pending = { state: random(), verifier: random(), from: location.pathname + location.search };
  sessionStorage.setItem(KEY, JSON.stringify(pending));
  const url = new URL(provider.authorizationEndpoint);
  const parameters = {
    response_type: "code",
    client_id: provider.clientId,
    redirect_uri: location.origin + RETURN_PATH,
    scope: provider.scope,
    state: pending.state,
    code_challenge: await challenge(pending.verifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  location.assign(url);
}

/** Where the browser comes from the provider: its code becomes a session, and the user is where they were before. */
export async function finishSignIn(provider: Provider | null): Promise<void> {
  if (location.pathname !== RETURN_PATH) return;
  const answer = new URLSearchParams(location.search);
  const pending = taken();
  history.replaceState(null, "", pending?.from ?? "/acme"); // The code leaves the address at once.
  if (!provider || !pending || answer.get("state") !== pending.state) {
    end("That sign-in was not begun in this tab. Please sign in again.");
    return;
  }
  const code = answer.get("code");
  if (!code) {
    end(`The provider refused the sign-in: ${answer.get("error_description") ?? answer.get("error") ?? "no reason given"}`);
    return;
  }
  try {
    begin({ token: await exchange(provider, code, pending.verifier), by: "provider" });
  } catch {
    end("The provider gave no token. Please sign in again.");
  }
}

async function exchange(provider: Provider, code: string, verifier: string): Promise<string> {
  const response = await fetch(provider.tokenEndpoint, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      code,
      redirect_uri: location.origin + RETURN_PATH,
      client_id: provider.clientId,
      code_verifier: verifier,
    }),
  });
  const tokens = (await response.json()) as Record<string, unknown>;
  const token = tokens[provider.token];
  if (!response.ok || typeof token !== "string") throw new Error("no token");
  return token;
}

function taken(): Pending | null {
  const found = sessionStorage.getItem(KEY);
  sessionStorage.removeItem(KEY);
  return found ? (JSON.parse(found) as Pending) : null;
}

/** 256 random bits in the alphabet of code verifiers (RFC 7636 §4.1). */
function random(): string {
  return base64url(crypto.getRandomValues(new Uint8Array(32)));
}

async function challenge(verifier: string): Promise<string> {
  return base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier))));
}

function base64url(octets: Uint8Array): string {
  return btoa(String.fromCharCode(...octets)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
