// Names that a provider answers are shown as such, with what each name server has.
import assert from "node:assert/strict";

export default async function ({ page, given, tell, signIn, axe }) {
  await page.goto(`/acme/orders/${given.order}`);
  await signIn(given.token);
  const published = page.getByRole("region", { name: "Published by Certwright" });
  await published.getByText("Published, not seen yet").waitFor();
  await published.getByText("0 of 1 name servers have it").click();
  await published.getByText("Not yet").waitFor();
  await page.getByText("Nothing is to be done: it goes on by itself.").waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByRole("link", { name: "All challenges" }).click();
  await page.getByText("Certwright answers this one itself: nothing is to be done.").waitFor();
  assert.equal(await page.getByRole("button", { name: /let the CA look/ }).count(), 0);
  assert.deepEqual(await axe(), []);

  await tell("watching");
  await page.getByText("Proved, and issued").waitFor({ timeout: 60_000 });
}
