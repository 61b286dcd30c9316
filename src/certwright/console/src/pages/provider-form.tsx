import type { CombinedError } from "@urql/core";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Field, TextField } from "../components/field";
import { Failure } from "../components/note";
import { refusal } from "../errors";
import type { ProviderKindsQuery } from "../gql/graphql";

export type Kind = ProviderKindsQuery["challengeProviderKinds"][number];
type Setting = Kind["settings"][number];

export interface Given {
  name: string;
  zones: string[];
  settings: { name: string; value: string }[];
}

interface Props {
  kind: Kind;
  /** What there is already; none for a new provider. */
  known?: { name: string; zones: readonly string[]; settings: readonly { name: string; value: string }[] };
  verb: string;
  isBusy: boolean;
  error: CombinedError | undefined;
  onSubmit: (given: Given) => void;
  children?: ComponentChildren;
}

/** A provider's form, made of what its kind says of its settings. Secrets are written and never shown. */
export function ProviderForm({ kind, known, verb, isBusy, error, onSubmit, children }: Props) {
  const [name, setName] = useState(known?.name ?? "");
  const [zones, setZones] = useState(known?.zones.join("\n") ?? "");
  const [values, setValues] = useState<Record<string, string>>(() =>
    Object.fromEntries(known?.settings.map((setting) => [setting.name, setting.value]) ?? []),
  );
  const refused = error && refusal(error);
  const shown = new Set(["name", "zones", ...kind.settings.map((setting) => setting.name)]);
  const at = (field: string) => (refused?.field === field ? refused.message : null);
  const submit = (event: Event) => {
    event.preventDefault();
    const settings = kind.settings
      .map((setting) => ({ name: setting.name, value: values[setting.name] ?? "" }))
      .filter(({ name, value }) => value || (known && !isSecret(kind, name)));
    onSubmit({ name: name.trim(), zones: zones.split(/[\s,;]+/).filter(Boolean), settings });
  };
  return (
    <form onSubmit={submit} noValidate>
      <TextField
        label="Name"
        hint="What you call it."
        name="name"
        isRequired
        value={name}
        onValue={setName}
        error={at("name")}
      />
      <Field
        label="Zones"
        hint="The domains that it serves, with all below them; none: every name that no other provider serves."
        error={at("zones")}
      >
        {(tied) => (
          <textarea
            {...tied}
            rows={3}
            spellcheck={false}
            value={zones}
            onInput={(event) => setZones(event.currentTarget.value)}
          />
        )}
      </Field>
      {kind.settings.map((setting) => (
        <SettingField
          key={setting.name}
          setting={setting}
          isKnown={Boolean(known)}
          value={values[setting.name] ?? ""}
          onValue={(value) => setValues((last) => ({ ...last, [setting.name]: value }))}
          error={at(setting.name)}
        />
      ))}
      {error && !(refused?.field && shown.has(refused.field)) && <Failure error={error} />}
      <div class="actions">
        <button type="submit" class="button primary" disabled={isBusy}>
          {verb}
        </button>
        {children}
      </div>
    </form>
  );
}

function isSecret(kind: Kind, name: string): boolean {
  return kind.settings.some((setting) => setting.name === name && setting.secret);
}

interface SettingProps {
  setting: Setting;
  isKnown: boolean;
  value: string;
  onValue: (value: string) => void;
  error: string | null;
}

function SettingField({ setting, isKnown, value, onValue, error }: SettingProps) {
  const { name, meaning, secret, multiline, required } = setting;
  const label = required ? spaced(name) : `${spaced(name)} (optional)`;
  const hint = [meaning, setting.default && `Left out: ${setting.default}.`, secret && isKnown && "Empty: as it is."];
  const text = hint.filter(Boolean).join(" ");
  if (multiline) {
    return (
      <Field label={label} hint={text} error={error}>
        {(tied) => (
          <textarea
            {...tied}
            class="mono"
            rows={3}
            autocomplete="off"
            spellcheck={false}
            value={value}
            onInput={(event) => onValue(event.currentTarget.value)}
          />
        )}
      </Field>
    );
  }
  return (
    <TextField
      label={label}
      hint={text}
      type={secret ? "password" : "text"}
      autocomplete={secret ? "new-password" : "off"}
      name={name}
      isRequired={required && !(secret && isKnown)}
      value={value}
      onValue={onValue}
      error={error}
    />
  );
}

/** "keyName" → "Key name". */
function spaced(name: string): string {
  const text = name.replaceAll(/(?<=[a-z0-9])(?=[A-Z])/g, " ").toLowerCase();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
