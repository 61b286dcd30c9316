// Pages of the list are addresses, which keep what was chosen; on a phone, in the dark.
import assert from "node:assert/strict";

export default async function ({ given, another, signIn, axe }) {
  const page = await another({ colorScheme: "dark", viewport: { width: 390, height: 844 } });
  await page.goto(`/acme/orders?account=${given.account}`);
  await signIn(given.token, page);
  await page.getByRole("link", { name: "n26.example" }).waitFor();
  await page.getByRole("link", { name: "Older" }).click();
  await page.getByRole("link", { name: "n1.example" }).waitFor();
  assert.equal(await page.locator("tbody tr").count(), 2);
  assert.match(page.url(), /account=.*after=/);
  assert.deepEqual(await axe(page), []);
  await page.getByRole("link", { name: "Newest" }).click();
  await page.getByRole("link", { name: "n26.example" }).waitFor();
  assert.equal(new URL(page.url()).search, `?account=${given.account}`);
  await page.getByRole("link", { name: "n26.example" }).click();
  await page.getByRole("link", { name: "See what to publish" }).click();
  await page.getByText("_acme-challenge.n26.example").waitFor();
  assert.deepEqual(await axe(page), []);
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
}
