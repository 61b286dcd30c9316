import type { ComponentChildren } from "preact";

export interface Column<R> {
  name: string;
  cell: (row: R) => ComponentChildren;
  /** Numbers and times stand at the end of their cells. */
  isEnd?: boolean;
}

interface Props<R> {
  /** What the table shows, for those who do not see where it stands. */
  caption: string;
  columns: Column<R>[];
  rows: readonly R[];
  id: (row: R) => string;
  /** What stands there when there are no rows. */
  empty: ComponentChildren;
}

/** On a phone each row is a card, with its columns' names before its values. */
export function Table<R>({ caption, columns, rows, id, empty }: Props<R>) {
  if (rows.length === 0) return <div class="empty">{empty}</div>;
  return (
    <div class="table">
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {columns.map(({ name, isEnd }) => (
              <th key={name} scope="col" class={isEnd ? "end" : ""}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={id(row)}>
              {columns.map(({ name, cell, isEnd }) => (
                <td key={name} data-name={name} class={isEnd ? "end" : ""}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

interface PagerProps {
  /** The list's own path. */
  path: string;
  /** Cursor of the page that is shown; none for the first. */
  after: string | undefined;
  next: string | null | undefined;
  /** Other parameters of the address, to be kept. */
  keep?: Record<string, string>;
}

/** Pages are addresses: the browser's own back and forward go through them. */
export function Pager({ path, after, next, keep = {} }: PagerProps) {
  if (!after && !next) return null;
  const kept = new URLSearchParams(keep).toString();
  return (
    <nav class="pager" aria-label="Pages">
      {after && <a href={kept ? `${path}?${kept}` : path}>Newest</a>}
      {next && (
        <a rel="next" href={`${path}?${new URLSearchParams({ ...keep, after: next }).toString()}`}>
          Older
        </a>
      )}
    </nav>
  );
}
