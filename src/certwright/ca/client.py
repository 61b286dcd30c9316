"""An ACME client (RFC 8555) whose every method is one request: it never sleeps, polls or decides what comes next.

`Ca` is one directory with its connections; `Client` is one account there.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests
from josepy.b64 import b64encode
from josepy.jwk import JWK

from certwright.ca.jws import external_account_binding, key_change, thumbprint
from certwright.ca.network import Network, Signer, compact_json
from certwright.ca.problems import links, malformed_answer, not_offered
from certwright.ca.resources import (
    AccountResource,
    Answer,
    AuthorizationResource,
    CertificateResource,
    ChallengeResource,
    Directory,
    Identifier,
    OrderResource,
    RenewalInfo,
    read_account,
    read_authorization,
    read_challenge,
    read_directory,
    read_order,
    read_renewal_info,
)

DIRECTORY_TTL = timedelta(hours=1)
PEM_CHAIN = "application/pem-certificate-chain"


class Ca:
    """One ACME server, for all accounts there and safe under threads. `clock` gives the time in UTC."""

    def __init__(
        self,
        directory_url: str,
        clock: Callable[[], datetime],
        *,
        ca_bundle: Path | None = None,
        connect_timeout: float = 5,
        read_timeout: float = 30,
        total_timeout: float = 60,
        public_only: bool = False,
    ) -> None:
        self.directory_url = directory_url
        self.clock = clock
        self.network = Network(
            directory_url,
            clock,
            ca_bundle=ca_bundle,
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            total_timeout=total_timeout,
            public_only=public_only,
        )
        self._cached: tuple[Directory, datetime] | None = None

    def directory(self) -> Directory:
        """The directory, at most an hour old. Raises CaProblem, CaUnavailable."""
        now = self.clock()
        cached = self._cached
        if cached is None or cached[1] <= now:
            answer = Answer(self.network.get(self.directory_url), self.directory_url, now)
            cached = self._cached = (read_directory(answer), now + DIRECTORY_TTL)
        return cached[0]

    def renewal_info(self, cert_id: str) -> RenewalInfo | None:
        """When the CA wants a certificate to be renewed (RFC 9773 §4.1), None where it never says so.

        `cert_id` is ARI's id of the certificate. Raises CaProblem, CaUnavailable.
        """
        base = self.directory().renewal_info
        if base is None:
            return None
        url = f"{base.rstrip('/')}/{cert_id}"
        return read_renewal_info(Answer(self.network.get(url), url, self.clock()))

    def close(self) -> None:
        self.network.close()


class Client:
    """One account at one CA; cheap to make. `account_url` is None until new_account has found it.

    Every method sends one request (and repeats it after badNonce) and raises CaProblem or CaUnavailable.
    """

    def __init__(self, ca: Ca, key: JWK, account_url: str | None = None) -> None:
        self._ca = ca
        self._key = key
        self.account_url = account_url

    @property
    def key_thumbprint(self) -> str:
        """RFC 7638, SHA-256, base64url."""
        return thumbprint(self._key)

    def new_account(
        self,
        contact: Sequence[str],
        terms_of_service_agreed: bool,
        eab_kid: str | None = None,
        eab_hmac_key: str | None = None,
        only_return_existing: bool = False,
    ) -> AccountResource:
        """Registers the key, or finds its account (RFC 8555 §7.3); the client acts as that account from then on.

        `eab_hmac_key` is base64url as the CA shows it; InvalidInput where it is none.
        """
        url = self._ca.directory().new_account
        payload = _given(
            contact=list(contact) or None,
            termsOfServiceAgreed=terms_of_service_agreed or None,
            onlyReturnExisting=only_return_existing or None,
        )
        if eab_kid is not None or eab_hmac_key is not None:
            payload["externalAccountBinding"] = external_account_binding(self._key, eab_kid, eab_hmac_key, url)
        self.account_url = None
        answer = self._post(url, payload)
        account = read_account(answer, answer.location)
        self.account_url = account.url
        return account

    def fetch_account(self) -> AccountResource:
        return self._update_account(None)

    def update_account(self, contact: Sequence[str]) -> AccountResource:
        """Replaces the contacts (RFC 8555 §7.3.2)."""
        return self._update_account({"contact": list(contact)})

    def change_key(self, successor: "Client") -> None:
        """RFC 8555 §7.3.5: the account has the key of `successor` from then on."""
        directory, account_url = self._ca.directory(), self._known_url()
        if directory.key_change is None:
            raise not_offered("keyChange")
        inner = key_change(self._key, successor._key, account_url, directory.key_change)
        self._send(directory.key_change, compact_json(inner))

    def deactivate_account(self) -> AccountResource:
        """For good: no request of this account is answered afterwards (RFC 8555 §7.3.6)."""
        return self._update_account({"status": "deactivated"})

    def _update_account(self, payload: dict[str, Any] | None) -> AccountResource:
        url = self._known_url()
        return read_account(self._post(url, payload), url)

    def _known_url(self) -> str:
        if self.account_url is None:
            raise ValueError("the account has no URL before new_account")
        return self.account_url

    def new_order(
        self,
        identifiers: Sequence[Identifier],
        profile: str | None = None,
        replaces: str | None = None,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> OrderResource:
        """RFC 8555 §7.4. `replaces` is an ARI certificate id (RFC 9773 §5); a second such order is alreadyReplaced."""
        payload = _given(
            identifiers=[{"type": kind, "value": value} for kind, value in identifiers],
            profile=profile,
            replaces=replaces,
            notBefore=_rfc3339(not_before),
            notAfter=_rfc3339(not_after),
        )
        answer = self._post(self._ca.directory().new_order, payload)
        return read_order(answer, answer.location)

    def offers(self, profile: str) -> bool:
        return profile in self._ca.directory().profiles

    def fetch_order(self, url: str) -> OrderResource:
        return read_order(self._post(url), url)

    def fetch_authorization(self, url: str) -> AuthorizationResource:
        return read_authorization(self._post(url))

    def deactivate_authorization(self, url: str) -> AuthorizationResource:
        """Gives up the right to issue by it (RFC 8555 §7.5.2)."""
        return read_authorization(self._post(url, {"status": "deactivated"}))

    def respond_challenge(self, url: str) -> ChallengeResource:
        """Asks the CA to validate (RFC 8555 §7.5.1)."""
        answer = self._post(url, {})
        return answer.mandatory("type", read_challenge({"url": url} | answer.document))

    def finalize(self, finalize_url: str, csr_der: bytes, *, order_url: str | None = None) -> OrderResource:
        """RFC 8555 §7.4. Where `order_url` is not given, the order's URL is the answer's Location."""
        answer = self._post(finalize_url, {"csr": b64encode(csr_der).decode()})
        return read_order(answer, order_url or answer.location)

    def download_certificate(self, url: str) -> CertificateResource:
        """The chain that the order's `certificate` names, or one of its alternates."""
        response = self._send(url, b"", PEM_CHAIN)
        chain = response.content.decode("ascii", errors="replace")
        if not chain.lstrip().startswith("-----BEGIN CERTIFICATE-----"):
            raise malformed_answer(url, "no PEM certificate chain")
        return CertificateResource(chain, tuple(links(response.headers, "alternate", url)))

    def revoke_certificate(self, cert_der: bytes, reason: int | None = None) -> None:
        """RFC 8555 §7.6, as the account that ordered it; or signed with the certificate's own key, where that is this
        client's key and it has no account URL. `reason` as in RFC 5280 §5.3.1."""
        url = self._ca.directory().revoke_cert
        if url is None:
            raise not_offered("revokeCert")
        self._send(url, compact_json({"certificate": b64encode(cert_der).decode()} | _given(reason=reason)))

    def _post(self, url: str, payload: dict[str, Any] | None = None) -> "Answer":
        """A POST with `payload`, or a POST-as-GET without (RFC 8555 §6.3); the answer must be a JSON object."""
        response = self._send(url, b"" if payload is None else compact_json(payload))
        return Answer(response, url, self._ca.clock())

    def _send(self, url: str, payload: bytes, accept: str = "application/json") -> requests.Response:
        signer = Signer(self._key, self.account_url)
        return self._ca.network.post(url, payload, signer, self._ca.directory().new_nonce, accept)


def _rfc3339(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
