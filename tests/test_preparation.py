"""What each challenge type asks users to put in place."""

import base64
import hashlib

import pytest

from certwright.challenges.preparation import DnsRecord, HttpFile, prepare
from certwright.model import Authorization, Challenge, ChallengeStatus

ACCOUNT = "https://example.com/acme/acct/ExampleAccount"
THUMBPRINT = "9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"


def prepared(
    type: str, *, identifier: str = "example.org", wildcard: bool = False, issuers: tuple[str, ...] = ()
) -> HttpFile | DnsRecord | None:
    challenge = Challenge("o-0", type, "https://ca/c", ChallengeStatus.PENDING, token="tok", issuers=issuers)
    return prepare(Authorization("https://ca/a", identifier, wildcard), challenge, THUMBPRINT, ACCOUNT)


def test_file_for_an_ipv6_address_is_at_a_url_with_brackets() -> None:
    file = prepared("http-01", identifier="2001:db8::1")
    assert isinstance(file, HttpFile)
    assert file.url == "http://[2001:db8::1]/.well-known/acme-challenge/tok"
    assert file.content == f"tok.{THUMBPRINT}"


def test_record_of_one_account_has_a_name_of_its_own() -> None:
    """The example of draft-ietf-acme-dns-account-label."""
    record = prepared("dns-account-01")
    assert isinstance(record, DnsRecord)
    assert record.name == "_ujmmovf2vn55tgye._acme-challenge.example.org"
    digest = hashlib.sha256(f"tok.{THUMBPRINT}".encode()).digest()
    assert record.value == base64.urlsafe_b64encode(digest).decode().rstrip("=")


@pytest.mark.parametrize(("wildcard", "policy"), [(False, ""), (True, "; policy=wildcard")])
def test_lasting_record_names_the_ca_and_the_account(wildcard: bool, policy: str) -> None:
    record = prepared("dns-persist-01", wildcard=wildcard, issuers=("authority.example", "other.example"))
    assert isinstance(record, DnsRecord)
    assert (record.name, record.type) == ("_validation-persist.example.org", "TXT")
    assert record.value == f"authority.example; accounturi={ACCOUNT}{policy}"


def test_lasting_record_of_a_ca_without_a_name_cannot_be_prepared() -> None:
    assert prepared("dns-persist-01") is None


def test_unknown_type_has_no_preparation() -> None:
    assert prepared("smoke-signal-01") is None
