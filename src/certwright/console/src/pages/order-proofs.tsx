import { Panel } from "../components/panel";
import { Status } from "../components/status";
import { Table } from "../components/table";
import { type Name, provedOf } from "./order-parts";

interface Props {
  names: readonly Name[];
  /** Names of the providers that respond, by challenge. */
  providers: ReadonlyMap<string, string>;
  href: string;
}

/** Each name, and how far its proof has come. */
export function Proofs({ names, providers, href }: Props) {
  if (names.length === 0) return null;
  return (
    <Panel title="Proof of the names" actions={<a href={href}>All challenges</a>}>
      <ProofCount names={names} />
      <Table
        caption="Names of the order"
        rows={names}
        id={({ name }) => name}
        empty=""
        columns={[
          { name: "Name", cell: ({ name }) => <span class="name">{name}</span> },
          { name: "Proved by", cell: (name) => by(name, providers) },
          { name: "Challenge", cell: ({ status }) => <Status of={status} /> },
        ]}
      />
    </Panel>
  );
}

export function ProofCount({ names }: { names: readonly Name[] }) {
  const proved = provedOf(names);
  return (
    <p class="proof-count">
      <progress max={names.length} value={proved} aria-label="Names proved" />
      <span>
        {proved} of {names.length} {names.length === 1 ? "name" : "names"} proved
      </span>
    </p>
  );
}

function by({ proofs, told }: Name, providers: ReadonlyMap<string, string>): string {
  const automatic = proofs.find(({ id, solver }) => solver || providers.has(id));
  if (automatic) return `${automatic.type}, ${providers.get(automatic.id) ?? "by Certwright"}`;
  return told ? told.type : "Not begun";
}
