/** Who is signed in sees the pages; who is not sees the sign-in page, at the same address. */
import { ErrorBoundary, lazy, LocationProvider, Route, Router } from "preact-iso";
import { useEffect, useMemo } from "preact/hooks";
import { type Api, ApiContext, connect } from "./client";
import { Announcer } from "./components/announce";
import { Layout } from "./components/layout";
import { Page } from "./components/page";
import type { Config } from "./config";
import { Dashboard } from "./pages/dashboard";
import { NotFound } from "./pages/not-found";
import { SignIn } from "./pages/sign-in";
import { end, type Session, sessionState } from "./session";
import { useSignal } from "./signal";
import { ViewerGate } from "./viewer";

const Accounts = lazy(() => import("./pages/accounts").then((page) => page.Accounts));
const AccountCreate = lazy(() => import("./pages/account-create").then((page) => page.AccountCreate));
const AccountPage = lazy(() => import("./pages/account").then((page) => page.AccountPage));
const Orders = lazy(() => import("./pages/orders").then((page) => page.Orders));
const OrderCreate = lazy(() => import("./pages/order-create").then((page) => page.OrderCreate));
const OrderPage = lazy(() => import("./pages/order").then((page) => page.OrderPage));
const Challenges = lazy(() => import("./pages/challenges").then((page) => page.Challenges));
const Audit = lazy(() => import("./pages/audit").then((page) => page.Audit));
const CertificatePage = lazy(() => import("./pages/certificate").then((page) => page.CertificatePage));
const Certificates = lazy(() => import("./pages/certificates").then((page) => page.Certificates));
const ProviderCreate = lazy(() => import("./pages/provider-create").then((page) => page.ProviderCreate));
const ProviderPage = lazy(() => import("./pages/provider").then((page) => page.ProviderPage));
const Providers = lazy(() => import("./pages/providers").then((page) => page.Providers));

const REFUSED = {
  token: "This token is not accepted any more: it was revoked, or it was never one of this server's.",
  provider: "Your sign-in has ended, as sign-ins do after a while.",
};

export function App({ config }: { config: Config }) {
  const { session, reason } = useSignal(sessionState);
  if (!session) return <SignIn config={config} reason={reason} />;
  return <SignedIn key={session.token} config={config} session={session} />;
}

function SignedIn({ config, session }: { config: Config; session: Session }) {
  const api: Api = useMemo(() => connect(config, session.token, () => end(REFUSED[session.by])), [config, session]);
  useEffect(() => () => api.dispose(), [api]);
  return (
    <ApiContext.Provider value={api}>
      <LocationProvider scope="/acme">
        <Announcer>
          <ViewerGate>
            <Layout version={config.version}>
              <ErrorBoundary>
                <Router>
                  <Route path="/acme" component={Dashboard} />
                  <Route path="/acme/accounts" component={Accounts} />
                  <Route path="/acme/accounts/create" component={AccountCreate} />
                  <Route path="/acme/accounts/:id" component={AccountPage} />
                  <Route path="/acme/orders" component={Orders} />
                  <Route path="/acme/orders/create" component={OrderCreate} />
                  <Route path="/acme/orders/:id" component={OrderPage} />
                  <Route path="/acme/orders/:id/challenges" component={Challenges} />
                  <Route path="/acme/audit" component={Audit} />
                  <Route path="/acme/certificates" component={Certificates} />
                  <Route path="/acme/certificates/:id" component={CertificatePage} />
                  <Route path="/acme/providers" component={Providers} />
                  <Route path="/acme/providers/create" component={ProviderCreate} />
                  <Route path="/acme/providers/:id" component={ProviderPage} />
                  <Route default component={NotFound} />
                </Router>
              </ErrorBoundary>
            </Layout>
          </ViewerGate>
        </Announcer>
      </LocationProvider>
    </ApiContext.Provider>
  );
}

export function Unreachable() {
  return (
    <main class="alone">
      <Page title="Certwright does not answer">
        <p>The console could not reach its server. Nothing is lost: the server goes on with its work by itself.</p>
        <p>
          <button type="button" class="button" onClick={() => location.reload()}>
            Try again
          </button>
        </p>
      </Page>
    </main>
  );
}
