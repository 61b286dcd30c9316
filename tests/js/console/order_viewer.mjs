// A viewer: sees every page of orders, live, through an outage of the server; what the role forbids is not offered.
import assert from "node:assert/strict";

export default async function ({ page, given, tell, signIn, axe }) {
  const offered = (name) => page.getByRole("button", { name }).or(page.getByRole("link", { name })).count();
  await page.goto("/acme/orders/create");
  await signIn(given.token);
  await page.getByText("Only operators order certificates; your role is Viewer.").waitFor();
  assert.equal(await page.getByLabel("Domain names").count(), 0);
  await page.getByRole("link", { name: "Orders", exact: true }).first().click();
  await page.getByRole("link", { name: "watched.example" }).waitFor();
  assert.equal(await offered("Order a certificate"), 0);
  assert.deepEqual(await axe(), []);
  await page.getByLabel("Status").selectOption("VALID");
  await page.getByText("No order is like that.").waitFor();
  assert.match(page.url(), /status=VALID/);
  await page.goBack();
  await page.getByLabel("Account").selectOption({ index: 1 });
  await page.waitForURL(/account=/);
  await page.getByRole("link", { name: "watched.example" }).click();
  await page.getByText("Someone has to act").waitFor();
  assert.equal(await offered(/Cancel/), 0);
  await page.getByRole("link", { name: "See what to publish" }).click();
  await page.getByText("_acme-challenge.watched.example").waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  assert.equal(await offered(/let the CA look/), 0);

  await tell("watching");
  await page.getByText("Reconnecting…").waitFor();
  await tell("noticed");
  await page.getByText("Live", { exact: true }).waitFor();
  await page.getByText("Proved, and issued").waitFor();
  await page.locator("[aria-live=polite]").getByText("The order is valid").waitFor({ state: "attached" });
  await page.getByRole("link", { name: "watched.example" }).click();
  await page.locator("[aria-current=step]").getByText("Valid", { exact: true }).waitFor();
  assert.equal(await offered(/Cancel|Order again/), 0);
}
