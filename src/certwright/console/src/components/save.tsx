import { save } from "../download";
import { Icon } from "./icon";

interface Props {
  text: string;
  /** What the file is called. */
  file: string;
  label?: string;
  /** What is in it, for those who do not see where the button stands. */
  what: string;
}

/** Downloads a text that the page has already. */
export function Save({ text, file, label = "Download", what }: Props) {
  return (
    <button type="button" class="button small" aria-label={`${label} ${what}`} onClick={() => save(file, text)}>
      <Icon name="download" />
      {label}
    </button>
  );
}
