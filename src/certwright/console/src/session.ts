/**
 * Who is signed in: a bearer token, held for as long as the tab lives and never in a URL or in local storage.
 * A session that ends leaves the reason, which the sign-in page shows.
 */
import { signal } from "./signal";

const KEY = "certwright.session";

export interface Session {
  token: string;
  /** By what the user signed in. */
  by: "token" | "provider";
}

export interface SessionState {
  session: Session | null;
  reason: string | null;
}

function stored(): Session | null {
  try {
    const found: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    const { token, by } = (found ?? {}) as Partial<Session>;
    return typeof token === "string" && (by === "token" || by === "provider") ? { token, by } : null;
  } catch {
    return null; // Storage is forbidden, or holds what we did not write.
  }
}

export const sessionState = signal<SessionState>({ session: stored(), reason: null });

export function begin(session: Session): void {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(session));
  } catch {
    // Without storage the session lasts until the page is loaded anew.
  }
  sessionState.set({ session, reason: null });
}

export function end(reason: string | null): void {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // As above.
  }
  sessionState.set({ session: null, reason });
}
