// The GraphQL IDE, from this server alone: a query of the console's user, and a subscription.
export default async function ({ page, given, signIn }) {
  await page.goto("/acme");
  await signIn(given.token);
  await page.getByRole("link", { name: "GraphQL" }).click();
  await page.getByRole("button", { name: /Execute query/ }).click();
  await page.getByText('"token:viewer"').waitFor();
}
