/** What the server says about itself before anybody has signed in. */
export interface Config {
  version: string;
  /** Where subscriptions connect to, where that is another host. */
  socketUrl: string | null;
  oidc: Provider | null;
}

export interface Provider {
  issuer: string;
  authorizationEndpoint: string;
  tokenEndpoint: string;
  clientId: string;
  scope: string;
  /** Which of the provider's tokens the API takes. */
  token: "id_token" | "access_token";
}

export async function loadConfig(): Promise<Config> {
  const response = await fetch("/acme/config.json");
  if (!response.ok) throw new Error(`the server answers with status ${response.status}`);
  return (await response.json()) as Config;
}
