// An account: hostile texts are shown and not run, contacts are changed, and it is deactivated after a question. No mouse.
import assert from "node:assert/strict";

export default async function ({ page, given, signIn, axe }) {
  await page.goto(`/acme/accounts/${given.account}`);
  await signIn(given.token);
  await page.getByRole("heading", { name: given.email }).waitFor();
  assert.deepEqual(await axe(), []);
  const press = async (name) => {
    await page.getByRole("button", { name, exact: true }).focus();
    await page.keyboard.press("Enter");
  };

  await press("Edit contacts");
  await page.getByLabel("E-mail").fill("no address");
  await press("Save");
  await page.getByRole("alert").filter({ hasText: "no address" }).waitFor();
  assert.equal(await page.getByLabel("E-mail").getAttribute("aria-invalid"), "true");
  assert.deepEqual(await axe(), []);
  await page.getByLabel("E-mail").fill("changed@example.com");
  await press("Save");
  await page.getByRole("heading", { name: "changed@example.com" }).waitFor();

  await press("Deactivate");
  const dialog = page.getByRole("dialog", { name: "Deactivate changed@example.com?" });
  await dialog.waitFor();
  assert.deepEqual(await axe(), []);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await press("Deactivate");
  await press("Deactivate for ever");
  await page.getByText("Deactivated", { exact: true }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Deactivate" }).count(), 0);
  await page.getByRole("link", { name: "Accounts" }).first().click();
  await page.getByRole("row", { name: "changed@example.com" }).waitFor();
  assert.deepEqual(await axe(), []);
}
