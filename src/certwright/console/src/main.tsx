// Before the pages, whose own styles go before these.
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/components.css";
import { render } from "preact";
import { App, Unreachable } from "./app";
import { loadConfig } from "./config";
import { finishSignIn } from "./oidc";
import { applyTheme } from "./theme";

const place = document.getElementById("app") as HTMLElement;
applyTheme();

async function start(): Promise<void> {
  try {
    const config = await loadConfig();
    await finishSignIn(config.oidc);
    render(<App config={config} />, place);
  } catch {
    render(<Unreachable />, place);
  }
}

void start();
