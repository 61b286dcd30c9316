// Lists of very many: from page to page, and back by the browser's own way; `tell` has how long each step took.
import assert from "node:assert/strict";

const PAGES = 5;

export default async function ({ page, given, tell, signIn }) {
  await page.goto("/acme/certificates");
  await signIn(given.token);
  const took = {};
  for (const path of given.paths) {
    await page.goto(path);
    await page.locator("tbody tr").first().waitFor();
    const seen = new Set(await rows(page));
    took[path] = [];
    for (let number = 1; number <= PAGES; number++) {
      const begin = performance.now();
      const [first] = await rows(page);
      await page.getByRole("link", { name: "Older" }).click();
      await page.waitForFunction((old) => {
        const link = document.querySelector("tbody tr a");
        return link && link.getAttribute("href") !== old;
      }, first);
      took[path].push(Math.round(performance.now() - begin));
      (await rows(page)).forEach((row) => seen.add(row));
    }
    assert.equal(seen.size, (PAGES + 1) * given.size);
    for (let number = 0; number < PAGES; number++) await page.goBack();
    await page.waitForFunction(
      (first) => document.querySelector("tbody tr a")?.getAttribute("href") === first,
      [...seen][0],
    );
  }
  await tell(took);
}

function rows(page) {
  return page
    .locator("tbody tr td:first-child a")
    .evaluateAll((links) => links.map((link) => link.getAttribute("href")));
}
