// Sign-in at the OpenID Connect provider: there and back to the page that was asked for, and out when the token ends.
import assert from "node:assert/strict";

export default async function ({ page, given, tell }) {
  await page.goto("/acme/accounts?after=x");
  const button = page.getByRole("button", { name: /Sign in at 127\.0\.0\.1/ });
  await button.click();
  await page.getByText("The provider refused the sign-in: access_denied").waitFor();
  await tell("refused");

  await page.goto("/acme/accounts/create?x=1");
  await button.click();
  await page.getByText("jo@example.com").waitFor();
  await page.getByRole("heading", { name: "Create an account" }).waitFor();
  assert.equal(page.url(), `${given.url}/acme/accounts/create?x=1`);
  const history = await page.evaluate(() => JSON.stringify({ ...localStorage }) + document.referrer);
  assert.ok(!history.includes("eyJ"));

  await tell("signed in");
  await page.getByText("Your sign-in has ended").waitFor();
  await button.click();
  await page.getByRole("heading", { name: "Create an account" }).waitFor();
  await page.goto("/acme/signed-in?code=stolen&state=guessed");
  await page.getByText("That sign-in was not begun in this tab.").waitFor();
}
