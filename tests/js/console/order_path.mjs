// From the account to the certificate: names pasted in any shape, what to publish, and green without reloading.
import assert from "node:assert/strict";

const PASTED = `https://${"One"}.Order.example/login?next=1, "two.order.example";
  *.order.example bücher.order2.example:443 localhost`;

export default async function ({ page, given, tell, signIn, axe }) {
  const said = page.locator("[aria-live=polite]");
  await page.goto(`/acme/accounts/${given.account}`);
  await signIn(given.token);
  await page.getByRole("link", { name: "Order a certificate" }).click();
  await page.getByLabel("Domain names").fill(PASTED);
  const found = page.getByRole("list", { name: "Names found" });
  await found.getByText("(ordered as xn--bcher-kva.order2.example)").waitFor();
  await found.getByText("has no dot: give the full name").waitFor();
  await found
    .getByRole("listitem")
    .filter({ hasText: "One.Order.example" })
    .getByText("is already covered by")
    .waitFor();
  assert.equal(await found.getByRole("listitem").count(), 5);
  await page.getByText("5 names; 3 cannot be ordered.").waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByLabel("Domain names").fill("https://one.order.example/login two.order.example");
  await page.getByText("2 names, all good.").waitFor();
  await page.getByRole("button", { name: "Order the certificate" }).click();

  await page.getByRole("heading", { name: "one.order.example, two.order.example" }).waitFor();
  const here = page.locator("[aria-current=step]");
  await here.getByText("Pending").waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByRole("link", { name: "See what to publish" }).click();

  await page.getByLabel("DNS record").check();
  const card = (name) => page.getByRole("listitem").filter({ has: page.getByRole("heading", { name }) });
  const value = card("one.order.example").getByRole("definition").nth(2);
  await value.waitFor();
  assert.deepEqual(await axe(), []);
  await page.getByLabel("File on the web server").check();
  const download = page.waitForEvent("download");
  await card("one.order.example")
    .getByRole("button", { name: /^Download/ })
    .click();
  assert.match((await download).suggestedFilename(), /^[\w-]{10,}$/);
  await page.getByLabel("DNS record").check();
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await card("one.order.example")
    .getByRole("button", { name: /^Copy the value of/ })
    .click();
  await said.getByText("Copied the value of _acme-challenge.one.order.example").waitFor({ state: "attached" });
  const shownValue = (await value.locator(".mono").innerText()).trim();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), shownValue);

  await tell({ name: "_acme-challenge.one.order.example", value: shownValue });
  await card("one.order.example").getByRole("button", { name: "It is there" }).click();
  await card("one.order.example").getByText("Valid", { exact: true }).waitFor();
  await said.getByText("one.order.example: challenge valid").waitFor({ state: "attached" });
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "one.order.example");
  await page.getByText("1 of 2 names proved").waitFor();
  const other = (await card("two.order.example").getByRole("definition").nth(2).locator(".mono").innerText()).trim();
  await tell({ name: "_acme-challenge.two.order.example", value: other });
  await card("two.order.example").getByRole("button", { name: "It is there" }).click();
  await page.getByText("Proved, and issued").waitFor();
  await said.getByText("The order is valid").waitFor({ state: "attached" });
  assert.deepEqual(await axe(), []);
  await page.getByRole("link", { name: "See the certificate" }).click();
  await page.waitForURL(/\/acme\/certificates\/\w+$/);
  assert.equal(await page.evaluate(() => performance.getEntriesByType("navigation").length), 1);
}
