import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

interface Common {
  label: string;
  hint?: ComponentChildren;
  /** Why the value is refused. */
  error?: string | null | undefined;
}

/** What an input needs to be tied to its label, hint and error. */
export interface Tied {
  id: string;
  "aria-describedby": string;
  "aria-invalid": boolean;
}

/** A labelled input of any kind: `children` is given what ties it to its words. */
export function Field({ label, hint, error, children }: Common & { children: (tied: Tied) => ComponentChildren }) {
  const id = useId();
  const tied = { id, "aria-describedby": `${id}-hint ${id}-error`, "aria-invalid": Boolean(error) };
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {children(tied)}
      <p class="error" id={`${id}-error`} role="alert">
        {error}
      </p>
    </div>
  );
}

interface TextProps extends Common {
  name: string;
  value: string;
  onValue: (value: string) => void;
  type?: "text" | "email" | "url" | "password";
  /** What browsers may fill in; nothing unless told otherwise. */
  autocomplete?: string;
  isRequired?: boolean;
}

export function TextField({ label, hint, error, name, value, onValue, type = "text", ...rest }: TextProps) {
  const { autocomplete = "off", isRequired = false } = rest;
  return (
    <Field label={label} hint={hint} error={error}>
      {(tied) => (
        <input
          {...tied}
          // Preact's types want one literal, not a choice of some.
          type={type as "text"}
          name={name}
          value={value}
          autocomplete={autocomplete}
          spellcheck={false}
          required={isRequired}
          onInput={(event) => onValue(event.currentTarget.value)}
        />
      )}
    </Field>
  );
}

interface CheckProps {
  label: ComponentChildren;
  isChecked: boolean;
  onCheck: (isChecked: boolean) => void;
  error?: string | null | undefined;
}

export function CheckField({ label, isChecked, onCheck, error }: CheckProps) {
  const id = useId();
  return (
    <div class="field check">
      <input
        id={id}
        type="checkbox"
        checked={isChecked}
        aria-describedby={`${id}-error`}
        aria-invalid={Boolean(error)}
        onChange={(event) => onCheck(event.currentTarget.checked)}
      />
      <label for={id}>{label}</label>
      <p class="error" id={`${id}-error`} role="alert">
        {error}
      </p>
    </div>
  );
}
