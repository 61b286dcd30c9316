import { Page } from "../components/page";

export function NotFound({ what = "page" }: { what?: string }) {
  return (
    <Page title={`There is no such ${what}`}>
      <p>
        The address may be mistyped, or belong to another tenant. <a href="/acme">Go to the dashboard</a>.
      </p>
    </Page>
  );
}
