// An order with 100 names: pasted, checked, answered at once, by keyboard alone; and all of it turns green.
import assert from "node:assert/strict";

export default async function ({ page, given, tell, signIn, axe }) {
  const press = async (name) => {
    await page.getByRole("button", { name }).focus();
    await page.keyboard.press("Enter");
  };
  await page.goto(`/acme/orders/create?account=${given.account}`);
  await signIn(given.token);
  await page.getByLabel("Domain names").focus();
  await page.keyboard.insertText([...given.names, "one.too.many.example"].map((name) => `https://${name}/`).join("\n"));
  await page.getByText(/101 domain names are given, and one certificate holds at most 100/).waitFor();
  await page.getByLabel("Domain names").fill(given.names.join(" "));
  await page.getByText("100 names, all good.").waitFor();
  await page.locator("summary").filter({ hasText: "Advanced" }).focus();
  await page.keyboard.press("Enter");
  await page.getByLabel("How to prove the names").selectOption("By you");
  assert.deepEqual(await axe(), []);
  await press("Order the certificate");

  await page.getByText("0 of 100 names proved").waitFor();
  await page.getByText("The CA wants to see that 100 names are yours.").waitFor();
  assert.equal(await page.getByRole("row").count(), 101);
  await page.getByRole("link", { name: "See what to publish" }).focus();
  await page.keyboard.press("Enter");
  await page.getByLabel("DNS record").focus();
  await page.keyboard.press("Space");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await press(/^Copy all/);
  await page
    .locator("[aria-live=polite]")
    .getByText(/Copied records/)
    .waitFor({ state: "attached" });
  const lines = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(await page.getByRole("button", { name: /^It is there/ }).count(), 100);
  assert.deepEqual(await axe(), []);

  await tell(lines.trim().split("\n"));
  await press("All 100 are there: let the CA look");
  await page.getByText("Proved, and issued").waitFor({ timeout: 60_000 });
  await page.locator(".proof-count").getByText("100 of 100 names proved").waitFor();
}
