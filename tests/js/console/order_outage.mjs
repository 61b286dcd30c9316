// A CA that fails, then works, then is down: orders say why they wait and until when, and go on by themselves.
import assert from "node:assert/strict";

export default async function ({ page, given, tell, signIn, axe }) {
  const order = async (name) => {
    await page.goto("/acme/orders/create");
    await page.getByLabel("Domain names").fill(name);
    await page.getByRole("button", { name: "Order the certificate" }).click();
    await page.getByText("It waits, and goes on by itself").waitFor();
  };
  await page.goto("/acme/orders");
  await signIn(given.token);
  await page.getByText("Nothing has been ordered yet.").waitFor();
  await order("waits.example");
  await page.getByText("Something is wrong at the CA itself.").waitFor();
  await page.getByText(/^The next attempt:/).waitFor();
  await page.locator("[aria-current=step]").getByText("New").waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByRole("link", { name: "Orders", exact: true }).first().click();
  const row = page.getByRole("row", { name: "waits.example" });
  await row.getByText("New, waits").waitFor();
  await row.getByText("Pending", { exact: true }).waitFor({ timeout: 60_000 });
  await page.locator("[aria-live=polite]").getByText("Order of waits.example: Pending").waitFor({ state: "attached" });

  await tell("went on");
  await order("down.example");
  await page.getByText("The CA cannot be reached at the moment.").waitFor();
  await page.goto(`${page.url()}/challenges`);
  await page.getByText("The order is being placed at the CA").waitFor();
  await page.getByText("The CA cannot be reached at the moment.").waitFor();
  assert.deepEqual(await axe(), []);
}
