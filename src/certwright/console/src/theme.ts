/** Light or dark: the system's choice, or the reader's own. It is no secret, and stays from visit to visit. */
import { signal } from "./signal";

export type Theme = "auto" | "light" | "dark";
const KEY = "certwright.theme";

function stored(): Theme {
  try {
    const found = localStorage.getItem(KEY);
    return found === "light" || found === "dark" ? found : "auto";
  } catch {
    return "auto";
  }
}

export const theme = signal<Theme>(stored());

const system = matchMedia("(prefers-color-scheme: dark)");

/** From now on; the system's choice may change while the page is open. */
export function applyTheme(): void {
  const apply = () => {
    const chosen = theme.get();
    document.documentElement.dataset["theme"] = chosen === "auto" ? (system.matches ? "dark" : "light") : chosen;
  };
  apply();
  system.addEventListener("change", apply);
  theme.watch(apply);
}

export function choose(chosen: Theme): void {
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // It lasts until the page is loaded anew.
  }
  theme.set(chosen);
}
