import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

interface Props {
  title: string;
  /** A line below the title. */
  lead?: ComponentChildren;
  /** Where the page stands: links to what is above it. */
  above?: { href: string; name: string }[];
  actions?: ComponentChildren;
  children: ComponentChildren;
}

let isFirst = true;

/** A page: its title names the window, and has the focus when the page is come to. */
export function Page({ title, lead, above = [], actions, children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Certwright`;
  }, [title]);
  useEffect(() => {
    if (!isFirst) heading.current?.focus();
    isFirst = false;
  }, []);
  return (
    <div class="page">
      <header class="page-head">
        <div>
          {above.length > 0 && (
            <nav class="above" aria-label="Breadcrumb">
              {above.map(({ href, name }) => (
                <a key={href} href={href}>
                  {name}
                </a>
              ))}
            </nav>
          )}
          <h1 tabIndex={-1} ref={heading}>
            {title}
          </h1>
          {lead && <p class="lead">{lead}</p>}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}
