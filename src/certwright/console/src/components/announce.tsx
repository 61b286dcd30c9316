import { type ComponentChildren, createContext } from "preact";
import { useCallback, useContext, useState } from "preact/hooks";

const AnnounceContext = createContext<(text: string) => void>(() => undefined);

/** What changes by itself is said to those who do not see it. */
export function Announcer({ children }: { children: ComponentChildren }) {
  const [said, setSaid] = useState<{ text: string; number: number }>({ text: "", number: 0 });
  const announce = useCallback((text: string) => setSaid((last) => ({ text, number: last.number + 1 })), []);
  return (
    <AnnounceContext.Provider value={announce}>
      {children}
      <div class="unseen" role="status" aria-live="polite">
        <span key={said.number}>{said.text}</span>
      </div>
    </AnnounceContext.Provider>
  );
}

export function useAnnounce(): (text: string) => void {
  return useContext(AnnounceContext);
}
