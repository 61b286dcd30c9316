import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from certwright.errors import CertwrightError, InvalidInput, Unauthenticated, Unavailable
from certwright.model import Actor, Role, Session
from certwright.oidc import MAX_RESPONSE, Oidc, fetch
from tests.support.issuer import NOON, Issuer, PrivateKey, base64url, jwk

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
EC384_KEY = ec.generate_private_key(ec.SECP384R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    issuer.keys = [jwk(RSA_KEY)]
    yield issuer
    issuer.gate.set()
    issuer.stop()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def oidc(issuer: Issuer, clock: Clock) -> Oidc:
    return make_oidc(issuer, clock)


def make_oidc(issuer: Issuer, clock: Clock) -> Oidc:
    return Oidc(
        issuer.url, "certwright", tenant_claim="tenant", role_claim="role", name_claim="email", clock=clock, fetch=fetch
    )


def oidc_that_reads(answer: Callable[[str], bytes], issuer: str = "https://issuer.example") -> Oidc:
    return Oidc(
        issuer, "certwright", tenant_claim="tenant", role_claim="role", name_claim="email", clock=Clock(), fetch=answer
    )


def refused(oidc: Oidc, token: str) -> str:
    with pytest.raises(Unauthenticated) as caught:
        oidc.authenticate(token)
    assert token not in caught.value.message or not token
    assert caught.value.__cause__ is None
    return caught.value.message


def test_token_becomes_a_session_that_ends_with_it(issuer: Issuer, oidc: Oidc) -> None:
    token = issuer.token(RSA_KEY, "RS256", email="jo@example.com")
    expected = Session(Actor("jo@example.com", Role.OPERATOR, "acme"), NOON + timedelta(minutes=10))
    assert oidc.authenticate(token) == expected


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA_KEY, "RS256"),
        (RSA_KEY, "RS384"),
        (RSA_KEY, "RS512"),
        (RSA_KEY, "PS256"),
        (EC_KEY, "ES256"),
        (EC384_KEY, "ES384"),
        (ED_KEY, "EdDSA"),
    ],
)
def test_every_accepted_algorithm_works(issuer: Issuer, oidc: Oidc, key: PrivateKey, algorithm: str) -> None:
    issuer.keys = [jwk(key)]
    assert oidc.authenticate(issuer.token(key, algorithm)).actor.name == "s-1"


def test_unsigned_token_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    token = jwt.encode(issuer.claims(), "", "none", headers={"kid": "k1"})
    assert "not signed with an algorithm that is accepted" in refused(oidc, token)


def test_hmac_with_the_public_key_as_its_secret_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    # By hand, as PyJWT does not sign with it: the classic confusion of a public key with a shared secret.
    secret = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = {"alg": "HS256", "kid": "k1"}
    signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, issuer.claims()))
    signature = base64url(hmac.digest(secret, signed.encode(), "sha256"))
    assert "not signed with an algorithm that is accepted" in refused(oidc, f"{signed}.{signature}")


def test_shared_secret_among_the_issuers_keys_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    issuer.keys = [{"kty": "oct", "kid": "k2", "k": base64url(b"s" * 32)}]
    assert "not signed" in refused(oidc, jwt.encode(issuer.claims(), b"s" * 32, "HS256", headers={"kid": "k2"}))


def test_algorithm_other_than_the_keys_own_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    issuer.keys = [jwk(RSA_KEY, alg="RS256")]
    assert "a key that its issuer does not publish" in refused(oidc, issuer.token(RSA_KEY, "RS512"))


def test_key_on_the_wrong_curve_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    issuer.keys = [jwk(EC384_KEY)]
    assert "with a key that is not accepted" in refused(oidc, issuer.token(EC_KEY, "ES256"))


def test_short_rsa_key_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    issuer.keys = [jwk(weak)]
    with pytest.warns(match="below the minimum"):
        token = issuer.token(weak, "RS256")
    assert "with a key that is not accepted" in refused(oidc, token)


def test_encryption_key_of_the_issuer_is_not_used(issuer: Issuer, oidc: Oidc) -> None:
    issuer.keys = [jwk(RSA_KEY, use="enc")]
    assert "does not publish" in refused(oidc, issuer.token(RSA_KEY, "RS256"))


def test_token_signed_by_a_stranger_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    assert refused(oidc, issuer.token(OTHER_RSA_KEY, "RS256")) == "the token's signature is wrong"


