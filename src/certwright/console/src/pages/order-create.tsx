import { useLocation } from "preact-iso";
import { useState } from "preact/hooks";
import { Field } from "../components/field";
import { Loading } from "../components/loading";
import { Failure, Note } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { refusal } from "../errors";
import { serverName, words } from "../format";
import { CreateOrderDocument, OrderChoicesDocument, type OrderChoicesQuery } from "../gql/graphql";
import { once } from "../once";
import { useAction, useQuery } from "../query";
import { useMay, useViewer } from "../viewer";
import { NamesField } from "./order-names";
import { Advanced, DEFAULTS, KeyChoice, type Options, ProfileChoice } from "./order-options";
import { namesIn } from "./order-text";
import "../styles/orders.css";

const ABOVE = [{ href: "/acme/orders", name: "Orders" }];
const ADVANCED = ["solver", "fallbackAccountIds", "preferredChain", "csr"];
const FIELDS = [...ADVANCED, "domains", "accountId", "profile", "keyType"];

export function OrderCreate() {
  const { data, error, refetch } = useQuery(OrderChoicesDocument, {});
  const mayOrder = useMay("OPERATOR");
  const { role } = useViewer();
  return (
    <Page title="Order a certificate" lead="One certificate, for all the names." above={ABOVE}>
      {!mayOrder && <Note tone="warn">Only operators order certificates; your role is {words(role)}.</Note>}
      {error && <Failure error={error} retry={refetch} />}
      {!data && !error && <Loading />}
      {data && mayOrder && (data.accounts.edges.length > 0 ? <Form choices={data} /> : <NoAccount />)}
    </Page>
  );
}

function NoAccount() {
  const mayCreate = useMay("ADMIN");
  return (
    <Note tone="info" title="An account comes first">
      <p>
        Certificates are ordered with an account at a certificate authority.
        {!mayCreate && " An administrator can create one."}
      </p>
      {mayCreate && (
        <a class="button primary" href="/acme/accounts/create">
          Create an account
        </a>
      )}
    </Note>
  );
}

function Form({ choices }: { choices: OrderChoicesQuery }) {
  const { route, query } = useLocation();
  const accounts = choices.accounts.edges.map(({ node }) => ({
    ...node,
    name: `${node.email}, ${serverName(node.acmeServer, choices.acmeServers)}`,
  }));
  const [accountId, setAccount] = useState(
    accounts.find(({ id }) => id === query["account"])?.id ?? accounts[0]?.id ?? "",
  );
  const [text, setText] = useState(() => namesIn(query["domains"] ?? "").join("\n"));
  const [options, setOptions] = useState<Options>(DEFAULTS);
  const [key] = useState(once);
  const create = useAction(CreateOrderDocument);
  const names = namesIn(text);
  const account = accounts.find(({ id }) => id === accountId);
  const refused = create.error && refusal(create.error);
  const at = (field: string) => (refused?.field === field ? refused.message : null);
  const shared = {
    options,
    at,
    onChange: (change: Partial<Options>) => setOptions((last) => ({ ...last, ...change })),
  };

  const submit = async (event: Event) => {
    event.preventDefault();
    const { fallback, profile, csr, preferredChain, solver, keyType, reuseKey } = options;
    const input = {
      accountId,
      domains: names,
      keyType,
      reuseKey,
      profile: profile || null,
      csr: csr.trim() || null,
      preferredChain: preferredChain.trim() || null,
      solver: solver || null,
      fallbackAccountIds: fallback ? [fallback] : null,
    };
    const created = await create.run({ input: { ...input, idempotencyKey: key.of(input) } });
    if (created) route(`/acme/orders/${created.createOrder.id}`);
  };
  const choose = (id: string) => {
    setAccount(id);
    // Profiles are the CA's own, and no account falls back on itself.
    shared.onChange({ profile: "", fallback: "" });
  };

  const type = (typed: string) => {
    setText(typed);
    create.reset();
  };

  return (
    <form class="narrow" onSubmit={submit} noValidate>
      <Panel title="Names">
        <fieldset>
          <legend class="unseen">Names</legend>
          <NamesField text={text} onText={type} names={names} error={at("domains")} />
        </fieldset>
      </Panel>
      <Panel title="Certificate">
        <fieldset>
          <legend class="unseen">Certificate</legend>
          <Field label="Account" error={at("accountId")}>
            {(tied) => (
              <select {...tied} value={accountId} onChange={(event) => choose(event.currentTarget.value)}>
                {accounts.map(({ id, name }) => (
                  <option key={id} value={id}>
                    {name}
                  </option>
                ))}
              </select>
            )}
          </Field>
          {account && <ProfileChoice server={account.acmeServer} {...shared} />}
          <KeyChoice {...shared} />
        </fieldset>
      </Panel>
      <details class="panel advanced" open={ADVANCED.some((field) => at(field)) || undefined}>
        <summary>Advanced</summary>
        <fieldset class="panel-body">
          <legend class="unseen">Advanced</legend>
          <Advanced
            {...shared}
            providers={choices.challengeProviders}
            others={accounts.filter(({ id }) => id !== accountId)}
          />
        </fieldset>
      </details>
      {create.error && !FIELDS.includes(refused?.field ?? "") && <Failure error={create.error} />}
      <div class="actions">
        <button type="submit" class="button primary" disabled={create.isBusy}>
          {create.isBusy ? "Ordering…" : "Order the certificate"}
        </button>
        <a class="button" href="/acme/orders">
          Cancel
        </a>
      </div>
    </form>
  );
}
