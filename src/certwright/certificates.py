"""Use cases of certificates: renew, revoke, export the private key."""

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

from certwright import events
from certwright.authorities import seal_context
from certwright.desk import Desk
from certwright.errors import Conflict
from certwright.model import Actor, Certificate, Order, RevocationReason, Role

if TYPE_CHECKING:
    from certwright.ca.client import Client

_TRIES = 10


class Certificates:
    """For operators. Raises `errors.CertwrightError` and `ca.problems.CaError`. Safe from any thread."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def renew(self, actor: Actor, id: str) -> Order:
        """The order that renews a certificate, made now where none is open yet; it goes on by itself.

        Raises Conflict for a certificate that is revoked or replaced, and where no account to order with is valid.
        """
        with self._desk.audit.attempt(actor, "renewCertificate", Role.OPERATOR, id):
            for _ in range(_TRIES):
                certificate = self._desk.store.certificate(actor.tenant, id)
                try:
                    order, is_new = self._desk.steps().tending.renew(actor, certificate)
                except Conflict:
                    if self._desk.store.certificate(actor.tenant, id).version != certificate.version:
                        continue  # A worker changed it meanwhile: it may have an order by now.
                    raise
                if is_new:
                    self._desk.wake(order)
                return order
            raise Conflict(f"certificate {id!r} keeps changing; try again")

    def revoke(
        self, actor: Actor, id: str, reason: RevocationReason, *, by_certificate_key: bool = False
    ) -> Certificate:
        """By the account's key or by the certificate's own, which needs no account (RFC 8555 §7.6).

        Raises Conflict for one that is revoked or expired, or whose key is not kept here.
        """
        from certwright import keys
        from certwright.ca.problems import CaProblem

        with self._desk.audit.attempt(actor, "revokeCertificate", Role.OPERATOR, id):
            certificate = self._desk.store.certificate(actor.tenant, id)
            now = self._desk.clock()
            if certificate.revoked_at or certificate.not_after <= now:
                raise Conflict(f"certificate {id!r} is {certificate.status(now)} already")
            client = self._own_client(certificate) if by_certificate_key else self._account_client(actor, certificate)
            try:
                client.revoke_certificate(keys.leaf_der(certificate.chain), reason)
            except CaProblem as error:
                if error.code != "alreadyRevoked":
                    raise
            revoked = replace(certificate, revoked_at=now, renewal=None, due=None)
            event = events.CertificateRevoked(subject_id=id, reason=reason.name)
            return self._desk.store.save(certificate, revoked, events=[event], actor=actor)

    def export_private_key(self, actor: Actor, certificate_id: str) -> str:
        """The PEM of a certificate's key. Raises Conflict where the key is not ours."""
        with self._desk.audit.attempt(actor, "exportPrivateKey", Role.OPERATOR, certificate_id):
            key = self._key(self._desk.store.certificate(actor.tenant, certificate_id)).decode()
            self._desk.store.commit(events=[events.PrivateKeyExported(subject_id=certificate_id)], actor=actor)
            return key

    def export_pkcs12(self, actor: Actor, certificate_id: str, password: str) -> str:
        """The key with the whole chain, as PKCS#12 in base64; audited as an export of the key.

        Raises Conflict where the key is not ours, and InvalidInput for a password that is too short or not ASCII.
        """
        from certwright import chains

        with self._desk.audit.attempt(actor, "exportPkcs12", Role.OPERATOR, certificate_id):
            certificate = self._desk.store.certificate(actor.tenant, certificate_id)
            chains.check_password(password)
            file = chains.pkcs12(certificate.chain, self._key(certificate), password, certificate.names[0])
            self._desk.store.commit(events=[events.PrivateKeyExported(subject_id=certificate_id)], actor=actor)
            return base64.b64encode(file).decode("ascii")

    def _key(self, certificate: Certificate) -> bytes:
        """PEM. Raises Conflict where the key is not ours."""
        if certificate.sealed_key is None:
            raise Conflict(f"the key of certificate {certificate.id!r} is not kept here: its CSR was brought along")
        return self._desk.sealer.open(certificate.sealed_key, seal_context(certificate.tenant, certificate.order_id))

    def _account_client(self, actor: Actor, certificate: Certificate) -> "Client":
        return self._desk.authorities.client(self._desk.valid_account(actor, certificate.account_id))

    def _own_client(self, certificate: Certificate) -> "Client":
        from certwright.ca.client import Client
        from certwright.ca.jws import load_key

        server = self._desk.store.account(certificate.tenant, certificate.account_id).acme_server
        return Client(self._desk.authorities.ca(server), load_key(self._key(certificate)))
