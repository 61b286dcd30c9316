import type { ComponentChildren } from "preact";

interface Props {
  /** From a CA: anything may stand there, such as a script. */
  href: string;
  children: ComponentChildren;
}

/** A link that leads away, in a tab of its own; what is no web address is only shown. */
export function Outside({ href, children }: Props) {
  if (!/^https?:\/\//i.test(href)) {
    return (
      <>
        {children} <span class="mono name">({href})</span>
      </>
    );
  }
  return (
    <a href={href} target="_blank" rel="noreferrer">
      {children}
    </a>
  );
}
