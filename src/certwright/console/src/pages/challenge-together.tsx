import { useRef } from "preact/hooks";
import { Copy } from "../components/copy";
import { Save } from "../components/save";
import { useMay } from "../viewer";
import type { Preparation, Told } from "./challenge-data";
import { asText } from "./challenge-publish";
import type { Proof } from "./order-parts";

const MEANING: Record<string, [string, string]> = {
  "dns-01": ["DNS record", "A TXT record for each name. The only way for wildcards."],
  "http-01": ["File on the web server", "A small file, served by plain HTTP at port 80."],
  "dns-account-01": ["DNS record of the account", "A TXT record below a name of the account's own."],
  "dns-persist-01": ["Lasting DNS record", "Published once; good for later orders, too."],
};

interface Props {
  /** Names that somebody has to prove. */
  rows: readonly { proof: Proof | undefined; preparation: Preparation | undefined }[];
  types: readonly string[];
  type: string;
  onType: (type: string) => void;
  told: Told;
  onRespond: (ids: readonly string[]) => Promise<void>;
}

/** How all open names are proved, all of what is to be published, and one word to the CA for all of them. */
export function Together({ rows, types, type, onType, told, onRespond }: Props) {
  const mayRespond = useMay("OPERATOR");
  const end = useRef<HTMLParagraphElement>(null);
  const ready = rows.flatMap(({ proof, preparation }) => (proof && preparation ? [{ id: proof.id, preparation }] : []));
  const text = asText(ready.map(({ preparation }) => preparation));
  const isZone = ready.every(({ preparation }) => preparation.__typename === "DnsRecord");
  const what = isZone ? "records, as lines of a zone file" : "files, as URLs and contents";
  const isBusy = ready.some(({ id }) => told.get(id) === "busy");
  const all = () => {
    end.current?.focus();
    void onRespond(ready.map(({ id }) => id));
  };
  return (
    <>
      {ready.length > 0 && types.length > 1 && <Types types={types} type={type} onType={onType} />}
      {ready.length > 1 && (
        <div class="actions">
          {mayRespond && (
            <button type="button" class="button primary" disabled={isBusy} onClick={all}>
              {isBusy ? "Telling the CA…" : `All ${ready.length} are there: let the CA look`}
            </button>
          )}
          <Copy text={text} what={what} label="Copy all" />
          <Save text={text} what={what} label="Download all" file={isZone ? "challenges.zone" : "challenges.txt"} />
        </div>
      )}
      <p class="hint" tabIndex={-1} ref={end}>
        {hint(ready.length)}
      </p>
    </>
  );
}

function hint(ready: number): string {
  if (ready === 0) return "Nothing is to be done here at the moment.";
  if (ready === 1) return "The CA looks when you say that it is there: not before, and as a rule once.";
  return "The CA looks when you say that it is there. One that fails ends the order, so publish all of them first.";
}

function Types({ types, type, onType }: Pick<Props, "types" | "type" | "onType">) {
  return (
    <fieldset class="ways">
      <legend>How to prove</legend>
      <div class="choices">
        {types.map((one) => {
          const [title, about] = MEANING[one] ?? [one, ""];
          return (
            <label key={one} class="choice">
              <input type="radio" name="type" checked={one === type} onChange={() => onType(one)} />
              <span>
                <b>{title}</b>
                <span class="hint">
                  {about} <span class="mono">{one}</span>
                </span>
              </span>
            </label>
          );
        })}
      </div>
    </fieldset>
  );
}
