import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";
import { TextField } from "../components/field";
import { Icon } from "../components/icon";
import { Failure } from "../components/note";
import { Panel } from "../components/panel";
import { fileName, save, savePem } from "../download";
import { refusal } from "../errors";
import { ExportPkcs12Document, ExportPrivateKeyDocument } from "../gql/graphql";
import { useAction } from "../query";
import { useMay } from "../viewer";

interface Props {
  certificate: { id: string; names: readonly string[]; chain: string; hasPrivateKey: boolean };
}

const LATER = "-----END CERTIFICATE-----";

/** The parts as servers want them; the key where it is ours and the role allows. */
export function Downloads({ certificate }: Props) {
  const mayExport = useMay("OPERATOR");
  const { chain, hasPrivateKey } = certificate;
  const name = fileName(certificate.names[0] ?? certificate.id);
  const end = chain.indexOf(LATER) + LATER.length;
  const [leaf, issuers] = [`${chain.slice(0, end)}\n`, chain.slice(end).trimStart()];
  return (
    <Panel title="Downloads">
      <ul class="files">
        <File
          title="Full chain"
          hint="Certificate and issuers: what most servers want"
          onSave={() => savePem(`${name}.fullchain.pem`, chain)}
        />
        <File title="Certificate" hint="The certificate alone" onSave={() => savePem(`${name}.cert.pem`, leaf)} />
        {issuers && (
          <File title="Chain" hint="The issuers alone" onSave={() => savePem(`${name}.chain.pem`, issuers)} />
        )}
        {mayExport && hasPrivateKey && <PrivateKey id={certificate.id} name={name} />}
        {mayExport && hasPrivateKey && <Pkcs12 id={certificate.id} name={name} />}
      </ul>
      {!hasPrivateKey && <p class="hint">The private key is not kept here: the order brought its own CSR along.</p>}
      {hasPrivateKey && !mayExport && <p class="hint">Operators may download the private key, too.</p>}
    </Panel>
  );
}

interface FileProps {
  title: string;
  hint: string;
  onSave: () => void;
  isBusy?: boolean;
  children?: ComponentChildren;
}

function File({ title, hint, onSave, isBusy = false, children }: FileProps) {
  const id = useId();
  return (
    <li>
      <div class="file">
        <p>
          <span id={id}>{title}</span>
          <span class="hint">{hint}</span>
        </p>
        <button type="button" class="button small" aria-label={`Download: ${title}`} disabled={isBusy} onClick={onSave}>
          <Icon name="download" />
          Download
        </button>
      </div>
      {children}
    </li>
  );
}

function PrivateKey({ id, name }: { id: string; name: string }) {
  const key = useAction(ExportPrivateKeyDocument);
  const run = async () => {
    const found = await key.run({ id });
    if (found) savePem(`${name}.key.pem`, found.exportPrivateKey);
  };
  return (
    <File
      title="Private key"
      hint="Unencrypted PEM. Each download is written down in the audit trail"
      onSave={run}
      isBusy={key.isBusy}
    >
      {key.error && <Failure error={key.error} />}
    </File>
  );
}

/** One file for Windows, Java and the like. The password is asked for here, and is kept nowhere. */
function Pkcs12({ id, name }: { id: string; name: string }) {
  const [isAsking, setAsking] = useState(false);
  return (
    <File
      title="PKCS#12"
      hint="Key and chain in one file with a password, audited as well"
      onSave={() => setAsking(!isAsking)}
    >
      {isAsking && <Password id={id} name={name} onDone={() => setAsking(false)} />}
    </File>
  );
}

function Password({ id, name, onDone }: { id: string; name: string; onDone: () => void }) {
  const [password, setPassword] = useState("");
  const pack = useAction(ExportPkcs12Document);
  const refused = pack.error && refusal(pack.error);
  const isField = refused?.field === "password";
  const submit = async (event: Event) => {
    event.preventDefault();
    const found = await pack.run({ id, password });
    if (!found) return;
    save(
      `${name}.p12`,
      Uint8Array.from(atob(found.exportPkcs12), (octet) => octet.charCodeAt(0)),
      "application/x-pkcs12",
    );
    onDone();
  };
  return (
    <form onSubmit={submit} noValidate>
      <TextField
        label="Password of the file"
        hint="From 8 characters on. You need it to open the file; Certwright does not keep it."
        type="password"
        name="pkcs12"
        autocomplete="new-password"
        value={password}
        onValue={setPassword}
        error={isField ? refused.message : null}
      />
      {pack.error && !isField && <Failure error={pack.error} />}
      <div class="actions">
        <button type="submit" class="button primary small" disabled={pack.isBusy}>
          Save the file
        </button>
        <button type="button" class="button small" onClick={onDone}>
          Cancel
        </button>
      </div>
    </form>
  );
}
