// What changes between a page's first answer and the beginning of its subscription, or while an answer is on its way.
export default async function ({ page, given, tell, signIn }) {
  let hears = false;
  await page.clock.install();
  await page.routeWebSocket(/\/graphql$/, (socket) => {
    const server = socket.connectToServer();
    socket.onMessage((text) => (hears || JSON.parse(text).type !== "subscribe") && server.send(text));
  });
  await page.goto("/acme/accounts");
  await signIn(given.token);
  await page.getByText("Live", { exact: true }).waitFor();
  await page.getByRole("link", { name: given.email }).click();
  await page.getByText("Nothing has been ordered with this account yet.").waitFor();
  await tell("account");
  await page.getByRole("row", { name: "first.example" }).waitFor();
  await page.getByRole("link", { name: "Dashboard" }).click();
  await page.getByRole("row", { name: "first.example" }).waitFor();
  await tell("dashboard");
  await page.getByRole("row", { name: "second.example" }).waitFor();

  hears = true;
  await page.getByRole("link", { name: given.email }).click();
  await page.getByRole("heading", { name: given.email }).waitFor();
  const held = await hold(page, "Account");
  await tell("held");
  await page.locator("[aria-live=polite]").getByText("Order of third.example: Pending").waitFor({ state: "attached" });
  for (const pause of [10_000, 1_000]) await page.clock.fastForward(pause); // All later looks, and their calm.
  await held.release();
  await page.getByRole("row", { name: "third.example" }).waitFor();
}

/** Resolves as soon as the server has answered `operation` the next time; the page gets the answer by `release`. */
function hold(page, operation) {
  return new Promise((resolve) => {
    let isHeld = false;
    page.route("**/graphql", async (route) => {
      if (isHeld || route.request().postDataJSON().operationName !== operation) return route.fallback();
      isHeld = true;
      const response = await route.fetch();
      return resolve({ release: () => route.fulfill({ response }) });
    });
  });
}
