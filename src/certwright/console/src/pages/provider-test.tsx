import { useState } from "preact/hooks";
import { TextField } from "../components/field";
import { Failure, Note } from "../components/note";
import { Panel } from "../components/panel";
import { Table } from "../components/table";
import { refusal } from "../errors";
import { TestProviderDocument, type TestProviderMutation } from "../gql/graphql";
import { useAction } from "../query";

type Trial = TestProviderMutation["testChallengeProvider"];

/** Presents a random value, looks for it, and cleans up: before an order depends on it. */
export function ProviderTest({ id, zones }: { id: string; zones: readonly string[] }) {
  const [name, setName] = useState(zones[0] ?? "");
  const [trial, setTrial] = useState<Trial | null>(null);
  const test = useAction(TestProviderDocument);
  const refused = test.error && refusal(test.error);
  const submit = async (event: Event) => {
    event.preventDefault();
    setTrial(null);
    const found = await test.run({ id, name: name.trim() });
    if (found) setTrial(found.testChallengeProvider);
  };
  const isField = refused?.field === "name" || refused?.field === "domains";
  return (
    <Panel title="Test">
      <form onSubmit={submit} noValidate>
        <TextField
          label="A name in its zones"
          hint="A random value is put where a challenge for it would be, looked for at each name server, and removed."
          name="name"
          value={name}
          onValue={setName}
          error={isField ? refused.message : null}
        />
        {test.error && !isField && <Failure error={test.error} />}
        <div class="actions">
          <button type="submit" class="button" disabled={test.isBusy}>
            {test.isBusy ? "Testing, for up to 15 seconds…" : "Test"}
          </button>
        </div>
      </form>
      <div role="status">{trial && <Result of={trial} />}</div>
    </Panel>
  );
}

function Result({ of: { record, visible, servers } }: { of: Trial }) {
  return (
    <div class="stack">
      <Note tone={visible ? "good" : "warn"} title={visible ? "It works" : "Not every name server had it in time"}>
        <p>
          The record was <span class="mono name">{record}</span>.
          {!visible && " It may still get there: servers may be slow."}
        </p>
      </Note>
      <Table
        caption="Name servers"
        rows={servers}
        id={({ name, address }) => `${name} ${address}`}
        empty="No name server of the zone was found."
        columns={[
          { name: "Name server", cell: (server) => <span class="name">{server.name || server.address}</span> },
          {
            name: "Answer",
            cell: ({ agrees, answered, answer }) =>
              agrees ? "Has it" : answered ? (answer ?? "Does not have it") : "None",
          },
        ]}
      />
    </div>
  );
}