def test_altered_token_is_refused(issuer: Issuer, oidc: Oidc) -> None:
    header, _, signature = issuer.token(RSA_KEY, "RS256").split(".")
    claims = base64url(json.dumps(issuer.claims() | {"role": "admin"}).encode())
    assert refused(oidc, f"{header}.{claims}.{signature}") == "the token's signature is wrong"


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"iss": "https://elsewhere.example"}, "is of another issuer"),
        ({"iss": ...}, "lacks the claim 'iss'"),
        ({"aud": "another"}, "is for another audience"),
        ({"aud": ["another", "certwright2"]}, "is for another audience"),
        ({"aud": {"certwright": 1}}, "is for another audience"),
        ({"aud": ...}, "lacks the claim 'aud'"),
        ({"exp": ...}, "lacks the claim 'exp'"),
        ({"exp": None}, "lacks the claim 'exp'"),
        ({"exp": "soon"}, "'exp' is no time"),
        ({"exp": True}, "'exp' is no time"),
        ({"exp": float("inf")}, "'exp' is no time"),
        ({"exp": 10**18}, "'exp' is no time"),
        ({"exp": NOON.timestamp() - 60}, "has expired"),
        ({"nbf": NOON.timestamp() + 61}, "is not yet valid (nbf)"),
        ({"iat": NOON.timestamp() + 61}, "is not yet valid (iat)"),
        ({"iat": []}, "'iat' is no time"),
        ({"tenant": ...}, "lacks the claim 'tenant'"),
        ({"tenant": ""}, "'tenant' is not 1 to 64"),
        ({"tenant": "a#b"}, "'tenant' is not 1 to 64"),
        ({"tenant": "acme\n"}, "'tenant' is not 1 to 64"),
        ({"tenant": "ä"}, "'tenant' is not 1 to 64"),
        ({"tenant": "a" * 65}, "'tenant' is not 1 to 64"),
        ({"tenant": ["acme"]}, "'tenant' is not 1 to 64"),
        ({"role": ...}, "'role' gives no role that is known"),
        ({"role": []}, "'role' gives no role that is known"),
        ({"role": "root"}, "'role' gives no role that is known"),
        ({"role": 3}, "'role' gives no role that is known"),
        ({"role": [["admin"], {"admin": 1}]}, "'role' gives no role that is known"),
        ({"sub": ...}, "neither the claim 'email' nor 'sub'"),
        ({"sub": 7}, "is malformed"),
        ({"email": "jo\nadmin signed in"}, "neither the claim 'email'"),
        ({"email": "j" * 201}, "neither the claim 'email'"),
        ({"email": ["jo"]}, "neither the claim 'email'"),
    ],
)
def test_unfit_claims_are_refused_with_their_reason(
    issuer: Issuer, oidc: Oidc, claims: dict[str, Any], reason: str
) -> None:
    assert reason in refused(oidc, issuer.token(RSA_KEY, "RS256", **claims))


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOON.timestamp() - 59},
        {"nbf": NOON.timestamp() + 59.5},
        {"iat": NOON.timestamp() + 60},
        {"iat": ..., "nbf": None},
        {"aud": ["other", "certwright"]},
        {"tenant": "A_b-c.9"},
    ],
)
def test_claims_at_the_edge_of_what_is_right_pass(issuer: Issuer, oidc: Oidc, claims: dict[str, Any]) -> None:
    assert oidc.authenticate(issuer.token(RSA_KEY, "RS256", **claims)).actor.role is Role.OPERATOR


@pytest.mark.parametrize(
    ("claim", "role"),
    [
        ("viewer", Role.VIEWER),
        ("openid certwright-admin", Role.ADMIN),
        (["staff", "certwright-viewer", "certwright:operator"], Role.OPERATOR),
        (["operator", "admin", "viewer"], Role.ADMIN),
    ],
)
def test_highest_known_role_wins(issuer: Issuer, oidc: Oidc, claim: Any, role: Role) -> None:
    assert oidc.authenticate(issuer.token(RSA_KEY, "RS256", role=claim)).actor.role is role


def test_role_map_takes_the_place_of_the_usual_names(issuer: Issuer, clock: Clock) -> None:
    oidc = Oidc(
        issuer.url,
        "certwright",
        tenant_claim="tenant",
        role_claim="groups",
        name_claim="email",
        clock=clock,
        role_map={"PKI Team": Role.ADMIN},
    )
    token = issuer.token(RSA_KEY, "RS256", groups="PKI Team")
    assert oidc.authenticate(token).actor.role is Role.ADMIN
    assert "no role" in refused(oidc, issuer.token(RSA_KEY, "RS256", groups=["admin"]))


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "....", "ä.ö.ü", "\ud800", "e30.e30", "a" * 20_000])
def test_what_is_no_jwt_is_refused(oidc: Oidc, token: str) -> None:
    assert refused(oidc, token) == "the token is malformed"


