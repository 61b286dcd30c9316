// An operator at a certificate: found by its name, its files, renewal and revocation, each seen without reloading.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

export default async function ({ page, given, tell, signIn, axe }) {
  await page.goto("/acme/certificates");
  await signIn(given.token);
  await page.getByRole("searchbox").fill("www.shop.example");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "With the name www.shop.example" }).waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByRole("link", { name: "shop.example, www.shop.example" }).click();
  await page.getByRole("heading", { name: "shop.example, www.shop.example" }).waitFor();
  const lifetime = await page.getByRole("img", { name: /^Valid from/ }).getAttribute("aria-label");
  assert.match(lifetime, /: ends in .*To be renewed in/);
  await page.getByText(/The CA suggests a time between/).waitFor();
  await page.getByRole("region", { name: "Chain" }).getByText("This certificate").waitFor();
  assert.deepEqual(await axe(), []);

  const download = async (name, act) => {
    const [file] = await Promise.all([page.waitForEvent("download"), act()]);
    await file.saveAs(join(given.directory, file.suggestedFilename()));
    return file.suggestedFilename();
  };
  const press = (name) => page.getByRole("button", { name, exact: true }).click();
  for (const name of ["Full chain", "Certificate", "Chain", "Private key"]) {
    await download(name, () => press(`Download: ${name}`));
  }
  await press("Download: PKCS#12");
  const password = page.getByLabel("Password of the file");
  await password.fill("short");
  await press("Save the file");
  await page.getByRole("alert").filter({ hasText: "from 8 to 200 are right" }).waitFor();
  assert.deepEqual(await axe(), []);
  await password.fill(given.password);
  assert.equal(await download("PKCS#12", () => press("Save the file")), "shop.example.p12");
  assert.ok((await readFile(join(given.directory, "shop.example.key.pem"), "utf8")).includes("PRIVATE KEY"));

  await tell("downloaded");
  const said = page.locator("[aria-live=polite]");
  await press("Renew now");
  await page.getByRole("link", { name: "An order renews it now" }).waitFor();
  assert.ok(await page.getByRole("button", { name: "Being renewed…" }).isDisabled());
  await tell("renewing");
  await page.getByText("Replaced", { exact: true }).waitFor();
  await said.getByText("Certificate: Replaced").waitFor({ state: "attached" });
  await page.getByRole("link", { name: "A newer certificate" }).click();
  await page.getByText("Takes the place of").waitFor();

  await press("Revoke");
  await page.getByRole("dialog").getByLabel("Reason").selectOption({ label: "Its names are not in use any more" });
  assert.deepEqual(await axe(), []);
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  await page.getByRole("button", { name: "Revoke", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByLabel("Reason").selectOption({ label: "Its names are not in use any more" });
  await press("Revoke for ever");
  await page.getByText("Revoked", { exact: true }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Revoke" }).count(), 0);
  assert.equal(await page.getByRole("button", { name: "Renew now" }).count(), 0);
}
