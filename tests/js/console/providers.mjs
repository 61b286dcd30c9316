// An administrator adds a challenge provider by the form that its kind asks for, tests, changes and deletes it.
import assert from "node:assert/strict";

export default async function ({ page, given, tell, signIn, axe }) {
  const press = (name) => page.getByRole("button", { name, exact: true }).click();
  await page.goto("/acme");
  await signIn(given.token);
  await page.getByRole("link", { name: "Providers" }).click();
  await page.getByText(/There is none yet/).waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByRole("link", { name: "Add a provider" }).click();
  await page.getByLabel(/A provider of tests/).check();
  await page.getByLabel("Name").fill("My zone");
  await page.getByRole("textbox", { name: "Zones", exact: true }).fill("mine.example, other.example");
  assert.equal(await page.getByLabel("Token").getAttribute("type"), "password");
  await page.getByLabel("Token").fill("bad");
  await press("Add the provider");
  await page.getByRole("alert").filter({ hasText: "does not begin with good" }).waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByLabel("Token").fill(given.secret);
  await press("Add the provider");
  await page.getByRole("heading", { name: "My zone" }).waitFor();
  assert.equal(await page.getByLabel("Region").inputValue(), "eu");
  assert.equal(await page.getByLabel("Token").inputValue(), "");
  assert.ok(!(await page.content()).includes(given.secret));

  await page.getByLabel("A name in its zones").fill("www.mine.example");
  await press("Test");
  await page.getByText("It works").waitFor();
  await page.getByText("_acme-challenge.www.mine.example").waitFor();
  await page.getByText("ns.test").waitFor();
  assert.deepEqual(await axe(), []);

  await page.getByLabel("Region").fill("us");
  await page.getByRole("textbox", { name: "Zones", exact: true }).fill("");
  await press("Save");
  await page.locator("[aria-live=polite]").getByText("The provider was changed").waitFor({ state: "attached" });
  await page.getByRole("link", { name: "Providers" }).first().click();
  await page
    .getByRole("row", { name: /My zone/ })
    .getByText("All that no other serves")
    .waitFor();
  await page.getByRole("link", { name: "My zone" }).click();
  await tell("changed");
  await press("Delete");
  await page.getByRole("dialog", { name: "Delete My zone?" }).waitFor();
  assert.deepEqual(await axe(), []);
  await press("Delete it");
  await page.getByText(/There is none yet/).waitFor();
}
