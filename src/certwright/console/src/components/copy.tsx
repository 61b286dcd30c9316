import { useState } from "preact/hooks";
import { useAnnounce } from "./announce";
import { Icon } from "./icon";

const SHOWN_MS = 2500;

interface Props {
  text: string;
  /** What is copied: "the value of _acme-challenge.example.com". */
  what: string;
  label?: string;
}

/** Puts a text on the clipboard, and says so. */
export function Copy({ text, what, label = "Copy" }: Props) {
  const [isDone, setDone] = useState(false);
  const announce = useAnnounce();
  const run = async () => {
    if (!(await copied(text))) return announce(`The browser did not let ${what} be copied`);
    announce(`Copied ${what}`);
    setDone(true);
    setTimeout(() => setDone(false), SHOWN_MS);
  };
  return (
    <button type="button" class="button small" aria-label={`${isDone ? "Copied" : label} ${what}`} onClick={run}>
      <Icon name={isDone ? "done" : "copy"} />
      {isDone ? "Copied" : label}
    </button>
  );
}

async function copied(text: string): Promise<boolean> {
  // Browsers have a clipboard on https and on this machine only; elsewhere the old way does.
  if (!navigator.clipboard) return copiedFromField(text);
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedFromField(text);
  }
}

function copiedFromField(text: string): boolean {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "unseen";
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return isCopied;
}
