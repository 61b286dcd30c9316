// The audit trail: live, filtered, of one subject, with what a hostile CA says in it; to be gone through by pages.
import assert from "node:assert/strict";

export default async function ({ page, given, tell, signIn, axe }) {
  await page.goto("/acme/audit");
  await signIn(given.token);
  const records = page.getByRole("list", { name: "Audit records" }).locator("> li");
  await records.first().waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  await page.waitForTimeout(2000); // Until the second look is over: from then on what comes is live.
  await tell("watching");
  const hostile = records.filter({ hasText: "Account refused" });
  await hostile.waitFor();
  await page
    .locator("[aria-live=polite]")
    .getByText(/Account refused by/)
    .waitFor({ state: "attached" });

  await hostile.locator("summary").focus();
  await page.keyboard.press("Enter");
  await hostile.getByText("Hash before").waitFor();
  assert.match(await hostile.innerText(), /<img src=x onerror=alert\(1\)>/);
  assert.equal(await page.locator("main img").count(), 0);
  assert.deepEqual(await axe(), []);

  const all = await records.count();
  await page.getByLabel("Outcome").selectOption("Failed");
  assert.ok((await records.count()) < all);
  assert.equal(await records.getByText("Succeeded", { exact: true }).count(), 0);
  await page.getByLabel("Outcome").selectOption("Any");
  await page.getByLabel("Filter what is shown").fill("no such text");
  await page.getByText("Nothing of what is loaded fits.").waitFor();
  await page.getByLabel("Filter what is shown").fill("");

  await page.getByRole("link", { name: "Older" }).click();
  await page.getByRole("heading", { name: "Older records" }).waitFor();
  await page.goBack();
  await page.getByRole("heading", { name: "Newest first" }).waitFor();

  await page.getByRole("searchbox").fill(given.account);
  await page.keyboard.press("Enter");
  await records.getByText("Account created").waitFor();
  await page.waitForFunction((count) => document.querySelectorAll(".trail > li").length === count, given.records);
  await page.getByText(`${given.records} records`).waitFor();
}
