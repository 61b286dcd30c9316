import { useLocation } from "preact-iso";
import { useState } from "preact/hooks";

const PATH = "/acme/audit";

/** All records about one account, order, certificate or provider: asked of the server, so that an address holds it. */
export function SubjectChoice({ subject }: { subject: string }) {
  const { route } = useLocation();
  const [id, setId] = useState(subject);
  const submit = (event: Event) => {
    event.preventDefault();
    const wanted = id.trim();
    route(wanted ? `${PATH}?${new URLSearchParams({ subject: wanted }).toString()}` : PATH);
  };
  return (
    <form class="search" role="search" onSubmit={submit}>
      <input
        type="search"
        aria-label="Only about the id"
        placeholder="Id of an order, account, certificate…"
        spellcheck={false}
        value={id}
        onInput={(event) => setId(event.currentTarget.value)}
      />
      <button type="submit" class="button">
        Find
      </button>
      {subject && (
        <a class="button" href={PATH} onClick={() => setId("")}>
          Show all
        </a>
      )}
    </form>
  );
}
