import { useState } from "preact/hooks";
import { useAnnounce } from "../components/announce";
import { Confirm } from "../components/confirm";
import { CheckField, Field } from "../components/field";
import { Failure } from "../components/note";
import { some } from "../format";
import { RenewCertificateDocument, type RevocationReason, RevokeCertificateDocument } from "../gql/graphql";
import { useAction } from "../query";
import { useMay } from "../viewer";

interface Props {
  certificate: {
    id: string;
    names: readonly string[];
    status: string;
    notAfter: string;
    hasPrivateKey: boolean;
    renewal?: { order?: object | null } | null;
  };
  onChange: () => void;
}

/** Renew and revoke: for operators, and while there is something to renew or revoke. */
export function CertificateActions({ certificate, onChange }: Props) {
  const [isAsking, setAsking] = useState(false);
  const mayAct = useMay("OPERATOR");
  const { status, notAfter } = certificate;
  const isOver = status === "REVOKED" || Date.parse(notAfter) <= Date.now();
  if (!mayAct) return null;
  return (
    <>
      {!isOver && (
        <button type="button" class="button danger" onClick={() => setAsking(true)}>
          Revoke
        </button>
      )}
      {(status === "VALID" || status === "EXPIRED") && <Renew certificate={certificate} onChange={onChange} />}
      {isAsking && <Revoke certificate={certificate} onChange={onChange} onClose={() => setAsking(false)} />}
    </>
  );
}

function Renew({ certificate: { id, renewal }, onChange }: Props) {
  const announce = useAnnounce();
  const renew = useAction(RenewCertificateDocument);
  const isRenewing = Boolean(renewal?.order);
  const run = async () => {
    if (await renew.run({ id })) {
      announce("An order renews the certificate now");
      onChange();
    }
  };
  return (
    <>
      <button type="button" class="button primary" disabled={renew.isBusy || isRenewing} onClick={run}>
        {isRenewing ? "Being renewed…" : "Renew now"}
      </button>
      {renew.error && <Failure error={renew.error} />}
    </>
  );
}

const REASONS: Record<RevocationReason, string> = {
  UNSPECIFIED: "No reason is given",
  KEY_COMPROMISE: "The private key is known to others, or may be",
  SUPERSEDED: "Another certificate took its place",
  CESSATION_OF_OPERATION: "Its names are not in use any more",
};

function Revoke({ certificate, onChange, onClose }: Props & { onClose: () => void }) {
  const [reason, setReason] = useState<RevocationReason>("UNSPECIFIED");
  const [byCertificateKey, setByKey] = useState(false);
  const revoke = useAction(RevokeCertificateDocument);
  const run = async () => {
    if (await revoke.run({ id: certificate.id, reason, byCertificateKey })) {
      onClose();
      onChange();
    }
  };
  return (
    <Confirm
      title={`Revoke ${some(certificate.names)}?`}
      verb="Revoke for ever"
      isBusy={revoke.isBusy}
      onConfirm={run}
      onClose={onClose}
    >
      <p>Clients that ask the CA refuse it from then on, and that cannot be undone. It is not renewed any more.</p>
      <Field label="Reason">
        {(tied) => (
          <select
            {...tied}
            value={reason}
            onChange={(event) => setReason(event.currentTarget.value as RevocationReason)}
          >
            {Object.entries(REASONS).map(([value, text]) => (
              <option key={value} value={value}>
                {text}
              </option>
            ))}
          </select>
        )}
      </Field>
      {certificate.hasPrivateKey && (
        <CheckField
          label="Sign with the certificate's own key: the account is not needed then"
          isChecked={byCertificateKey}
          onCheck={setByKey}
        />
      )}
      {revoke.error && <Failure error={revoke.error} />}
    </Confirm>
  );
}
