// A name that is not proved, by keyboard: advice beforehand, the CA's words, hostile ones, shown and not run; then the
// order anew, and its end.
import assert from "node:assert/strict";

export default async function ({ page, given, signIn, axe }) {
  const press = async (name, role = "button") => {
    await page.getByRole(role, { name }).focus();
    await page.keyboard.press("Enter");
  };
  await page.goto(`/acme/orders/${given.order}/challenges`);
  await signIn(given.token);
  await page.getByRole("listitem").filter({ hasText: "bad.example" }).getByText("forbidden").waitFor();
  await press("It is there: let the CA look at bad.example");
  await page.getByText("There will be no certificate from this order").waitFor();
  await page.getByText("What the CA saw does not prove that the name is yours.").first().waitFor();
  await page.getByText("<img src=x onerror=alert(1)>").first().waitFor();
  assert.equal(await page.locator("main img").count(), 0);
  await page.getByText("The CA's whole answer").first().focus();
  await page.keyboard.press("Enter");
  await page.locator("pre").getByText('"type": "urn:ietf:params:acme:error:').first().waitFor();
  assert.deepEqual(await axe(), []);

  await press("See the order", "link");
  await page.locator("[aria-current=step]").getByText("Invalid").waitFor();
  assert.equal(await page.locator('a[href^="javascript:"]').count(), 0);
  assert.deepEqual(await axe(), []);
  await press("Order again", "link");
  await page.getByText("2 names, all good.").waitFor();
  assert.equal(await page.getByLabel("Domain names").inputValue(), "bad.example\ngood.example");
  await page.getByLabel("Profile").selectOption("short: Six days");
  await page.locator("summary").filter({ hasText: "Advanced" }).focus();
  await page.keyboard.press("Enter");
  await page.getByLabel("Your own signing request").fill("nonsense");
  await press("Order the certificate");
  await page.getByRole("alert").filter({ hasText: /CSR/ }).waitFor();
  assert.equal(await page.getByLabel("Your own signing request").getAttribute("aria-invalid"), "true");
  assert.deepEqual(await axe(), []);
  await page.getByLabel("Your own signing request").fill("");
  await press("Order the certificate");

  await page.getByRole("definition").getByText("short", { exact: true }).waitFor();
  await press("Cancel the order");
  const dialog = page.getByRole("dialog", { name: "Cancel the order of bad.example, good.example?" });
  await dialog.waitFor();
  assert.deepEqual(await axe(), []);
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  await press("Cancel the order");
  await press("Cancel the order for good");
  await page.getByText("The order was cancelled.").waitFor();
  await page.getByText("Cancelled by token:operator.").waitFor();
}
