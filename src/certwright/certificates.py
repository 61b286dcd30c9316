"""Use cases of certificates: revoke, export the private key."""

from dataclasses import replace

from certwright import events
from certwright.authorities import seal_context
from certwright.desk import Desk
from certwright.errors import Conflict
from certwright.model import Actor, Certificate, RevocationReason, Role


class Certificates:
    """For operators. Raises `errors.CertwrightError` and `ca.problems.CaError`. Safe from any thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def revoke(self, actor: Actor, id: str, reason: RevocationReason) -> Certificate:
        """By the account's key (RFC 8555 §7.6). Raises Conflict for one that is revoked or expired."""
        from certwright import keys
        from certwright.ca.problems import CaProblem

        with self._desk.audit.attempt(actor, "revokeCertificate", Role.OPERATOR, id):
            certificate = self._desk.store.certificate(actor.tenant, id)
            now = self._desk.clock()
            if certificate.revoked_at or certificate.not_after <= now:
                raise Conflict(f"certificate {id!r} is {certificate.status(now)} already")
            account = self._desk.valid_account(actor, certificate.account_id)
            try:
                self._desk.authorities.client(account).revoke_certificate(keys.leaf_der(certificate.chain), reason)
            except CaProblem as error:
                if error.code != "alreadyRevoked":
                    raise
            revoked = replace(certificate, revoked_at=now)
            event = events.CertificateRevoked(subject_id=id, reason=reason.name)
            return self._desk.store.save(certificate, revoked, events=[event], actor=actor)

    def export_private_key(self, actor: Actor, certificate_id: str) -> str:
        """The PEM of a certificate's key. Raises Conflict where the key is not ours."""
        with self._desk.audit.attempt(actor, "exportPrivateKey", Role.OPERATOR, certificate_id):
            certificate = self._desk.store.certificate(actor.tenant, certificate_id)
            if certificate.sealed_key is None:
                raise Conflict(f"the key of certificate {certificate_id!r} is not kept here: its CSR was brought along")
            context = seal_context(certificate.tenant, certificate.order_id)
            key = self._desk.sealer.open(certificate.sealed_key, context).decode()
            self._desk.store.commit(events=[events.PrivateKeyExported(subject_id=certificate_id)], actor=actor)
            return key
