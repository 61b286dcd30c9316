import { useLocation } from "preact-iso";
import { useId, useState } from "preact/hooks";
import { Loading } from "../components/loading";
import { Failure, Note } from "../components/note";
import { Page } from "../components/page";
import { Panel } from "../components/panel";
import { CreateProviderDocument, ProviderKindsDocument } from "../gql/graphql";
import { useAction, useQuery } from "../query";
import { useMay } from "../viewer";
import { type Given, type Kind, ProviderForm } from "./provider-form";

const ABOVE = [{ href: "/acme/providers", name: "Providers" }];

export function ProviderCreate() {
  const { data, error, refetch } = useQuery(ProviderKindsDocument, {});
  const mayCreate = useMay("ADMIN");
  return (
    <Page title="Add a challenge provider" lead="It answers the challenges of orders for its zones." above={ABOVE}>
      {!mayCreate && <Note tone="warn">Only administrators add providers.</Note>}
      {error && <Failure error={error} retry={refetch} />}
      {!data && !error && <Loading />}
      {data && mayCreate && <Create kinds={data.challengeProviderKinds} />}
    </Page>
  );
}

function Create({ kinds }: { kinds: readonly Kind[] }) {
  const { route } = useLocation();
  const [chosen, setChosen] = useState(kinds[0]?.name ?? "");
  const create = useAction(CreateProviderDocument);
  const kind = kinds.find(({ name }) => name === chosen);
  const submit = async (given: Given) => {
    const created = await create.run({ input: { ...given, kind: chosen } });
    if (created) route(`/acme/providers/${created.createChallengeProvider.id}`);
  };
  const choose = (name: string) => {
    setChosen(name);
    create.reset();
  };
  return (
    <div class="narrow stack">
      <Panel title="Kind">
        <KindChoice kinds={kinds} chosen={chosen} onChoose={choose} />
      </Panel>
      {kind && (
        <Panel title="Settings">
          <ProviderForm
            key={chosen}
            kind={kind}
            verb="Add the provider"
            isBusy={create.isBusy}
            error={create.error}
            onSubmit={submit}
          >
            <a class="button" href="/acme/providers">
              Cancel
            </a>
          </ProviderForm>
        </Panel>
      )}
    </div>
  );
}

function KindChoice({
  kinds,
  chosen,
  onChoose,
}: {
  kinds: readonly Kind[];
  chosen: string;
  onChoose: (name: string) => void;
}) {
  const group = useId();
  return (
    <fieldset>
      <legend class="unseen">Kind</legend>
      <div class="choices">
        {kinds.map(({ name, title, challengeType }) => (
          <label key={name} class="choice">
            <input type="radio" name={group} checked={name === chosen} onChange={() => onChoose(name)} />
            <span>
              <b>{title}</b>
              <span class="hint">answers {challengeType}</span>
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
