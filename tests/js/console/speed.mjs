// How long it takes, on a processor made four times slower, from the address to a page that can be used: `tell` has it.
const SLOWER = 4;
const TIMES = 5;

export default async function ({ page, given, tell, signIn }) {
  await page.goto("/acme");
  await signIn(given.token);
  await page.getByRole("region", { name: "Recent orders" }).waitFor();
  const debuggers = await page.context().newCDPSession(page);
  await debuggers.send("Emulation.setCPUThrottlingRate", { rate: SLOWER });
  await debuggers.send("Network.setCacheDisabled", { cacheDisabled: true });
  const took = [];
  for (let time = 0; time < TIMES; time++) {
    await page.reload({ waitUntil: "commit" });
    await page.getByRole("region", { name: "Recent orders" }).waitFor();
    // The time of the page itself, at the frame after the one that shows its data.
    took.push(
      await page.evaluate(
        () => new Promise((done) => requestAnimationFrame(() => done(Math.round(performance.now())))),
      ),
    );
  }
  await tell(took);
}
