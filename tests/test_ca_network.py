import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from josepy.jwk import JWK, JWKEC, JWKRSA

from certwright.ca.client import Ca, Client
from certwright.ca.network import MAX_BODY, MAX_NONCE_RETRIES, MAX_NONCES, Network, Signer
from certwright.ca.problems import FOREIGN_URL, MALFORMED_ANSWER, CaProblem, CaUnavailable
from tests.support.stub_ca import Answer, StubCa

KEY = JWKEC(key=ec.generate_private_key(ec.SECP256R1()))


def now() -> datetime:
    return datetime.now(UTC)


NOBODY = Network("https://127.0.0.1:1/", now)
"""A CA where nobody listens."""


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[StubCa]:
    with StubCa(tmp_path / "stub") as stub:
        yield stub


@pytest.fixture
def ca(stub: StubCa) -> Iterator[Ca]:
    ca = Ca(stub.directory_url, now, ca_bundle=stub.ca_bundle, read_timeout=0.3, total_timeout=0.6)
    yield ca
    ca.close()


@pytest.fixture
def client(ca: Ca) -> Client:
    client = Client(ca, KEY)
    client.new_account(["mailto:a@example.com"], True)
    return client


def unavailable(ca: Ca) -> CaUnavailable:
    with pytest.raises(CaUnavailable) as caught:
        ca.directory()
    return caught.value


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        JWKEC(key=ec.generate_private_key(ec.SECP384R1())),
        JWKRSA(key=rsa.generate_private_key(65537, 2048)),
    ],
    ids=["P-256", "P-384", "RSA"],
)
def test_requests_are_jws_that_the_acme_library_verifies(stub: StubCa, ca: Ca, key: JWK) -> None:
    client = Client(ca, key)
    client.new_account([], True)  # the stub verifies each with acme.jws, by `jwk` first and then by `kid`
    assert client.fetch_account().status == "valid"
    assert stub.requests[-1].protected == {
        "alg": {"P-256": "ES256", "P-384": "ES384"}.get(key.fields_to_partial_json().get("crv", ""), "RS256"),
        "nonce": (stub.requests[-1].protected or {})["nonce"],
        "url": client.account_url,
        "kid": client.account_url,
    }


def test_a_jws_has_no_white_space() -> None:
    assert b" " not in Signer(KEY, None).sign("https://ca.example/x", b"{}", "abc")


@pytest.mark.usefixtures("client")
def test_requests_name_us_and_ask_for_no_compression(stub: StubCa) -> None:
    headers = stub.requests[-1].headers
    assert headers["User-Agent"].startswith("certwright/0.")
    assert headers["Accept-Encoding"] == "identity"


def test_connections_and_nonces_are_reused(stub: StubCa, client: Client) -> None:
    for _ in range(5):
        client.fetch_account()
    assert stub.operations() == ["directory", "newNonce", "newAccount", *["account"] * 5]
    assert stub.connections == 1


def test_accounts_share_the_nonces_of_their_ca(stub: StubCa, ca: Ca, client: Client) -> None:
    Client(ca, KEY, client.account_url).fetch_account()
    assert stub.operations().count("newNonce") == 1


def test_the_nonce_of_a_refusal_is_used_again(stub: StubCa, client: Client) -> None:
    stub.fail_next("account", "malformed", status=400)
    with pytest.raises(CaProblem):
        client.fetch_account()
    client.fetch_account()
    assert stub.operations().count("newNonce") == 1


def test_the_nonce_pool_is_bounded_and_drops_the_oldest(stub: StubCa) -> None:
    network = Network(stub.directory_url, now, ca_bundle=stub.ca_bundle)
    for _ in range(MAX_NONCES + 10):
        network._add_nonce(network.get(stub.directory_url))
    assert len(network._pool) == MAX_NONCES
    network.close()


def test_bad_nonce_is_retried_with_the_nonce_of_that_very_answer(stub: StubCa, client: Client) -> None:
    stub.reject_nonces(MAX_NONCE_RETRIES)  # and every nonce given before is void
    assert client.fetch_account().status == "valid"
    assert stub.operations()[-MAX_NONCE_RETRIES - 1 :] == ["account"] * (MAX_NONCE_RETRIES + 1)


