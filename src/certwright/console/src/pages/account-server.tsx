/** The choice of a CA, and what its directory demands. */
import type { CombinedError } from "@urql/core";
import { useEffect, useId, useState } from "preact/hooks";
import { useApi } from "../client";
import { TextField } from "../components/field";
import { AcmeDirectoryDocument, type AcmeDirectoryQuery, type AcmeServersQuery } from "../gql/graphql";
import { host } from "../format";

export type AcmeServer = AcmeServersQuery["acmeServers"][number];
type Directory = AcmeDirectoryQuery["acmeDirectory"];

const TYPING_MS = 500;

interface Found {
  url: string;
  found?: Directory | undefined;
  error?: CombinedError | undefined;
}

/** Asks a CA as soon as its URL stands still. */
export function useDirectory(url: string): Omit<Found, "url"> & { refetch: () => void } {
  const { client } = useApi();
  const [state, setState] = useState<Found>({ url });
  const [round, setRound] = useState(0);
  useEffect(() => {
    if (!/^https:\/\/[^/]+/.test(url)) return undefined;
    let isWanted = true;
    const timer = setTimeout(async () => {
      const { data, error } = await client.query(AcmeDirectoryDocument, { url: url.trim() }).toPromise();
      if (isWanted) setState({ url, found: data?.acmeDirectory, error });
    }, TYPING_MS);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [client, url, round]);
  const { found, error } = state.url === url ? state : { found: undefined, error: undefined };
  return { found, error, refetch: () => setRound((n) => n + 1) };
}

interface Props {
  servers: readonly AcmeServer[];
  chosen: string;
  onChoose: (url: string) => void;
  error: string | null;
}

export function ServerChoice({ servers, chosen, onChoose, error }: Props) {
  const [isOwn, setOwn] = useState(servers.length === 0);
  const name = useId();
  return (
    <fieldset>
      <legend class="unseen">Certificate authority</legend>
      <div class="choices">
        {servers.map((server) => (
          <Choice
            key={server.url}
            name={name}
            title={server.name === server.url ? host(server.url) : server.name}
            about={about(server)}
            isChosen={!isOwn && chosen === server.url}
            onChoose={() => {
              setOwn(false);
              onChoose(server.url);
            }}
          />
        ))}
        <Choice
          name={name}
          title="Another one"
          about="By its directory URL"
          isChosen={isOwn}
          onChoose={() => {
            setOwn(true);
            onChoose("");
          }}
        />
      </div>
      {isOwn && (
        <TextField
          label="Directory URL"
          hint="As the CA documents it. This server's settings say which are allowed."
          type="url"
          name="acmeServer"
          value={chosen}
          onValue={onChoose}
          error={error}
        />
      )}
      {!isOwn && error && (
        <p class="error" role="alert">
          {error}
        </p>
      )}
    </fieldset>
  );
}

function about({ url, staging, externalAccountRequired }: AcmeServer): string {
  if (staging) return "For trying: nobody trusts its certificates";
  return externalAccountRequired ? "Needs credentials from its site" : host(url);
}

interface ChoiceProps {
  name: string;
  title: string;
  about: string;
  isChosen: boolean;
  onChoose: () => void;
}

function Choice({ name, title, about, isChosen, onChoose }: ChoiceProps) {
  return (
    <label class="choice">
      <input type="radio" name={name} checked={isChosen} onChange={onChoose} />
      <span>
        <b>{title}</b>
        <span class="hint">{about}</span>
      </span>
    </label>
  );
}
