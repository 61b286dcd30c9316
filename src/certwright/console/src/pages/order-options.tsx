/** What an order may ask for beyond its names. */
import { CheckField, Field, TextField } from "../components/field";
import { type KeyType, type OrderChoicesQuery, OrderProfilesDocument } from "../gql/graphql";
import { useQuery } from "../query";

export interface Options {
  profile: string;
  keyType: KeyType;
  reuseKey: boolean;
  csr: string;
  preferredChain: string;
  solver: string;
  fallback: string;
}

export const DEFAULTS: Options = {
  profile: "",
  keyType: "EC_P256",
  reuseKey: false,
  csr: "",
  preferredChain: "",
  solver: "",
  fallback: "",
};

const KEY_TYPES: [KeyType, string][] = [
  ["EC_P256", "ECDSA P-256: small, fast, right for nearly everyone"],
  ["EC_P384", "ECDSA P-384"],
  ["RSA_2048", "RSA 2048: for old clients"],
  ["RSA_3072", "RSA 3072"],
  ["RSA_4096", "RSA 4096"],
];

interface Props {
  options: Options;
  onChange: (change: Partial<Options>) => void;
  /** Why a field was refused. */
  at: (field: string) => string | null;
}

/** Only where the CA has several kinds of certificate. One that cannot be asked now gives its usual kind. */
export function ProfileChoice({ server, options, onChange, at }: Props & { server: string }) {
  const { data } = useQuery(OrderProfilesDocument, { url: server });
  const profiles = data?.acmeDirectory.profiles ?? [];
  if (profiles.length === 0) return null;
  return (
    <Field label="Profile" hint="What kind of certificate; each has its own lifetime and bounds." error={at("profile")}>
      {(tied) => (
        <select
          {...tied}
          value={options.profile}
          onChange={(event) => onChange({ profile: event.currentTarget.value })}
        >
          <option value="">The CA's usual one</option>
          {profiles.map(({ name, description }) => (
            <option key={name} value={name}>
              {description ? `${name}: ${description}` : name}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}

export function KeyChoice({ options, onChange, at }: Props) {
  if (options.csr.trim()) return <p class="hint">The key is that of your signing request.</p>;
  return (
    <>
      <Field label="Key" hint="Certwright makes it, keeps it sealed, and hands it to operators." error={at("keyType")}>
        {(tied) => (
          <select
            {...tied}
            value={options.keyType}
            onChange={(event) => onChange({ keyType: event.currentTarget.value as KeyType })}
          >
            {KEY_TYPES.map(([type, meaning]) => (
              <option key={type} value={type}>
                {meaning}
              </option>
            ))}
          </select>
        )}
      </Field>
      <CheckField
        label="Renewals use the same key again"
        isChecked={options.reuseKey}
        onCheck={(reuseKey) => onChange({ reuseKey })}
      />
    </>
  );
}

interface AdvancedProps extends Props {
  providers: OrderChoicesQuery["challengeProviders"];
  /** Other accounts, to go on with. */
  others: readonly { id: string; name: string }[];
}

export function Advanced({ options, onChange, at, providers, others }: AdvancedProps) {
  return (
    <>
      <Field label="How to prove the names" error={at("solver")}>
        {(tied) => (
          <select
            {...tied}
            value={options.solver}
            onChange={(event) => onChange({ solver: event.currentTarget.value })}
          >
            <option value="">Automatic: by the provider of each name's zone, else by you</option>
            <option value="manual">By you</option>
            {providers.map(({ id, name, zones }) => (
              <option key={id} value={id}>
                By {name} ({zones.length > 0 ? zones.join(", ") : "every name"})
              </option>
            ))}
          </select>
        )}
      </Field>
      {others.length > 0 && (
        <Field label="If the CA fails, go on with" error={at("fallbackAccountIds")}>
          {(tied) => (
            <select
              {...tied}
              value={options.fallback}
              onChange={(event) => onChange({ fallback: event.currentTarget.value })}
            >
              <option value="">No other account: wait for the CA</option>
              {others.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          )}
        </Field>
      )}
      <TextField
        label="Preferred chain"
        hint="Common name of an issuer: of several chains, the one with it is taken."
        name="preferredChain"
        value={options.preferredChain}
        onValue={(preferredChain) => onChange({ preferredChain })}
        error={at("preferredChain")}
      />
      <Field
        label="Your own signing request (CSR)"
        hint="PEM, for exactly the names above. Without it Certwright makes the key pair."
        error={at("csr")}
      >
        {(tied) => (
          <textarea
            {...tied}
            class="mono"
            rows={4}
            spellcheck={false}
            placeholder="-----BEGIN CERTIFICATE REQUEST-----"
            value={options.csr}
            onInput={(event) => onChange({ csr: event.currentTarget.value })}
          />
        )}
      </Field>
    </>
  );
}