def test_bad_nonce_is_given_up_in_the_end(stub: StubCa, client: Client) -> None:
    stub.reject_nonces(MAX_NONCE_RETRIES + 1)
    with pytest.raises(CaProblem) as caught:
        client.fetch_account()
    assert (caught.value.code, caught.value.is_transient) == ("badNonce", True)


def test_bad_nonce_without_a_nonce_asks_for_a_fresh_one(stub: StubCa, client: Client) -> None:
    stub.fail_next("account", "badNonce", status=400, headers={"Replay-Nonce": ""})
    assert client.fetch_account().status == "valid"
    assert stub.operations()[-3:] == ["account", "newNonce", "account"]


def test_many_threads_share_one_ca(stub: StubCa, ca: Ca, client: Client) -> None:
    def fetch(_: int) -> str:
        return Client(ca, KEY, client.account_url).fetch_account().status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(fetch, range(64))) == {"valid"}
    assert stub.operations().count("newNonce") <= 8


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/newOrder",
        "https://127.0.0.1/newOrder",
        "https://127.0.0.1@elsewhere.example/newOrder",
        "http://127.0.0.1:{port}/newOrder",
        "https://user@127.0.0.1:{port}/newOrder",
        "https://127.0.0.1:{port}.elsewhere.example/newOrder",
        "https://127.0.0.1:99999/newOrder",
        "https://[/newOrder",
        "//elsewhere.example/newOrder",
        "file:///newOrder",
        "nonsense",
    ],
)
def test_urls_of_other_hosts_are_never_asked(stub: StubCa, client: Client, url: str) -> None:
    asked = len(stub.requests)
    with pytest.raises(CaUnavailable, match="not an https URL of its own host") as caught:
        client.fetch_order(url.format(port=stub.port))
    assert caught.value.problem.type == FOREIGN_URL
    assert len(stub.requests) == asked


def test_another_spelling_of_the_same_host_is_its_own(stub: StubCa) -> None:
    network = Network(f"https://localhost:{stub.port}/directory", now, ca_bundle=stub.ca_bundle)
    assert network.get(f"HTTPS://LOCALHOST:{stub.port}/directory#top").status_code == 200
    network.close()


def test_a_directory_that_is_not_https_is_not_asked() -> None:
    assert unavailable(Ca("http://127.0.0.1:1/directory", now)).problem.type == FOREIGN_URL


@pytest.mark.parametrize(
    "url", ["https://a..b/", "https://exa mple/", "https://*/", "https://", "https://x" + "x" * 64]
)
def test_a_directory_of_an_impossible_name_is_unavailable(url: str) -> None:
    assert unavailable(Ca(url, now)).is_transient


@given(st.text(st.characters()))
def test_no_url_under_our_own_host_crashes(path: str) -> None:
    with pytest.raises(CaUnavailable):
        NOBODY.get("https://127.0.0.1:1/" + path)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(stub: StubCa, client: Client, tmp_path: Path, status: int) -> None:
    with StubCa(tmp_path / "other") as other:
        stub.answer_next("account", Answer(status, headers={"Location": other.directory_url}))
        with pytest.raises(CaUnavailable, match=str(status)):
            client.fetch_account()
        assert other.requests == []


def test_an_answer_that_is_too_long_is_not_read(stub: StubCa, ca: Ca) -> None:
    stub.answer_next("directory", Answer(body=b" " * (MAX_BODY + 1)))
    error = unavailable(ca)
    assert error.problem.type == MALFORMED_ANSWER
    assert f"more than {MAX_BODY} octets" in str(error)


def test_a_redirect_that_is_too_long_is_not_read(stub: StubCa, ca: Ca) -> None:
    stub.answer_next("directory", Answer(302, b" " * (MAX_BODY + 1), {"Location": "/elsewhere"}))
    assert f"more than {MAX_BODY} octets" in str(unavailable(ca))


