/** Asking, listening and doing, as hooks. */
import type { AnyVariables, CombinedError, TypedDocumentNode } from "@urql/core";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { useApi } from "./client";

/** The server does not say when a subscription has begun; what changed until then, and is told by nobody, these see. */
const LOOKS_MS = [300, 1500, 5000];
const CALM_MS = 150;

export interface Answer<D> {
  data: D | undefined;
  error: CombinedError | undefined;
  /** Ask again, soon; many calls in a short time are one. What is shown stays until the answer is there. */
  refetch: () => void;
  /** Change what is shown, such as by what an event brought. */
  update: (change: (data: D) => D) => void;
}

/**
 * Asks at once, when the variables change, and whenever the socket is there anew or a page begins to listen: what
 * happened meanwhile is seen. `isLasting`: the answer does not change, and is not asked for again.
 */
export function useQuery<D, V extends AnyVariables>(
  query: TypedDocumentNode<D, V>,
  variables: V,
  isLasting = false,
): Answer<D> {
  const { client } = useApi();
  const key = JSON.stringify(variables);
  const [answer, setAnswer] = useState<{ key: string; data?: D | undefined; error?: CombinedError | undefined }>({ key });
  const [round, setRound] = useState(0);
  const asked = useRef({ isOpen: false, isOutdated: false });
  const ask = useCallback(() => {
    // Another question now would be given the open one's answer, which may be older than what this one is about.
    if (asked.current.isOpen) asked.current.isOutdated = true;
    else setRound((n) => n + 1);
  }, []);
  const refetch = useCalm(ask);

  useEffect(() => {
    const mine = { isOpen: true, isOutdated: false };
    asked.current = mine;
    void client
      .query(query, variables)
      .toPromise()
      .then(({ data, error }) => {
        if (!mine.isOpen) return;
        mine.isOpen = false;
        setAnswer((last) => ({ key, data: data ?? (last.key === key ? last.data : undefined), error }));
        if (mine.isOutdated) refetch();
      });
    return () => {
      mine.isOpen = false;
    };
  }, [client, query, key, round]);
  useLooks(isLasting && answer.data ? null : refetch);

  const update = useCallback((change: (data: D) => D) => {
    asked.current.isOutdated = true;
    setAnswer((last) => (last.data ? { ...last, data: change(last.data) } : last));
  }, []);
  const current = answer.key === key ? answer : undefined;
  return { data: current?.data, error: current?.error, refetch, update };
}

/** Looks again when the socket is there anew, and shortly after a page has begun to listen. */
function useLooks(refetch: (() => void) | null): void {
  const { liveness, listeners } = useApi();
  useEffect(() => {
    if (!refetch) return undefined;
    let looks: number[] = [];
    const stop = () => looks.forEach(clearTimeout);
    const look = () => {
      stop();
      looks = LOOKS_MS.map((pause) => window.setTimeout(refetch, pause));
    };
    const ends = [liveness.watch((state) => state === "live" && look()), listeners.watch(look), stop];
    return () => ends.forEach((end) => end());
  }, [liveness, listeners, refetch]);
}

/**
 * Calls `take` with every event of a subscription, for as long as the component is there. `null` variables: not now.
 * To stand behind the `useQuery` whose answer it keeps true: that one hears of its beginning then.
 */
export function useEvents<D, V extends AnyVariables>(
  subscription: TypedDocumentNode<D, V>,
  variables: V | null,
  take: (event: D) => void,
): void {
  const { client, listeners } = useApi();
  const latest = useRef(take);
  latest.current = take;
  const key = JSON.stringify(variables);
  useEffect(() => {
    if (!variables) return undefined;
    const { unsubscribe } = client.subscription(subscription, variables).subscribe(({ data }) => {
      if (data) latest.current(data);
    });
    listeners.set(listeners.get() + 1);
    return unsubscribe;
  }, [client, listeners, subscription, key]);
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
