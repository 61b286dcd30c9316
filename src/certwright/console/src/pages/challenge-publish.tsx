import { Copy } from "../components/copy";
import { Outside } from "../components/outside";
import { Save } from "../components/save";
import type { Preparation } from "./challenge-data";

/** What to put where. */
export function Publish({ preparation }: { preparation: Preparation }) {
  if (preparation.__typename === "DnsRecord") {
    const { name, type, value, ttl } = preparation;
    return (
      <>
        <p>Publish this record in the DNS. Other values of the same name stay as they are.</p>
        <dl class="publish">
          <Line name="Name" value={name} what={`the name ${name}`} />
          <Line name="Type" value={`${type}, TTL ${ttl} s or the least allowed`} />
          <Line name="Value" value={value} what={`the value of ${name}`} />
        </dl>
      </>
    );
  }
  const { url, path, content } = preparation;
  return (
    <>
      <p>Serve a file with exactly this content, by plain HTTP at port 80. Redirects are followed.</p>
      <dl class="publish">
        <Line name="URL" value={url} what={`the URL ${url}`} href={url} />
        <Line name="Path" value={path} what={`the path of ${url}`} />
        <Line
          name="Content"
          value={content}
          what={`the content of ${url}`}
          file={path.slice(path.lastIndexOf("/") + 1)}
        />
      </dl>
    </>
  );
}

interface LineProps {
  name: string;
  value: string;
  /** What is copied, where copying is of use. */
  what?: string;
  href?: string;
  /** What the value is called as a file, where it is one. */
  file?: string;
}

function Line({ name, value, what, href, file }: LineProps) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <span class="mono name">{href ? <Outside href={href}>{value}</Outside> : value}</span>
        {(what || file) && (
          <span class="actions">
            {what && <Copy text={value} what={what} />}
            {file && <Save text={value} file={file} what={what ?? name} />}
          </span>
        )}
      </dd>
    </div>
  );
}

/** All records as lines of a zone file, all files as pairs of URL and content. */
export function asText(preparations: readonly Preparation[]): string {
  const lines = preparations.map((of) =>
    of.__typename === "DnsRecord" ? `${of.name}. ${of.ttl} IN ${of.type} "${of.value}"` : `${of.url} ${of.content}`,
  );
  return `${lines.join("\n")}\n`;
}
