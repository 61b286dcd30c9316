import { useEffect, useRef, useState } from "preact/hooks";
import { Brand, ThemeChoice } from "../components/layout";
import { Note } from "../components/note";
import { TextField } from "../components/field";
import type { Config, Provider } from "../config";
import { startSignIn } from "../oidc";
import { begin } from "../session";

/** What can be sent in a header; the API has the last word. */
const TOKEN = /^[\x21-\x7e]+$/;

export function SignIn({ config, reason }: { config: Config; reason: string | null }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = "Sign in · Certwright";
    if (reason) heading.current?.focus();
  }, [reason]);
  return (
    <main class="alone">
      <div class="sign-in">
        <header>
          <Brand />
          <ThemeChoice />
        </header>
        <h1 tabIndex={-1} ref={heading}>
          Sign in
        </h1>
        {reason && <Note tone="warn">{reason}</Note>}
        {config.oidc && <ByProvider provider={config.oidc} />}
        <ByToken isOnlyWay={!config.oidc} />
      </div>
    </main>
  );
}

function ByProvider({ provider }: { provider: Provider }) {
  const [failed, setFailed] = useState(false);
  const start = () => startSignIn(provider).catch(() => setFailed(true));
  return (
    <>
      <button type="button" class="button primary" onClick={start}>
        Sign in at {new URL(provider.issuer).host}
      </button>
      {failed && <Note tone="bad">Signing in needs https, or this machine's own address.</Note>}
      <p class="or">or with a token</p>
    </>
  );
}

function ByToken({ isOnlyWay }: { isOnlyWay: boolean }) {
  const [token, setToken] = useState("");
  const [error, setError] = useState<string | null>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    const given = token.trim();
    if (TOKEN.test(given)) begin({ token: given, by: "token" });
    else setError(given ? "A token has no spaces in it: paste it alone." : "Paste a token first.");
  };
  return (
    <form onSubmit={submit} noValidate>
      <TextField
        label="API token"
        hint={
          <>
            The server printed one when it first started. <code>certwright token create</code> makes more.
          </>
        }
        error={error}
        type="password"
        name="token"
        value={token}
        onValue={setToken}
      />
      <button type="submit" class={isOnlyWay ? "button primary" : "button"}>
        Sign in
      </button>
      <p class="hint">The token stays in this tab, and is forgotten when the tab is closed.</p>
    </form>
  );
}
