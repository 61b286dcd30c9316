/** The names to order, pasted in any shape, each with what the server says of it. */
import { useEffect, useState } from "preact/hooks";
import { useApi } from "../client";
import { Field } from "../components/field";
import { Icon } from "../components/icon";
import { refusal } from "../errors";
import { CheckDomainsDocument, type CheckDomainsQuery } from "../gql/graphql";

type Check = CheckDomainsQuery["checkDomains"][number];

const TYPING_MS = 300;

interface Checked {
  checks: readonly Check[];
  /** Of all names together, such as too many. */
  fault: string | null;
}

/** What the server says of names, once typing pauses. What it said before stays until then. */
export function useChecks(names: readonly string[]): Checked {
  const { client } = useApi();
  const [checked, setChecked] = useState<Checked>({ checks: [], fault: null });
  const key = names.join(",");
  useEffect(() => {
    if (!key) return setChecked({ checks: [], fault: null });
    let isWanted = true;
    const timer = setTimeout(async () => {
      const { data, error } = await client.query(CheckDomainsDocument, { domains: [...names] }).toPromise();
      if (isWanted) setChecked({ checks: data?.checkDomains ?? [], fault: error ? refusal(error).message : null });
    }, TYPING_MS);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [client, key]);
  return checked;
}

interface Props {
  text: string;
  onText: (text: string) => void;
  names: readonly string[];
  /** Why the order was refused for its names. */
  error: string | null;
}

export function NamesField({ text, onText, names, error }: Props) {
  const { checks, fault } = useChecks(names);
  const bad = checks.filter(({ problem }) => problem).length;
  return (
    <>
      <Field
        label="Domain names"
        hint="Paste them as they are: by commas, spaces, lines, or as URLs. *.example.com is for all right below it."
        error={fault ?? (bad > 0 ? null : error)}
      >
        {(tied) => (
          <textarea
            {...tied}
            class="names-text mono"
            name="domains"
            rows={4}
            spellcheck={false}
            autocapitalize="off"
            autocomplete="off"
            value={text}
            onInput={(event) => onText(event.currentTarget.value)}
          />
        )}
      </Field>
      <p class="hint" role="status">
        {summary(checks.length, bad)}
      </p>
      {checks.length > 0 && (
        <ul class="checks" aria-label="Names found" tabIndex={0}>
          {checks.map((check, index) => (
            <CheckLine key={index} check={check} />
          ))}
        </ul>
      )}
    </>
  );
}

function summary(found: number, bad: number): string {
  if (found === 0) return "";
  const names = found === 1 ? "One name" : `${found} names`;
  if (bad === 0) return found === 1 ? "One name, and it is good." : `${names}, all good.`;
  return `${names}; ${bad} cannot be ordered.`;
}

function CheckLine({ check: { given, name, problem } }: { check: Check }) {
  return (
    <li class={problem ? "check-bad" : "check-good"}>
      <Icon name={problem ? "cross" : "done"} />
      <span class="name">
        <b>{given}</b>
        {name && name !== given && <span class="muted"> (ordered as {name})</span>}
        {problem && <span class="check-problem"> {problem}.</span>}
      </span>
    </li>
  );
}
