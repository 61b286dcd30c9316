// A picture of each page of `given.pages` in light colours, or as `given.looks` says: {"dark": {"colorScheme": "dark"}}.
import { join } from "node:path";

const LOOKS = { "": { colorScheme: "light" } };

export default async function ({ given, signIn, another }) {
  for (const [look, options] of Object.entries(given.looks ?? LOOKS)) {
    const page = await another({ viewport: { width: 1120, height: 680 }, ...options });
    for (const [name, path] of Object.entries(given.pages)) {
      await page.goto(path || "/acme");
      if (path) await settle(page, signIn, given.token);
      else await page.getByLabel("API token").waitFor();
      await page.screenshot({
        path: join(given.directory, `${name}${look && `-${look}`}.png`),
        fullPage: Boolean(given.looks),
      });
    }
  }
}

/** Signs in where that is needed, and waits until the page has its data and its live connection. */
async function settle(page, signIn, token) {
  const main = page.locator("main#content");
  await page.getByLabel("API token").or(main).first().waitFor();
  if (!(await main.isVisible())) await signIn(token, page);
  await page.getByText("Live", { exact: true }).waitFor();
  await page.locator("main h1").waitFor();
  await page.locator("main .loading").first().waitFor({ state: "detached" });
  await page.waitForTimeout(1800);
}
