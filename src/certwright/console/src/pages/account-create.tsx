import { useLocation } from "preact-iso";
import { useEffect, useState } from "preact/hooks";
import { CheckField, Field, TextField } from "../components/field";
import { Outside } from "../components/outside";
import { Loading } from "../components/loading";
import { Failure, Note } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { refusal } from "../errors";
import { serverName, words } from "../format";
import { AcmeServersDocument, CreateAccountDocument } from "../gql/graphql";
import { once } from "../once";
import { useAction, useQuery } from "../query";
import { useMay, useViewer } from "../viewer";
import { type AcmeServer, ServerChoice, useDirectory } from "./account-server";

/** Those beside which a refusal can stand. */
const FIELDS = ["acmeServer", "email", "contact", "externalAccountBinding", "termsOfServiceAgreed"];
const ABOVE = [{ href: "/acme/accounts", name: "Accounts" }];

export function AccountCreate() {
  const { data, error, refetch } = useQuery(AcmeServersDocument, {});
  const mayCreate = useMay("ADMIN");
  const { role } = useViewer();
  return (
    <Page title="Create an account" lead="Registers a new key with a certificate authority." above={ABOVE}>
      {!mayCreate && <Note tone="warn">Only administrators create accounts; your role is {words(role)}.</Note>}
      {error && <Failure error={error} retry={refetch} />}
      {!data && !error && <Loading />}
      {data && mayCreate && <Form servers={data.acmeServers} />}
    </Page>
  );
}

function Form({ servers }: { servers: readonly AcmeServer[] }) {
  const { route } = useLocation();
  const [server, setServer] = useState(servers[0]?.url ?? "");
  const [email, setEmail] = useState("");
  const [contact, setContact] = useState("");
  const [isAgreed, setAgreed] = useState(false);
  const [keyId, setKeyId] = useState("");
  const [hmacKey, setHmacKey] = useState("");
  const [key] = useState(once);
  const directory = useDirectory(server);
  const create = useAction(CreateAccountDocument);
  const wantsBinding =
    directory.found?.externalAccountRequired ??
    servers.find(({ url }) => url === server)?.externalAccountRequired ??
    false;
  const refused = create.error && refusal(create.error);
  useEffect(() => key.refused(refused?.code), [create.error]);
  const at = (field: string) => (refused?.field === field ? refused.message : null);

  const submit = async (event: Event) => {
    event.preventDefault();
    const created = await create.run({
      input: {
        email: email.trim(),
        acmeServer: server.trim(),
        contact: contact.split(/[\s,]+/).filter(Boolean),
        termsOfServiceAgreed: isAgreed,
        externalAccountBinding: wantsBinding ? { keyId: keyId.trim(), hmacKey: hmacKey.trim() } : null,
        idempotencyKey: key.of({ email, server, contact, isAgreed, keyId }),
      },
    });
    if (created) route(`/acme/accounts/${created.createAccount.id}`);
  };
  const choose = (url: string) => {
    setServer(url);
    setAgreed(false);
    create.reset();
  };

  return (
    <form class="narrow" onSubmit={submit} noValidate>
      <Panel title="Certificate authority">
        <ServerChoice servers={servers} chosen={server} onChoose={choose} error={at("acmeServer")} />
        {directory.error && <Failure error={directory.error} retry={directory.refetch} />}
      </Panel>
      <Panel title="Contact">
        <fieldset>
          <legend class="unseen">Contact</legend>
          <TextField
            label="E-mail"
            hint="For what concerns the account. CAs send no reminders of expiry any more: Certwright watches that."
            type="email"
            name="email"
            autocomplete="email"
            isRequired
            value={email}
            onValue={setEmail}
            error={at("email")}
          />
          <Field label="Further contacts (optional)" hint="One per line, such as mailto:ops@example.com." error={at("contact")}>
            {(tied) => (
              <textarea {...tied} rows={2} value={contact} onInput={(event) => setContact(event.currentTarget.value)} />
            )}
          </Field>
        </fieldset>
      </Panel>
      {wantsBinding && (
        <Panel title="External account binding">
          <fieldset>
            <legend class="hint">This CA ties accounts to customers of its own: get both values from its site.</legend>
            <TextField label="Key id" name="keyId" value={keyId} onValue={setKeyId} error={at("externalAccountBinding")} />
            <TextField label="HMAC key" name="hmacKey" type="password" value={hmacKey} onValue={setHmacKey} />
          </fieldset>
        </Panel>
      )}
      {directory.found?.termsOfService && (
        <Panel title="Terms of service">
          <CheckField
            isChecked={isAgreed}
            onCheck={setAgreed}
            error={at("termsOfServiceAgreed")}
            label={
              <>
                I have read and agree to the{" "}
                <Outside href={directory.found.termsOfService}>terms of service of {serverName(server, servers)}</Outside>
              </>
            }
          />
        </Panel>
      )}
      {create.error && !FIELDS.includes(refused?.field ?? "") && <Failure error={create.error} />}
      <div class="actions">
        <button type="submit" class="button primary" disabled={create.isBusy}>
          {create.isBusy ? "Registering…" : "Create the account"}
        </button>
        <a class="button" href="/acme/accounts">
          Cancel
        </a>
      </div>
    </form>
  );
}
