// A token that is revoked while its page is open: the sign-in page says so, and the next token leads back.
export default async function ({ page, given, tell, signIn }) {
  await page.goto("/acme/accounts");
  await signIn("no-token-at-all");
  await page.getByText("This token is not accepted").waitFor();
  await signIn(given.token);
  await page.getByRole("heading", { name: "Accounts" }).waitFor();
  await page.getByText("Live", { exact: true }).waitFor();
  const next = await tell("signed in");
  await page.getByText("This token is not accepted any more").waitFor();
  await signIn(next);
  await page.getByRole("heading", { name: "Accounts" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API token").waitFor();
  await page.reload();
  await page.getByLabel("API token").waitFor();
}
