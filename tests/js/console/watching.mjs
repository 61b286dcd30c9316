// The dashboard, watched by a viewer: live; through an outage of the server; and what happened meanwhile is there after it.
import assert from "node:assert/strict";

export default async function ({ page, given, tell, signIn }) {
  await page.goto("/acme");
  await signIn(given.token);
  const orders = page.getByRole("region", { name: "Recent orders" });
  const said = page.locator("[aria-live=polite]");
  await page.getByText("Live", { exact: true }).waitFor();
  await orders.getByText("No certificate has been ordered yet.").waitFor();
  assert.equal(await page.getByRole("link", { name: "Create an account" }).count(), 0);
  assert.equal(await page.getByRole("link", { name: "Audit trail" }).count(), 0);

  await tell("watching");
  await orders.getByRole("row", { name: "live.example" }).getByText("Valid").waitFor();
  await said.getByText("Order of live.example: Valid").waitFor({ state: "attached" });

  await tell("seen");
  await page.getByText("Reconnecting…").waitFor();
  await tell("noticed");
  await page.getByText("Live", { exact: true }).waitFor();
  await orders.getByRole("row", { name: "missed.example" }).waitFor();
}
