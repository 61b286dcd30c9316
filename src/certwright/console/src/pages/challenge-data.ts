/** What the challenge page knows, and how it comes to know it. */
import type { CombinedError } from "@urql/core";
import { useEffect, useRef, useState } from "preact/hooks";
import { useApi } from "../client";
import {
  type OrderChallengesQuery,
  type PreparationPartsFragment,
  PreparationsDocument,
  RespondChallengeDocument,
} from "../gql/graphql";
import { type Name, namesOf, type Proof } from "./order-parts";

export type Preparation = PreparationPartsFragment;
export type Preparations = ReadonlyMap<string, Preparation>;
export type ChallengeOrder = NonNullable<OrderChallengesQuery["order"]>;

const SETTLED_MS = 600;

interface Known {
  preparations: Preparations;
  error?: CombinedError | undefined;
}

/**
 * What to publish for each challenge. To be shown it is a viewing, which is written down: it is asked for once, and
 * again only for challenges that are new, as of an order that goes on at another CA.
 */
export function usePreparations(
  order: ChallengeOrder | null | undefined,
  onAnswer: () => void,
): Known & { retry: () => void } {
  const { client } = useApi();
  const [known, setKnown] = useState<Known>({ preparations: new Map() });
  const [round, setRound] = useState(0);
  const answered = useRef(onAnswer);
  answered.current = onAnswer;
  const isWorthIt = order?.status === "PENDING" || order?.status === "INVALID";
  const wanted = isWorthIt ? order.challenges.map(({ id }) => id).join() : "";
  const orderId = order?.id;
  // Large orders come to know their challenges bit by bit.
  const isWhole = order ? namesOf(order.challenges, order.domains).length >= order.domains.length : false;
  useEffect(() => {
    if (!wanted || !orderId) return undefined;
    let isWanted = true;
    const ask = async () => {
      const { data, error } = await client.query(PreparationsDocument, { orderId }).toPromise();
      if (!isWanted) return;
      const found = data?.challenges.flatMap(({ id, preparation }) =>
        preparation ? [[id, preparation] as const] : [],
      );
      setKnown((last) => ({ preparations: found ? new Map(found) : last.preparations, error }));
      answered.current();
    };
    const timer = setTimeout(ask, isWhole ? 0 : SETTLED_MS);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [client, orderId, wanted, round]);
  return { ...known, retry: () => setRound((n) => n + 1) };
}

/** What was asked to be said to the CA, by challenge: nothing yet, on its way, or why not. */
export type Told = ReadonlyMap<string, "busy" | "done" | CombinedError>;

const AT_ONCE = 4;

/** Tells the CA to look, for one challenge or many: a few at a time. */
export function useRespond(onProof: (proof: Proof) => void): {
  told: Told;
  respond: (ids: readonly string[]) => Promise<void>;
} {
  const { client } = useApi();
  const [told, setTold] = useState<Told>(new Map());
  const note = (id: string, state: "busy" | "done" | CombinedError) => setTold((last) => new Map(last).set(id, state));
  const one = async (id: string) => {
    note(id, "busy");
    const { data, error } = await client.mutation(RespondChallengeDocument, { id }).toPromise();
    note(id, error ?? "done");
    if (data) onProof(data.respondChallenge);
  };
  const respond = async (ids: readonly string[]) => {
    const waiting = [...ids];
    const work = async () => {
      for (let id = waiting.shift(); id; id = waiting.shift()) await one(id);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  };
  return { told, respond };
}

/** The challenge of a name that is shown: the one that counts already, else one of the chosen type. */
export function shown({ proofs, told }: Name, type: string, preparations: Preparations): Proof | undefined {
  return (
    told ??
    proofs.find((proof) => proof.type === type && preparations.has(proof.id)) ??
    proofs.find(({ id }) => preparations.has(id))
  );
}

/** Types of challenges that somebody can be told how to prepare. */
export function typesOf(names: readonly Name[], preparations: Preparations): string[] {
  const types = new Set(
    names.flatMap(({ proofs }) => proofs.filter(({ id }) => preparations.has(id)).map(({ type }) => type)),
  );
  // Those of the DNS first: they do for wildcards and for servers that nobody can reach from outside.
  return [...types].sort((a, b) => Number(b.startsWith("dns")) - Number(a.startsWith("dns")) || a.localeCompare(b));
}
