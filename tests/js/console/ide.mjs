// The GraphQL IDE, from this server alone: a query of the console's user, and a subscription over the socket.
export default async function ({ page, given, tell, signIn }) {
  await page.goto("/acme");
  await signIn(given.token);
  await page.getByRole("link", { name: "GraphQL" }).click();
  // Until its editors stand, the button does nothing.
  for (const name of ["Operation Editor", "Result Window"]) {
    await page.getByRole("region", { name }).locator(".monaco-editor").first().waitFor();
  }
  const execute = page.getByRole("button", { name: /Execute query/ });
  await execute.click();
  await page.getByText('"token:viewer"').waitFor();

  const asked = new Promise((resolve) => {
    const look = ({ payload }) => String(payload).includes('"subscribe"') && resolve();
    page.on("websocket", (socket) => socket.on("framesent", look));
  });
  await page.getByRole("region", { name: "Operation Editor" }).getByRole("textbox").first().focus();
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.insertText("subscription { orderStatus { status domains } }");
  await execute.click();
  await asked;
  await tell("listening");
  await page.getByText('"heard.example"').waitFor();
  await page.getByRole("button", { name: /Stop query/ }).click();
}
