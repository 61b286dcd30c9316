// A viewer at a certificate: the public parts, and nothing that the role forbids; on a phone and in dark colours, too.
import assert from "node:assert/strict";

export default async function ({ given, signIn, another, tell, axe }) {
  const looks = [{ colorScheme: "dark" }, { viewport: { width: 390, height: 844 } }];
  for (const look of looks) {
    const page = await another(look);
    await page.goto(`/acme/certificates/${given.certificate}`);
    await signIn(given.token, page);
    await page.getByRole("button", { name: "Download: Full chain" }).waitFor();
    assert.equal(await page.getByRole("button", { name: /Private key|PKCS#12|Renew|Revoke/ }).count(), 0);
    await page.getByText("Operators may download the private key").waitFor();
    await page.getByText("This certificate").waitFor();
    await page.getByText("Issued by <img src=x onerror=alert(1)>").waitFor();
    assert.equal(await page.locator("main img").count(), 0);
    assert.deepEqual(await axe(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    await page.goto("/acme/audit");
    await page.getByText("The audit trail is for operators and administrators.").waitFor();
    await page.goto("/acme/providers/create");
    await page.getByText("Only administrators add providers.").waitFor();
    assert.equal(await page.getByRole("link", { name: "Providers", exact: true }).count(), 1); // The breadcrumb alone.
    await page.goto("/acme/certificates");
    await page.getByRole("link", { name: /seen\.example/ }).waitFor();
    assert.deepEqual(await axe(page), []);
    if (look === looks.at(-1)) {
      await page.getByText("Live", { exact: true }).waitFor();
      await tell("watching");
      await page.getByRole("link", { name: "later.example" }).waitFor();
      await tell("seen");
      await page.getByText("This token is not accepted any more").waitFor();
    }
  }
}