@given(
    header=st.dictionaries(
        st.sampled_from(["alg", "kid", "crit", "b64", "typ"]), st.none() | st.text() | st.lists(st.text())
    )
)
def test_no_header_makes_anything_but_a_refusal(header: dict[str, Any]) -> None:
    def down(url: str) -> bytes:
        raise OSError(url)

    token = ".".join(base64url(json.dumps(part).encode()) for part in (header, {}, "signature"))
    with pytest.raises(CertwrightError):
        oidc_that_reads(down).authenticate(token)


def test_keys_are_fetched_once_for_many_tokens(issuer: Issuer, oidc: Oidc) -> None:
    for _ in range(5):
        oidc.authenticate(issuer.token(RSA_KEY, "RS256"))
    assert issuer.requests == ["/.well-known/openid-configuration", "/keys"]


def test_rotated_key_is_found_at_once_and_the_old_one_is_forgotten(issuer: Issuer, oidc: Oidc, clock: Clock) -> None:
    old = issuer.token(RSA_KEY, "RS256")
    oidc.authenticate(old)
    issuer.keys = [jwk(EC_KEY, "k2")]
    clock.advance(minutes=2)
    assert oidc.authenticate(issuer.token(EC_KEY, "ES256", "k2")).actor.tenant == "acme"
    assert "does not publish" in refused(oidc, old)


def test_withdrawn_key_is_refused_after_an_hour(issuer: Issuer, oidc: Oidc, clock: Clock) -> None:
    token = issuer.token(RSA_KEY, "RS256", exp=(NOON + timedelta(days=1)).timestamp())
    issuer.keys = [jwk(RSA_KEY), jwk(EC_KEY, "k2")]
    oidc.authenticate(token)
    issuer.keys = [jwk(EC_KEY, "k2")]
    clock.advance(minutes=59)
    oidc.authenticate(token)
    clock.advance(minutes=1)
    assert "does not publish" in refused(oidc, token)


def test_flood_of_unknown_key_ids_asks_the_issuer_once_a_minute(issuer: Issuer, oidc: Oidc, clock: Clock) -> None:
    oidc.authenticate(issuer.token(RSA_KEY, "RS256"))
    clock.advance(minutes=1)
    for i in range(50):
        refused(oidc, issuer.token(OTHER_RSA_KEY, "RS256", f"unknown-{i}"))
        clock.advance(seconds=1)
    assert issuer.requests.count("/keys") == 2
    oidc.authenticate(issuer.token(RSA_KEY, "RS256"))


def test_known_keys_stay_in_use_while_the_issuer_is_down(issuer: Issuer, oidc: Oidc, clock: Clock) -> None:
    token = issuer.token(RSA_KEY, "RS256", exp=(NOON + timedelta(days=1)).timestamp())
    oidc.authenticate(token)
    issuer.answers["/keys"] = (503, {}, b"down")
    clock.advance(hours=5)
    for _ in range(10):
        oidc.authenticate(token)
    assert issuer.requests.count("/keys") == 2


def test_issuer_that_was_never_reached_is_unavailable_and_asked_again_later(
    issuer: Issuer, oidc: Oidc, clock: Clock
) -> None:
    issuer.answers["/keys"] = (500, {}, b"")
    for _ in range(3):
        with pytest.raises(Unavailable, match="try again"):
            oidc.authenticate(issuer.token(RSA_KEY, "RS256"))
    assert issuer.requests.count("/keys") == 1
    issuer.answers.clear()
    clock.advance(minutes=1)
    oidc.authenticate(issuer.token(RSA_KEY, "RS256"))


def test_threads_that_come_at_once_share_one_fetch(issuer: Issuer, oidc: Oidc) -> None:
    issuer.gate.clear()
    token, sessions = issuer.token(RSA_KEY, "RS256"), []
    threads = [threading.Thread(target=lambda: sessions.append(oidc.authenticate(token))) for _ in range(8)]
    for thread in threads:
        thread.start()
    issuer.gate.set()
    for thread in threads:
        thread.join(timeout=20)
    assert len(sessions) == 8
    assert issuer.requests.count("/keys") == 1


