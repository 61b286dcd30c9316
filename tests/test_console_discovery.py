"""Where the console sends users to sign in, by the provider's discovery document."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from certwright.api.discovery import LIFETIME, PAUSE, Discovery
from certwright.config import Settings
from tests.support.issuer import NOON
from tests.support.oidc_provider import Provider


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


def settings(provider: Provider, audience: str = Provider.client_id) -> Settings:
    return Settings(oidc_issuer=provider.url, oidc_audience=audience, oidc_client_id=provider.client_id)


def test_endpoints_are_those_of_the_discovery_document(provider: Provider) -> None:
    found = Discovery(settings(provider), Clock())()
    assert found
    assert (found.authorization_endpoint, found.token_endpoint) == (
        f"{provider.url}/authorize",
        f"{provider.url}/token",
    )
    assert (found.client_id, found.scope) == (provider.client_id, "openid email")


@pytest.mark.parametrize(("audience", "token"), [(Provider.client_id, "id_token"), ("the-api", "access_token")])
def test_the_token_is_the_one_whose_audience_the_api_is(provider: Provider, audience: str, token: str) -> None:
    found = Discovery(settings(provider, audience), Clock())()
    assert found
    assert found.token == token


def test_without_a_client_nobody_is_asked(provider: Provider) -> None:
    assert Discovery(Settings(oidc_issuer=provider.url, oidc_audience="x"), Clock())() is None
    assert Discovery(Settings(), Clock())() is None
    assert provider.requests == []


def test_the_issuer_is_asked_again_after_a_pause_and_later_hourly(provider: Provider) -> None:
    clock, document = Clock(), provider.answers.pop("/.well-known/openid-configuration")
    discovery = Discovery(settings(provider), clock)
    assert [discovery(), discovery()] == [None, None]
    provider.answers["/.well-known/openid-configuration"] = document
    clock.now += PAUSE
    assert discovery()
    clock.now += LIFETIME - timedelta(seconds=1)
    assert discovery()
    assert len(provider.requests) == 2
    provider.answers.clear()
    clock.now += timedelta(seconds=1)
    assert discovery()
    assert len(provider.requests) == 3


@pytest.mark.parametrize("url", ["ftp://a.example/", "https://a.example/; script-src *", None, "https://a.example/'"])
def test_endpoints_that_could_widen_the_policy_are_not_taken(provider: Provider, url: str | None) -> None:
    document = {"issuer": provider.url, "authorization_endpoint": "https://a.example/", "token_endpoint": url}
    provider.answers["/.well-known/openid-configuration"] = provider.answer_of(document)
    assert Discovery(settings(provider), Clock())() is None