def test_a_ca_that_does_not_answer_is_unavailable_in_time(stub: StubCa, ca: Ca) -> None:
    stub.hang_next("directory", 5)
    began = time.monotonic()
    error = unavailable(ca)
    assert "it took too long" in str(error)
    assert error.is_transient
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("kind", ["body", "headers"])
def test_a_ca_that_drips_is_cut_off_in_time(stub: StubCa, ca: Ca, kind: str) -> None:
    stub.answer_next("directory", Answer(body=b" " * 1000, drip=0.05, drips_headers=kind == "headers"))
    began = time.monotonic()
    assert "it took too long" in str(unavailable(ca))
    assert time.monotonic() - began < 2


def test_a_ca_that_cannot_be_reached_is_unavailable(stub: StubCa, ca: Ca) -> None:
    stub.stop()
    assert "it refused the connection" in str(unavailable(ca))


def test_a_ca_whose_certificate_nobody_trusts_is_unavailable(stub: StubCa) -> None:
    assert "its TLS certificate is not trusted" in str(unavailable(Ca(stub.directory_url, now)))
    assert stub.requests == []


def test_a_ca_with_a_certificate_for_another_name_is_unavailable(tmp_path: Path) -> None:
    with StubCa(tmp_path, host="127.0.0.2") as stub:
        ca = Ca(stub.directory_url, now, ca_bundle=stub.ca_bundle)
        assert "its TLS certificate is not trusted" in str(unavailable(ca))


def test_a_server_that_speaks_no_tls_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        error = pool.submit(unavailable, Ca(f"https://127.0.0.1:{server.getsockname()[1]}/", now))
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n{}")
        assert "TLS failed" in str(error.result())


def test_a_connection_that_breaks_is_unavailable(stub: StubCa, ca: Ca) -> None:
    stub.answer_next("directory", Answer(body=b"{}", headers={"Content-Length": "100", "Connection": "close"}))
    assert "the connection broke" in str(unavailable(ca))


def test_proxies_trust_and_passwords_in_the_environment_do_not_count(stub: StubCa, tmp_path: Path) -> None:
    program = f"""
from datetime import UTC, datetime
from pathlib import Path
from certwright.ca.client import Ca
ca = Ca({stub.directory_url!r}, lambda: datetime.now(UTC), ca_bundle=Path({str(stub.ca_bundle)!r}))
print(ca.directory().new_order)
"""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret")
    bundle = str(tmp_path / "none")
    misleading = {"HTTPS_PROXY": "http://127.0.0.1:1", "REQUESTS_CA_BUNDLE": bundle, "NETRC": str(netrc)}
    environment = {**os.environ, **misleading}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == (f"{stub.base_url}/newOrder", "")
    assert "Authorization" not in stub.requests[-1].headers


def test_cookies_are_not_kept(stub: StubCa, client: Client) -> None:
    stub.answer_next("account", Answer(body={"status": "valid"}, headers={"Set-Cookie": "a=b"}))
    client.fetch_account()
    client.fetch_account()
    assert "Cookie" not in stub.requests[-1].headers


def test_nothing_secret_is_logged_or_told(stub: StubCa, ca: Ca, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stub.fail_next("newAccount", "unauthorized", status=401)
    with pytest.raises(CaProblem) as caught:
        Client(ca, KEY).new_account(["mailto:a@example.com"], True, "kid-1", "c2VjcmV0LXNlY3JldA")
    payload = stub.requests[-1].payload
    secrets = [payload["externalAccountBinding"]["signature"], "c2VjcmV0LXNlY3JldA", "a@example.com", '"protected"']
    written = caplog.text + str(caught.value) + json.dumps(caught.value.problem.document)
    assert not [secret for secret in secrets if secret in written]


def test_server_that_must_be_public_is_not_talked_to_on_a_private_address(stub: StubCa) -> None:
    ca = Ca(stub.directory_url, now, ca_bundle=stub.ca_bundle, public_only=True)
    with pytest.raises(CaUnavailable, match="its address is not a public one"):
        ca.directory()
    assert stub.requests == []
    ca.close()
