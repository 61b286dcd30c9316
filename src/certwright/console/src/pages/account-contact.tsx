import { useState } from "preact/hooks";
import { Field, TextField } from "../components/field";
import { Failure } from "../components/note";
import { refusal } from "../errors";
import { UpdateAccountDocument } from "../gql/graphql";
import { useAction } from "../query";

interface Props {
  account: { id: string; email: string; contact: readonly string[] };
  onDone: () => void;
  onCancel: () => void;
}

/** Changes the contacts at the CA, and then here. */
export function ContactForm({ account, onDone, onCancel }: Props) {
  const [email, setEmail] = useState(account.email);
  const [contact, setContact] = useState(account.contact.join("\n"));
  const update = useAction(UpdateAccountDocument);
  const refused = update.error && refusal(update.error);
  const submit = async (event: Event) => {
    event.preventDefault();
    const contacts = contact.split(/[\s,]+/).filter(Boolean);
    if (await update.run({ id: account.id, email: email.trim(), contact: contacts })) onDone();
  };
  return (
    <form onSubmit={submit} noValidate>
      <TextField
        label="E-mail"
        type="email"
        name="email"
        autocomplete="email"
        isRequired
        value={email}
        onValue={setEmail}
        error={refused?.field === "email" ? refused.message : null}
      />
      <Field
        label="Further contacts (optional)"
        hint="One per line, such as mailto:ops@example.com."
        error={refused?.field === "contact" ? refused.message : null}
      >
        {(tied) => (
          <textarea {...tied} rows={2} value={contact} onInput={(event) => setContact(event.currentTarget.value)} />
        )}
      </Field>
      {update.error && !refused?.field && <Failure error={update.error} />}
      <div class="actions">
        <button type="submit" class="button primary" disabled={update.isBusy}>
          Save
        </button>
        <button type="button" class="button" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}
