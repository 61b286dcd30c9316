import { useEffect, useState } from "preact/hooks";

/** A value that can be watched. */
export interface Signal<T> {
  get(): T;
  set(value: T): void;
  /** Calls `watcher` with every later value; returns what ends that. */
  watch(watcher: (value: T) => void): () => void;
}

export function signal<T>(initial: T): Signal<T> {
  const watchers = new Set<(value: T) => void>();
  let current = initial;
  return {
    get: () => current,
    set(value) {
      current = value;
      for (const watcher of [...watchers]) watcher(value);
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
  };
}

export function useSignal<T>(watched: Signal<T>): T {
  const [value, setValue] = useState({ now: watched.get() });
  useEffect(() => {
    setValue({ now: watched.get() });
    return watched.watch((now) => setValue({ now }));
  }, [watched]);
  return value.now;
}
