// A new user: signs in, creates an account with the CA at hand, and finds it on the dashboard.
import assert from "node:assert/strict";

export default async function ({ page, given, signIn, axe }) {
  await page.goto("/acme");
  assert.deepEqual(await axe(), []);
  await signIn(given.token);
  await page.getByRole("link", { name: "Create an account" }).click();
  await page.getByRole("heading", { name: "Create an account" }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), "H1");
  await page.getByLabel(given.server).check();
  await page.getByLabel("E-mail").fill("new@example.com");
  await page.getByText(/terms of service of/).waitFor();

  await page.getByRole("button", { name: "Create the account" }).click();
  await page.getByText(/terms of service must be agreed to/).waitFor();
  await page.getByLabel(/I have read and agree/).check();
  assert.deepEqual(await axe(), []);
  await page.getByRole("button", { name: "Create the account" }).click();

  await page.getByRole("heading", { name: "new@example.com" }).waitFor();
  await page.getByText("Nothing has been ordered with this account yet.").waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByRole("link", { name: "Dashboard" }).click();
  await page.getByRole("region", { name: "Active accounts" }).getByRole("link", { name: "new@example.com" }).waitFor();
  assert.deepEqual(await axe(), []);
  const stored = await page.evaluate(() => JSON.stringify(localStorage) + location.href);
  assert.ok(!stored.includes(given.token));
}
