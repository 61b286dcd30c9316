import { useLocation } from "preact-iso";
import { useState } from "preact/hooks";
import { useAnnounce } from "../components/announce";
import { Confirm } from "../components/confirm";
import { Loading } from "../components/loading";
import { Failure, Note } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import {
  DeleteProviderDocument,
  ProviderDocument,
  type ProviderPartsFragment,
  UpdateProviderDocument,
} from "../gql/graphql";
import { useAction, useQuery } from "../query";
import { useMay } from "../viewer";
import { NotFound } from "./not-found";
import { type Given, type Kind, ProviderForm } from "./provider-form";
import { ProviderTest } from "./provider-test";

const ABOVE = [{ href: "/acme/providers", name: "Providers" }];

export function ProviderPage({ id }: { id: string }) {
  const { data, error, refetch } = useQuery(ProviderDocument, { id });
  const mayChange = useMay("ADMIN");
  if (!data) return error ? <Failure error={error} retry={refetch} /> : <Loading />;
  const provider = data.challengeProvider;
  if (!provider) return <NotFound what="challenge provider" />;
  const kind = data.challengeProviderKinds.find(({ name }) => name === provider.kind);
  return (
    <Page
      title={provider.name}
      lead={kind?.title ?? provider.kind}
      above={ABOVE}
      actions={mayChange && <Delete provider={provider} />}
    >
      <div class="narrow stack">
        {!kind && (
          <Note tone="warn">
            This server does not know the kind {provider.kind} any more: nothing is answered by it.
          </Note>
        )}
        {!mayChange && <Note tone="info">Administrators test and change providers.</Note>}
        {kind && mayChange && kind.challengeType === "dns-01" && <ProviderTest id={id} zones={provider.zones} />}
        {kind && mayChange && <Settings key={provider.updatedAt} provider={provider} kind={kind} onChange={refetch} />}
      </div>
    </Page>
  );
}

function Settings({ provider, kind, onChange }: { provider: ProviderPartsFragment; kind: Kind; onChange: () => void }) {
  const announce = useAnnounce();
  const update = useAction(UpdateProviderDocument);
  const submit = async (given: Given) => {
    if (await update.run({ input: { ...given, id: provider.id } })) {
      announce("The provider was changed");
      onChange();
    }
  };
  return (
    <Panel title="Settings">
      <ProviderForm
        kind={kind}
        known={provider}
        verb="Save"
        isBusy={update.isBusy}
        error={update.error}
        onSubmit={submit}
      />
    </Panel>
  );
}

function Delete({ provider: { id, name } }: { provider: ProviderPartsFragment }) {
  const { route } = useLocation();
  const [isAsking, setAsking] = useState(false);
  const remove = useAction(DeleteProviderDocument);
  const run = async () => {
    if (await remove.run({ id })) route("/acme/providers");
  };
  return (
    <>
      <button type="button" class="button danger" onClick={() => setAsking(true)}>
        Delete
      </button>
      {isAsking && (
        <Confirm
          title={`Delete ${name}?`}
          verb="Delete it"
          isBusy={remove.isBusy}
          onConfirm={run}
          onClose={() => setAsking(false)}
        >
          <p>Renewals of names in its zones wait for somebody to answer their challenges from then on.</p>
          {remove.error && <Failure error={remove.error} />}
        </Confirm>
      )}
    </>
  );
}
