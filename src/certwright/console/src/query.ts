/** Asking, listening and doing, as hooks. */
import type { AnyVariables, CombinedError, TypedDocumentNode } from "@urql/core";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useApi } from "./client";

/** The server does not say when a subscription has begun; what changed meanwhile is seen by a second look. */
const SECOND_LOOK_MS = 1500;
const CALM_MS = 150;

export interface Answer<D> {
  data: D | undefined;
  error: CombinedError | undefined;
  /** Ask again, soon; many calls in a short time are one. What is shown stays until the answer is there. */
  refetch: () => void;
  /** Change what is shown, such as by what an event brought. */
  update: (change: (data: D) => D) => void;
}

/** Asks at once, when the variables change, and whenever the socket is there anew: what happened without it is seen. */
export function useQuery<D, V extends AnyVariables>(query: TypedDocumentNode<D, V>, variables: V): Answer<D> {
  const { client, liveness } = useApi();
  const key = JSON.stringify(variables);
  const [answer, setAnswer] = useState<{ key: string; data?: D | undefined; error?: CombinedError | undefined }>({ key });
  const [round, setRound] = useState(0);
  const refetch = useCalm(useCallback(() => setRound((n) => n + 1), []));

  useEffect(() => {
    let isWanted = true;
    void client
      .query(query, variables)
      .toPromise()
      .then(({ data, error }) => {
        if (isWanted) setAnswer((last) => ({ key, data: data ?? (last.key === key ? last.data : undefined), error }));
      });
    return () => {
      isWanted = false;
    };
  }, [client, query, key, round]);

  useEffect(() => {
    let second: number | undefined;
    const stop = liveness.watch((state) => {
      clearTimeout(second);
      if (state === "live") {
        refetch();
        second = window.setTimeout(refetch, SECOND_LOOK_MS);
      }
    });
    return () => {
      stop();
      clearTimeout(second);
    };
  }, [liveness, refetch]);

  const update = useCallback(
    (change: (data: D) => D) => setAnswer((last) => (last.data ? { ...last, data: change(last.data) } : last)),
    [],
  );
  const current = answer.key === key ? answer : undefined;
  return { data: current?.data, error: current?.error, refetch, update };
}

/** Calls `take` with every event of a subscription, for as long as the component is there. `null` variables: not now. */
export function useEvents<D, V extends AnyVariables>(
  subscription: TypedDocumentNode<D, V>,
  variables: V | null,
  take: (event: D) => void,
): void {
  const { client } = useApi();
  const latest = useRef(take);
  latest.current = take;
  const key = JSON.stringify(variables);
  useEffect(() => {
    if (!variables) return undefined;
    const { unsubscribe } = client.subscription(subscription, variables).subscribe(({ data }) => {
      if (data) latest.current(data);
    });
    return unsubscribe;
  }, [client, subscription, key]);
}

export interface Action<D, V> {
  isBusy: boolean;
  error: CombinedError | undefined;
  /** The mutation's data, or nothing where it was refused: `error` has the reason then. */
  run: (variables: V) => Promise<D | undefined>;
  reset: () => void;
}

export function useAction<D, V extends AnyVariables>(mutation: TypedDocumentNode<D, V>): Action<D, V> {
  const { client } = useApi();
  const [state, setState] = useState<{ isBusy: boolean; error?: CombinedError | undefined }>({ isBusy: false });
  const run = useCallback(
    async (variables: V) => {
      setState({ isBusy: true });
      const { data, error } = await client.mutation(mutation, variables).toPromise();
      setState({ isBusy: false, error });
      return error ? undefined : data;
    },
    [client, mutation],
  );
  const reset = useCallback(() => setState({ isBusy: false }), []);
  return { isBusy: state.isBusy, error: state.error, run, reset };
}

function useCalm(act: () => void): () => void {
  const waiting = useRef<number | undefined>(undefined);
  useEffect(() => () => clearTimeout(waiting.current), []);
  return useCallback(() => {
    waiting.current ??= window.setTimeout(() => {
      waiting.current = undefined;
      act();
    }, CALM_MS);
  }, [act]);
}
