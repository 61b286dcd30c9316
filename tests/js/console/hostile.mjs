// A CA whose directory and problems are hostile, and that goes down: nothing of it runs, and the account waits for it.
import assert from "node:assert/strict";

export default async function ({ page, given, tell, signIn }) {
  await page.goto("/acme/accounts/create");
  await signIn(given.token);
  await page.getByText("javascript:alert(1)").waitFor();
  assert.equal(await page.locator('a[href^="javascript:"]').count(), 0);
  await page.getByLabel("E-mail").fill("a@example.com");
  await page.getByLabel(/I have read and agree/).check();
  await page.getByRole("button", { name: "Create the account" }).click();
  await page.getByText("<img src=x onerror=alert(1)>").first().waitFor();
  assert.equal(await page.locator("main img").count(), 0);

  await tell("refused");
  await page.getByRole("button", { name: "Create the account" }).click();
  await page.getByText("The CA has not confirmed it yet").waitFor();
  await page.getByText("Pending", { exact: true }).waitFor();
}
