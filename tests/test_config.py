"""The settings: what the environment may say, and what is said about anything else."""

from pathlib import Path

import pytest

from certwright.config import SETTINGS, Settings
from certwright.errors import InvalidInput
from tests.support.pebble import Pebble


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.read({})
    assert settings.store == "sqlite:data/certwright.db"
    assert settings.sealing_key == Path("data/sealing.key")
    assert (settings.acme_servers, settings.any_public_server, settings.ca_bundle) == ((), False, None)
    assert settings.trusted_proxies == ("127.0.0.1",)
    assert (settings.oidc_tenant_claim, settings.oidc_role_claim, settings.oidc_name_claim) == (
        "tenant",
        "role",
        "email",
    )


def test_an_empty_value_is_as_good_as_none() -> None:
    assert Settings.read(dict.fromkeys(SETTINGS, " ")) == Settings.read({})


def test_variables_of_others_are_nothing_to_us() -> None:
    assert Settings.read({"HOME": "/", "CERT": "x"}) == Settings.read({})


def test_the_option_goes_before_the_variable(tmp_path: Path) -> None:
    given = {"CERTWRIGHT_DATA_DIR": "/var/lib/x"}
    assert Settings.read(given).store == "sqlite:/var/lib/x/certwright.db"
    assert Settings.read(given, tmp_path).sealing_key == tmp_path / "sealing.key"


def test_lists_are_comma_separated() -> None:
    settings = Settings.read(
        {
            "CERTWRIGHT_ACME_SERVERS": "https://a.example/dir , *,https://b.example:14000/dir",
            "CERTWRIGHT_ALLOWED_ORIGINS": "https://app.example,http://localhost:3000",
            "CERTWRIGHT_TRUSTED_PROXIES": "10.0.0.0/8,::1",
            "CERTWRIGHT_DNS_SERVERS": "192.0.2.1, 192.0.2.1:5353,2001:db8::1,[2001:db8::1]:5353",
            "CERTWRIGHT_PROVIDER_NETWORKS": "10.0.0.0/8,fd00::/8",
        }
    )
    assert settings.acme_servers == ("https://a.example/dir", "https://b.example:14000/dir")
    assert settings.any_public_server
    assert settings.allowed_origins == ("https://app.example", "http://localhost:3000")
    assert settings.trusted_proxies == ("10.0.0.0/8", "::1")
    assert settings.dns_servers == ("192.0.2.1", "192.0.2.1:5353", "2001:db8::1", "[2001:db8::1]:5353")
    assert settings.provider_networks == ("10.0.0.0/8", "fd00::/8")


def test_zones_are_domains_or_all() -> None:
    settings = Settings.read(
        {"CERTWRIGHT_HTTP_01_ZONES": "A.example., b.example", "CERTWRIGHT_PROPAGATION_SECONDS": "60"}
    )
    assert (settings.http_01_zones, settings.propagation_seconds) == (("a.example", "b.example"), 60)
    assert Settings.read({"CERTWRIGHT_HTTP_01_ZONES": "*"}).http_01_zones == ("*",)


def test_a_bundle_is_a_file_of_certificates(pebble: Pebble) -> None:
    assert Settings.read({"CERTWRIGHT_CA_BUNDLE": str(pebble.ca_bundle)}).ca_bundle == pebble.ca_bundle


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("STORE", "certwright.db", "give sqlite:PATH or dynamodb:TABLE"),
        ("STORE", "sqlite:", "give sqlite:PATH or dynamodb:TABLE"),
        ("SEALING_KEY", "/nowhere/sealing.key", "whose folder does not exist"),
        ("ACME_SERVERS", "http://a.example/dir", "start with https://"),
        ("ACME_SERVERS", "https://", "start with https://"),
        ("ACME_SERVERS", "https://a.example:99999/dir", "start with https://"),
        ("CA_BUNDLE", "/nowhere/root.pem", "cannot be read (No such file or directory)"),
        ("CA_BUNDLE", __file__, "holds no PEM certificate"),
        ("ALLOWED_ORIGINS", "app.example", "an origin is a scheme and a host"),
        ("ALLOWED_ORIGINS", "https://app.example/", "an origin is a scheme and a host"),
        ("TRUSTED_PROXIES", "proxy.example", "give IP addresses or networks"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "give IP addresses or networks"),
        ("PROVIDER_NETWORKS", "private", "give IP addresses or networks"),
        ("DNS_SERVERS", "dns.example", "give IP addresses, with a port"),
        ("DNS_SERVERS", "192.0.2.1:99999", "give IP addresses, with a port"),
        ("DNS_SERVERS", "192.0.2.1/24", "give IP addresses, with a port"),
        ("HTTP_01_ZONES", "https://a.example", "give domains such as example.com"),
        ("HTTP_01_ZONES", "a.example,*.b.example", "give domains such as example.com"),
        ("PROPAGATION_SECONDS", "0", "from 1 to 86400"),
        ("LEASE_SECONDS", "soon", "from 1 to 3600"),
        ("LEASE_SECONDS", "0", "from 1 to 3600"),
        ("LEASE_SECONDS", "nan", "from 1 to 3600"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("OIDC_ISSUER", "id.example", "starts with https://"),
        ("OIDC_ISSUER", "https://id.example", "CERTWRIGHT_OIDC_AUDIENCE must be"),
        ("STOER", "sqlite:x", "is no setting; there are CERTWRIGHT_DATA_DIR"),
    ],
)
def test_a_wrong_value_is_refused_by_its_variables_name(name: str, value: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        Settings.read({f"CERTWRIGHT_{name}": value})
    assert refusal.value.message.startswith(f"CERTWRIGHT_{name} ")
    assert told in refusal.value.message


def test_the_console_signs_in_by_a_client_of_the_issuer() -> None:
    given = {"CERTWRIGHT_OIDC_CLIENT_ID": "console", "CERTWRIGHT_OIDC_SCOPE": "openid groups"}
    settings = Settings.read(given)
    assert (settings.oidc_client_id, settings.oidc_scope) == ("console", "openid groups")
    assert (Settings.read({}).oidc_client_id, Settings.read({}).oidc_scope) == ("", "openid email")


def test_sockets_of_the_console_may_be_elsewhere() -> None:
    elsewhere = {"CERTWRIGHT_SOCKET_URL": "wss://live.example/prod"}
    assert Settings.read(elsewhere).socket_url == "wss://live.example/prod"
    with pytest.raises(InvalidInput, match=r"CERTWRIGHT_SOCKET_URL is 'https://live\.example'; give a WebSocket's URL"):
        Settings.read({"CERTWRIGHT_SOCKET_URL": "https://live.example"})
