// What needs a human now: first, the most pressing first, each with the way to it.
import assert from "node:assert/strict";

export default async function ({ page, given, signIn, axe }) {
  await page.goto("/acme");
  await signIn(given.token);
  const needs = page.getByRole("region", { name: "Needs you now" });
  await needs.getByRole("listitem").nth(2).waitFor();
  const titles = await needs.locator("li b").allInnerTexts();
  assert.deepEqual(titles, [
    "No certificate for failed.example",
    "The certificate of ending.example expires soon",
    "waiting.example must be proved to be yours",
  ]);
  await needs.getByText("Nobody answers at failed.example").waitFor();
  await needs.getByText("in 5 days").waitFor();
  const headings = await page.locator("main").getByRole("heading").allInnerTexts();
  assert.deepEqual(headings.slice(0, 2), ["Dashboard", "Needs you now"]);
  assert.deepEqual(await axe(), []);
  for (const [title, path] of Object.entries(given.ways)) {
    await needs.getByRole("link", { name: title }).click();
    await page.waitForURL((url) => url.pathname === path);
    await page.goBack();
  }
}
