import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface Props {
  title: string;
  /** How much it calls for attention. */
  tone?: "plain" | "warn" | "bad";
  actions?: ComponentChildren;
  children: ComponentChildren;
}

/** A titled part of a page. */
export function Panel({ title, tone = "plain", actions, children }: Props) {
  const id = useId();
  return (
    <section class={`panel panel-${tone}`} aria-labelledby={id}>
      <header class="panel-head">
        <h2 id={id}>{title}</h2>
        {actions && <div class="actions">{actions}</div>}
      </header>
      <div class="panel-body">{children}</div>
    </section>
  );
}

/** Names and values, one below another. */
export function Facts({ facts }: { facts: (readonly [string, ComponentChildren] | false | null)[] }) {
  return (
    <dl class="facts">
      {facts.map(
        (fact) =>
          fact && (
            <div key={fact[0]}>
              <dt>{fact[0]}</dt>
              <dd>{fact[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}
