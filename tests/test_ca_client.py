import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from josepy.b64 import b64decode, b64encode
from josepy.jwk import JWKEC

from certwright.ca.client import Ca, Client
from certwright.ca.jws import external_account_binding, load_key, thumbprint
from certwright.ca.problems import MALFORMED_ANSWER, CaProblem, CaUnavailable
from certwright.ca.resources import ChallengeResource
from certwright.challenges.preparation import dns01_value, key_authorization
from certwright.errors import InvalidInput
from tests.support.stub_ca import Answer, StubCa, acme_problem

KEY = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DNS = [("dns", "a.example.com")]


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubCa]:
    with StubCa(tmp_path / "stub") as stub:
        yield stub


@pytest.fixture
def ca(stub: StubCa, clock: Clock) -> Iterator[Ca]:
    ca = Ca(stub.directory_url, clock, ca_bundle=stub.ca_bundle)
    yield ca
    ca.close()


@pytest.fixture
def client(ca: Ca) -> Client:
    client = Client(ca, KEY)
    client.new_account(["mailto:a@example.com"], True)
    return client


def pem(key: PrivateKeyTypes, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def csr(*names: str) -> bytes:
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.add_extension(alternatives, critical=False).sign(
        ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()
    )
    return request.public_bytes(serialization.Encoding.DER)


def order_document(**changes: Any) -> dict[str, Any]:
    document = {"status": "pending", "authorizations": [], "finalize": "https://ca.example/f", **changes}
    return {name: value for name, value in document.items() if value is not ...}


def test_the_directory_is_read_whole(stub: StubCa, ca: Ca) -> None:
    stub.meta = {
        "termsOfService": "https://ca.example/terms",
        "website": "https://ca.example",
        "caaIdentities": ["ca.example", 7],
        "externalAccountRequired": True,
        "profiles": {"classic": "90 days", "odd": None},
    }
    directory = ca.directory()
    assert (directory.new_order, directory.revoke_cert) == (f"{stub.base_url}/newOrder", f"{stub.base_url}/revokeCert")
    assert (directory.terms_of_service, directory.website) == ("https://ca.example/terms", "https://ca.example")
    assert (directory.caa_identities, directory.profiles) == (("ca.example",), {"classic": "90 days"})
    assert directory.external_account_required
    assert directory.renewal_info is None


@pytest.mark.parametrize("meta", [None, "none", [], {"profiles": [], "caaIdentities": "x", "termsOfService": 1}])
def test_odd_metadata_does_not_matter(stub: StubCa, ca: Ca, meta: Any) -> None:
    stub.meta = meta
    assert ca.directory().terms_of_service is None


def test_the_directory_is_asked_for_once_an_hour(stub: StubCa, ca: Ca, clock: Clock) -> None:
    ca.directory()
    clock.now += timedelta(minutes=59)
    ca.directory()
    assert len(stub.requests) == 1
    clock.now += timedelta(minutes=1)
    ca.directory()
    assert len(stub.requests) == 2


def test_a_directory_that_failed_is_asked_for_again(stub: StubCa, ca: Ca) -> None:
    stub.fail_next("directory", status=503)
    with pytest.raises(CaProblem):
        ca.directory()
    assert ca.directory().new_order


def test_a_new_account_is_told_from_one_that_exists(stub: StubCa, ca: Ca) -> None:
    first = Client(ca, KEY).new_account(["mailto:a@example.com"], True)
    again = Client(ca, KEY).new_account([], True, only_return_existing=True)
    assert (first.created, again.created) == (True, False)
    assert (first.url, first.status, first.contact) == (again.url, "valid", ("mailto:a@example.com",))
    assert [r.payload for r in stub.requests if r.payload] == [
        {"contact": ["mailto:a@example.com"], "termsOfServiceAgreed": True},
        {"termsOfServiceAgreed": True, "onlyReturnExisting": True},
    ]


def test_a_client_with_an_account_asks_for_it_by_its_key(client: Client) -> None:
    url = client.account_url
    assert client.new_account([], True).url == url == client.account_url


def test_only_return_existing_makes_no_account(ca: Ca) -> None:
    with pytest.raises(CaProblem) as caught:
        Client(ca, KEY).new_account([], False, only_return_existing=True)
    assert caught.value.code == "accountDoesNotExist"


def test_an_account_without_a_status_is_valid(stub: StubCa, ca: Ca) -> None:
    stub.answer_next("newAccount", Answer(200, {}, {"Location": "/account/9"}))
    account = Client(ca, KEY).new_account([], True)
    assert (account.status, account.url) == ("valid", f"{stub.base_url}/account/9")


def test_an_account_is_updated_and_deactivated(stub: StubCa, client: Client) -> None:
    assert client.update_account([]).contact == ()
    assert client.deactivate_account().status == "deactivated"
    assert [r.payload for r in stub.requests[-2:]] == [{"contact": []}, {"status": "deactivated"}]


def test_post_as_get_has_an_empty_payload_and_a_response_an_empty_object(stub: StubCa, client: Client) -> None:
    order = client.new_order(DNS)
    challenge = client.fetch_authorization(order.authorizations[0]).challenges[0]
    client.respond_challenge(challenge.url)
    assert [r.payload for r in stub.requests[-2:]] == [None, {}]
    assert (stub.requests[-2].protected or {})["kid"] == client.account_url


def test_the_external_account_binding_is_the_inner_jws_of_the_rfc(stub: StubCa, ca: Ca) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    Client(ca, KEY).new_account([], True, "kid-1", b64encode(secret).decode() + "=")
    binding = stub.requests[-1].payload["externalAccountBinding"]
    protected, payload = json.loads(b64decode(binding["protected"])), json.loads(b64decode(binding["payload"]))
    assert protected == {"alg": "HS256", "kid": "kid-1", "url": f"{stub.base_url}/newAccount"}
    assert payload == KEY.public_key().to_json()
    signed = f"{binding['protected']}.{binding['payload']}".encode()
    assert b64decode(binding["signature"]) == hmac.digest(secret, signed, "sha256")


@pytest.mark.parametrize("hmac_key", ["", "not base64url!", "AAAAA", "abc+/def", "schlüssel", None])
def test_a_bad_hmac_key_is_refused_by_name_and_not_shown(hmac_key: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        external_account_binding(KEY, "kid-1", hmac_key, "https://ca.example/newAccount")
    assert caught.value.field == "externalAccountBinding.hmacKey"
    assert not hmac_key or hmac_key not in str(caught.value)


def test_a_binding_without_its_key_id_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        external_account_binding(KEY, None, "AAAA", "https://ca.example/newAccount")
    assert caught.value.field == "externalAccountBinding.keyId"


def test_an_order_carries_all_that_was_asked_for(stub: StubCa, client: Client) -> None:
    order = client.new_order(DNS, "shortlived", "aki.serial", NOON, NOON + timedelta(days=3))
    assert stub.requests[-1].payload == {
        "identifiers": [{"type": "dns", "value": "a.example.com"}],
        "profile": "shortlived",
        "replaces": "aki.serial",
        "notBefore": "2026-03-01T12:00:00Z",
        "notAfter": "2026-03-04T12:00:00Z",
    }
    assert (order.status, order.identifiers, order.url) == ("pending", (("dns", "a.example.com"),), order.url)
    assert order.expires
    assert order.url.startswith(stub.base_url + "/order/")


def test_a_plain_order_asks_for_names_alone(stub: StubCa, client: Client) -> None:
    client.new_order(DNS)
    assert set(stub.requests[-1].payload) == {"identifiers"}


@pytest.mark.parametrize(
    ("code", "status"),
    [("alreadyReplaced", 409), ("invalidProfile", 400), ("rateLimited", 429), ("rejectedIdentifier", 403)],
)
def test_a_refused_order_says_why_and_when_to_try_again(stub: StubCa, client: Client, code: str, status: int) -> None:
    stub.fail_next("newOrder", code, status=status, headers={"Retry-After": "Sun, 01 Mar 2026 12:01:00 GMT"})
    with pytest.raises(CaProblem) as caught:
        client.new_order(DNS)
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.retry_after == NOON + timedelta(minutes=1)


def test_changed_terms_of_service_are_named(stub: StubCa, client: Client) -> None:
    link = {"Link": f'<{stub.base_url}/terms/2>;rel="terms-of-service"'}
    stub.fail_next("newOrder", "userActionRequired", status=403, headers=link)
    with pytest.raises(CaProblem) as caught:
        client.new_order(DNS)
    assert caught.value.terms_of_service == f"{stub.base_url}/terms/2"


@pytest.mark.parametrize(
    ("document", "headers", "field"),
    [
        (order_document(authorizations=...), {"Location": "/order/1"}, "authorizations"),
        (order_document(authorizations="none"), {"Location": "/order/1"}, "authorizations"),
        (order_document(finalize=...), {"Location": "/order/1"}, "finalize"),
        (order_document(status=7), {"Location": "/order/1"}, "status"),
        (order_document(), {}, "Location"),
        (order_document(), {"Location": "//[x"}, "Location"),
    ],
)
def test_an_order_without_what_it_must_have_is_garbage(
    stub: StubCa, client: Client, document: dict[str, Any], headers: dict[str, str], field: str
) -> None:
    stub.answer_next("newOrder", Answer(201, document, headers))
    with pytest.raises(
        CaUnavailable, match=f"{stub.base_url}/newOrder answered garbage: no usable `{field}`"
    ) as caught:
        client.new_order(DNS)
    assert caught.value.problem.type == MALFORMED_ANSWER


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_an_answer_that_is_no_object_is_garbage(stub: StubCa, client: Client, body: bytes) -> None:
    stub.garble_next("order", body)
    with pytest.raises(CaUnavailable, match="no JSON object"):
        client.fetch_order(f"{stub.base_url}/order/1")


@pytest.mark.parametrize(
    ("expires", "read"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01t12:00:00.123456789z", NOON + timedelta(microseconds=123456)),
        ("2026-03-01T13:30:00.5+01:30", NOON + timedelta(seconds=0.5)),
        ("2026-03-01T12:00:00", NOON),
        ("0001-01-01T00:00:00+23:00", None),
        ("tomorrow", None),
        (1772366400, None),
        (None, None),
    ],
)
def test_times_are_read_as_utc(stub: StubCa, client: Client, expires: Any, read: datetime | None) -> None:
    stub.answer_next("order", Answer(body=order_document(expires=expires)))
    order = client.fetch_order(f"{stub.base_url}/order/1")
    assert order.expires == read
    assert read is None or order.expires.utcoffset() == timedelta()  # type: ignore[union-attr]  # read says it is none


def test_odd_optional_fields_of_an_order_do_not_matter(stub: StubCa, client: Client) -> None:
    odd = {"error": "x", "certificate": {}, "expires": [], "identifiers": [1, {"value": "b.example"}], "more": 1}
    stub.answer_next("order", Answer(body=order_document(**odd), headers={"Retry-After": "soon"}))
    order = client.fetch_order(f"{stub.base_url}/order/1")
    assert (order.error, order.certificate, order.retry_after) == (None, None, None)
    assert order.identifiers == (("dns", "b.example"),)


def test_when_to_poll_again_is_known(stub: StubCa, client: Client) -> None:
    order = client.new_order(DNS)
    stub.poll_headers = {"Retry-After": "7"}
    in_seven_seconds = NOON + timedelta(seconds=7)
    assert client.fetch_order(order.url).retry_after == in_seven_seconds
    assert client.fetch_authorization(order.authorizations[0]).retry_after == in_seven_seconds


def test_an_order_that_the_ca_lost_is_a_problem(stub: StubCa, client: Client) -> None:
    order = client.new_order(DNS)
    stub.lose_order(order.url)
    with pytest.raises(CaProblem) as caught:
        client.fetch_order(order.url)
    assert (caught.value.status, caught.value.is_transient) == (404, False)


def test_a_wildcard_authorization_names_its_domain_without_the_star(client: Client) -> None:
    authorization = client.fetch_authorization(client.new_order([("dns", "*.example.com")]).authorizations[0])
    assert (authorization.identifier, authorization.wildcard, authorization.status) == ("example.com", True, "pending")
    assert authorization.expires


def test_unknown_and_odd_challenges_are_shown_or_passed_over(stub: StubCa, client: Client) -> None:
    stub.challenge_types = ()
    stub.extra_challenges = [
        {"type": "dns-persist-01", "url": "https://x/1", "status": "pending", "issuer-domain-names": ["ca.example"]},
        {"type": "quantum-01", "url": "https://x/2", "status": "thinking", "token": "abc", "error": {"type": "t"}},
        {"type": "http-01", "url": "https://x/3", "token": "../../etc", "validated": "2026-03-01T12:00:00Z"},
        {"type": "http-01", "url": "https://x/4", "token": 7, "validated": "never", "error": "no"},
        {"type": "http-01"},
        {"url": "https://x/5"},
        "http-01",
        None,
    ]
    challenges = client.fetch_authorization(client.new_order(DNS).authorizations[0]).challenges
    assert [(c.type, c.status, c.token) for c in challenges] == [
        ("dns-persist-01", "pending", None),
        ("quantum-01", "thinking", "abc"),
        ("http-01", "pending", None),
        ("http-01", "pending", None),
    ]
    assert challenges[1].error
    assert [c.validated for c in challenges] == [None, None, NOON, None]


def test_an_authorization_may_have_no_challenge_at_all(stub: StubCa, client: Client) -> None:
    document = {"identifier": {"type": "dns", "value": "a.example.com"}, "status": "valid"}
    stub.answer_next("authorization", Answer(body=document))
    authorization = client.fetch_authorization(f"{stub.base_url}/authorization/1")
    assert (authorization.status, authorization.challenges) == ("valid", ())


@pytest.mark.parametrize(
    ("document", "field"),
    [({"status": "valid"}, "identifier"), ({"identifier": "x", "status": "valid"}, "identifier"), ({}, "identifier")],
)
def test_an_authorization_of_nobody_is_garbage(
    stub: StubCa, client: Client, document: dict[str, Any], field: str
) -> None:
    stub.answer_next("authorization", Answer(body=document))
    with pytest.raises(CaUnavailable, match=field):
        client.fetch_authorization(f"{stub.base_url}/authorization/1")


def test_a_failed_challenge_says_why(stub: StubCa, client: Client) -> None:
    stub.validation = "invalid"
    stub.validation_error = acme_problem("dns", "no TXT record", subproblems=[{"type": "x"}])
    order = client.new_order(DNS)
    responded = client.respond_challenge(client.fetch_authorization(order.authorizations[0]).challenges[0].url)
    authorization = client.fetch_authorization(order.authorizations[0])
    assert (responded.status, authorization.status) == ("processing", "invalid")
    assert authorization.challenges[0].error
    assert authorization.challenges[0].error.document == stub.validation_error
    assert client.fetch_order(order.url).status == "invalid"


def test_a_response_to_a_challenge_may_be_answered_sparsely(stub: StubCa, client: Client) -> None:
    url = f"{stub.base_url}/challenge/1"
    stub.answer_next("challenge", Answer(body={"type": "dns-01"}))
    assert client.respond_challenge(url) == ChallengeResource("dns-01", url, "pending")


def test_an_authorization_is_deactivated(client: Client) -> None:
    order = client.new_order(DNS)
    assert client.deactivate_authorization(order.authorizations[0]).status == "deactivated"


@pytest.fixture
def issued(client: Client) -> Callable[..., str]:
    """Takes an order to its certificate's URL."""

    def issue(*names: str) -> str:
        order = client.new_order([("dns", name) for name in names])
        for url in order.authorizations:
            client.respond_challenge(client.fetch_authorization(url).challenges[0].url)
        return client.finalize(order.finalize, csr(*names)).certificate or ""

    return issue


def test_finalize_sends_the_csr_and_knows_its_order(stub: StubCa, client: Client) -> None:
    order = client.new_order(DNS)
    client.respond_challenge(client.fetch_authorization(order.authorizations[0]).challenges[0].url)
    stub.processing_polls = 1
    finalized = client.finalize(order.finalize, csr("a.example.com"), order_url=order.url)
    assert (finalized.status, finalized.url, finalized.certificate) == ("processing", order.url, None)
    assert [client.fetch_order(order.url).status for _ in range(2)] == ["processing", "valid"]


def test_finalizing_too_early_is_order_not_ready(client: Client) -> None:
    order = client.new_order(DNS)
    with pytest.raises(CaProblem) as caught:
        client.finalize(order.finalize, csr("a.example.com"))
    assert caught.value.code == "orderNotReady"


def test_an_order_of_unknown_url_has_that_of_its_location(stub: StubCa, client: Client) -> None:
    stub.answer_next("finalize", Answer(body=order_document(), headers={"Location": "/order/5"}))
    assert client.finalize(f"{stub.base_url}/finalize/order/5", b"").url == f"{stub.base_url}/order/5"


def test_a_given_order_url_stands_in_for_the_location(stub: StubCa, client: Client) -> None:
    url = f"{stub.base_url}/finalize/order/5"
    for _ in range(2):
        stub.answer_next("finalize", Answer(body=order_document()))
    assert client.finalize(url, b"", order_url=f"{stub.base_url}/order/5").url == f"{stub.base_url}/order/5"
    with pytest.raises(CaUnavailable, match="Location"):
        client.finalize(url, b"")


def test_a_chain_comes_with_its_alternates(stub: StubCa, client: Client, issued: Callable[..., str]) -> None:
    stub.alternates = 2
    url = issued("a.example.com", "b.example.com")
    certificate = client.download_certificate(url)
    assert stub.requests[-1].headers["Accept"] == "application/pem-certificate-chain"
    leaf, root = x509.load_pem_x509_certificates(certificate.chain_pem.encode())
    leaf.verify_directly_issued_by(root)
    assert certificate.alternates == (f"{url}/alternate/1", f"{url}/alternate/2")
    assert client.download_certificate(certificate.alternates[1]).chain_pem != certificate.chain_pem


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\xfe", b"<html>-----BEGIN CERTIFICATE-----"])
def test_a_chain_that_is_no_pem_is_garbage(stub: StubCa, client: Client, body: bytes) -> None:
    stub.garble_next("certificate", body)
    with pytest.raises(CaUnavailable, match="no PEM"):
        client.download_certificate(f"{stub.base_url}/certificate/1")


def test_a_certificate_for_other_names_or_keys_is_handed_over_unjudged(
    stub: StubCa, client: Client, issued: Callable[..., str]
) -> None:
    stub.certificate_names = ["evil.example"]
    stub.certificate_key = ec.generate_private_key(ec.SECP256R1()).public_key()
    chain = client.download_certificate(issued("a.example.com")).chain_pem
    leaf = x509.load_pem_x509_certificate(chain.encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["evil.example"]
    assert leaf.public_key() == stub.certificate_key


def test_what_was_done_though_nobody_heard_of_it_is_found_again(stub: StubCa, ca: Ca) -> None:
    stub.fail_next("newAccount", status=503, performs=True)
    with pytest.raises(CaProblem):
        Client(ca, KEY).new_account([], True)
    assert not Client(ca, KEY).new_account([], True).created


def test_a_certificate_is_revoked_once(stub: StubCa, client: Client, issued: Callable[..., str]) -> None:
    chain = client.download_certificate(issued("a.example.com")).chain_pem
    der = x509.load_pem_x509_certificate(chain.encode()).public_bytes(serialization.Encoding.DER)
    client.revoke_certificate(der, 0)
    assert stub.revocations == [{"certificate": b64encode(der).decode(), "reason": 0}]
    with pytest.raises(CaProblem) as caught:
        client.revoke_certificate(der)
    assert caught.value.code == "alreadyRevoked"


def test_every_method_is_one_request(stub: StubCa, client: Client) -> None:
    before = len(stub.requests)
    order = client.new_order(DNS)
    authorization = client.fetch_authorization(order.authorizations[0])
    client.respond_challenge(authorization.challenges[1].url)
    client.fetch_order(order.url)
    assert stub.operations()[before:] == ["newOrder", "authorization", "challenge", "order"]


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-256", "P-384", "RSA"],
)
def test_account_keys_are_loaded(key: PrivateKeyTypes) -> None:
    assert load_key(pem(key)).public_key().to_json()["kty"] in ("EC", "RSA")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"secret",
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP521R1())),
        pem(ec.generate_private_key(ec.SECP256R1()), b"password"),
    ],
    ids=["nothing", "no PEM", "Ed25519", "P-521", "encrypted"],
)
def test_other_keys_are_refused_without_being_shown(bad: bytes) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_key(bad)
    assert "secret" not in str(caught.value)


def test_key_authorization_and_txt_value_are_those_of_the_rfc() -> None:
    # The key and thumbprint of RFC 7638 §3.1 are RSA; for EC the definition is spelt out here.
    public = KEY.public_key().to_json()
    canonical = json.dumps({name: public[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    expected = b64encode(hashlib.sha256(canonical.encode()).digest()).decode()
    assert thumbprint(KEY) == expected
    assert key_authorization("token", thumbprint(KEY)) == f"token.{expected}"
    assert dns01_value("token.thumb") == b64encode(hashlib.sha256(b"token.thumb").digest()).decode()