def test_nobody_waits_for_an_issuer_that_hangs_while_keys_are_known(issuer: Issuer, oidc: Oidc, clock: Clock) -> None:
    token = issuer.token(RSA_KEY, "RS256", exp=(NOON + timedelta(days=1)).timestamp())
    oidc.authenticate(token)
    clock.advance(hours=2)
    issuer.gate.clear()
    first = threading.Thread(target=oidc.authenticate, args=(token,))
    first.start()
    while len(issuer.requests) < 3 and first.is_alive():
        first.join(timeout=0.01)
    assert oidc.authenticate(token).actor.tenant == "acme"
    assert first.is_alive()
    issuer.gate.set()
    first.join(timeout=20)


@pytest.mark.parametrize(
    "answer",
    [
        (200, {}, b"not json"),
        (200, {}, b"[]"),
        (200, {}, b'{"issuer": "https://other.example", "jwks_uri": "https://other.example/keys"}'),
        (200, {}, b"\xff"),
        (200, {}, b"{}"),
        (200, {}, b" " * (MAX_RESPONSE + 1)),
        (302, {"Location": "/keys"}, b""),
        (404, {}, b"{}"),
    ],
)
def test_discovery_that_is_not_the_issuers_own_is_not_believed(
    issuer: Issuer, oidc: Oidc, answer: tuple[int, dict[str, str], bytes]
) -> None:
    issuer.answers["/.well-known/openid-configuration"] = answer
    with pytest.raises(Unavailable):
        oidc.authenticate(issuer.token(RSA_KEY, "RS256"))
    assert issuer.requests == ["/.well-known/openid-configuration"]


@pytest.mark.parametrize("jwks_uri", ["http://keys.example/", "file:///etc/passwd", 7, None, "https://[x"])
def test_keys_are_not_read_from_an_address_that_cannot_be_trusted(jwks_uri: Any) -> None:
    asked = []

    def answer(url: str) -> bytes:
        asked.append(url)
        return json.dumps({"issuer": "https://issuer.example/", "jwks_uri": jwks_uri}).encode()

    with pytest.raises(Unavailable):
        oidc_that_reads(answer, "https://issuer.example/").authenticate(jwt.encode({}, RSA_KEY, "RS256"))
    assert asked == ["https://issuer.example/.well-known/openid-configuration"]


@pytest.mark.parametrize(
    "url", ["http://issuer.example", "ftp://127.0.0.1", "issuer.example", "", "http://[::1", "https:", "https://"]
)
def test_issuer_that_is_neither_https_nor_loopback_is_refused(clock: Clock, url: str) -> None:
    with pytest.raises(InvalidInput, match="must be an https URL"):
        Oidc(url, "certwright", tenant_claim="t", role_claim="r", name_claim="n", clock=clock)


def test_token_without_key_id_is_accepted_for_a_sole_key_only(issuer: Issuer, oidc: Oidc, clock: Clock) -> None:
    token = issuer.token(RSA_KEY, "RS256", kid=None)
    issuer.keys = [jwk(RSA_KEY), jwk(EC_KEY, None)]
    assert oidc.authenticate(token).actor.tenant == "acme"
    issuer.keys = [jwk(RSA_KEY), jwk(OTHER_RSA_KEY, "k2")]
    clock.advance(hours=1)
    assert "does not say with which" in refused(
        oidc, issuer.token(RSA_KEY, "RS256", kid=None, exp=clock.now.timestamp())
    )


def test_unusable_keys_beside_the_right_one_do_no_harm(issuer: Issuer, oidc: Oidc) -> None:
    odd: list[Any] = ["text", None, {}, {"kty": "RSA", "kid": "k9"}, {"kty": "EC", "crv": "P-999", "kid": "k1"}]
    issuer.keys = [*odd, jwk(RSA_KEY)]
    assert oidc.authenticate(issuer.token(RSA_KEY, "RS256")).actor.tenant == "acme"
    assert "with a key that is not accepted" in refused(oidc, issuer.token(RSA_KEY, "RS256", "k9"))


def test_fetch_turns_everything_it_cannot_use_into_an_os_error(issuer: Issuer) -> None:
    issuer.answers["/keys"] = (200, {"Transfer-Encoding": "chunked"}, b"garbage")
    with pytest.raises(OSError, match="did not answer in HTTP"):
        fetch(f"{issuer.url}/keys")
    issuer.answers["/keys"] = (503, {}, b"down")
    with pytest.raises(OSError, match="status 503"):
        fetch(f"{issuer.url}/keys")
