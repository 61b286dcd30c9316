/** What the pages of orders share: names and their proofs. */
import type { OrderStatus, ProofPartsFragment } from "../gql/graphql";

export type Proof = ProofPartsFragment;

/** All ways to prove one name, of which one is enough. */
export interface Name {
  name: string;
  proofs: Proof[];
  /** The one that counts: the best answered one, if any was. */
  told: Proof | undefined;
  status: Proof["status"];
}

interface Answered {
  /** The provider that answers all challenges, or `manual`. */
  solver?: string | null;
  presentations: readonly { challengeId: string }[];
}

export const MANUAL = "manual";
const RANK: Record<Proof["status"], number> = { VALID: 3, PROCESSING: 2, INVALID: 1, PENDING: 0 };
const FINAL: OrderStatus[] = ["VALID", "INVALID"];

export function isOpen(status: OrderStatus): boolean {
  return !FINAL.includes(status);
}

export function fullName({ identifier, wildcard }: { identifier: string; wildcard: boolean }): string {
  return wildcard ? `*.${identifier}` : identifier;
}

/** Challenges by their names, as `domains` has them: a CA gives them in any order. */
export function namesOf(challenges: readonly Proof[], domains: readonly string[]): Name[] {
  const byName = new Map<string, Proof[]>();
  for (const proof of challenges) {
    const name = fullName(proof);
    byName.set(name, [...(byName.get(name) ?? []), proof]);
  }
  const place = new Map(domains.map((name, index) => [name, index]));
  const sorted = [...byName].sort(([a], [b]) => (place.get(a) ?? Infinity) - (place.get(b) ?? Infinity));
  return sorted.map(([name, proofs]) => {
    const best = proofs.reduce((a, b) => (RANK[b.status] > RANK[a.status] ? b : a));
    return { name, proofs, told: best.status === "PENDING" ? undefined : best, status: best.status };
  });
}

/** Whether Certwright responds itself, by a provider. */
export function isAutomatic({ proofs }: Name, order: Answered): boolean {
  if (order.solver && order.solver !== MANUAL) return true;
  return proofs.some(({ id, solver }) => solver || order.presentations.some(({ challengeId }) => challengeId === id));
}

export function provedOf(names: readonly Name[]): number {
  return names.filter(({ status }) => status === "VALID").length;
}
