// Runs a script in headless Chromium: node run.mjs SCRIPT '{"url": …}'. The script's default export gets
//   page      a page (Playwright's) whose addresses are relative to `url`
//   given     what the test gave
//   tell      async (thing): tells the test, and returns what the test says then
//   signIn    async (token): the sign-in form, as a user fills it in
//   another   async (options): a further page, in a browser context of its own, under the same watch
//   axe       async (): what axe-core finds wrong with the page as it is, in light and in dark colours
// Besides what the script itself finds, it fails for errors on the console or in scripts, for what the
// Content-Security-Policy refused, and for requests to other hosts but those in `given.allowed`.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const WAIT_MS = 20_000;
const [script, json] = process.argv.slice(2);
const given = JSON.parse(json);
const allowed = [given.url, given.url.replace(/^http/, "ws"), ...(given.allowed ?? [])];
const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const faults = [];

async function tell(thing) {
  process.stdout.write(`${JSON.stringify(thing)}\n`);
  const { value } = await answers.next();
  return JSON.parse(value);
}

function watch(page) {
  const expected = (given.expected ?? []).map((text) => new RegExp(text));
  const fault = (text) => expected.some((pattern) => pattern.test(text)) || faults.push(text);
  page.on("console", (message) => message.type() === "error" && fault(`console: ${message.text()}`));
  page.on("pageerror", (error) => fault(`script: ${error.message}`));
  page.on("request", (request) => {
    const isOurs = /^(data|blob|about):/.test(request.url()) || allowed.some((url) => request.url().startsWith(url));
    return isOurs || fault(`request to ${request.url()}`);
  });
}

const browser = await chromium.launch({ executablePath: given.chromium });

async function another(options = {}) {
  const context = await browser.newContext({ baseURL: given.url, viewport: { width: 1280, height: 800 }, ...options });
  context.setDefaultTimeout(WAIT_MS);
  const page = await context.newPage();
  watch(page);
  return page;
}

const page = await another();

async function signIn(token, on = page) {
  await on.getByLabel("API token").fill(token);
  await on.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** By way of the debugger: the page's own policy lets no script in. The dark theme differs in its colours alone. */
async function axe(on = page) {
  if (!(await on.evaluate(() => "axe" in globalThis))) await on.evaluate(axeSource);
  const found = await violations(on, {});
  await on.emulateMedia({ colorScheme: "dark" });
  const inTheDark = await violations(on, { runOnly: ["color-contrast"] });
  await on.emulateMedia({ colorScheme: "light" });
  return [...found, ...inTheDark.map((text) => `dark: ${text}`)];
}

async function violations(on, options) {
  const { violations } = await on.evaluate((options) => globalThis.axe.run(options), options);
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

try {
  const { default: run } = await import(new URL(script, import.meta.url));
  await run({ page, given, tell, signIn, another, axe });
} catch (error) {
  faults.push(error.stack);
  await page.screenshot({ path: given.screenshot }).catch(() => undefined);
  faults.push(await page.locator("body").innerText().catch(() => "no page"));
} finally {
  await browser.close();
}
answers.return?.();
process.stdin.destroy();
if (faults.length > 0) {
  process.stderr.write(`${faults.join("\n")}\n`);
  process.exitCode = 1;
}
