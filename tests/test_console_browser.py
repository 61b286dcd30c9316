"""The console in a real browser, at the real service with a real CA: signing in, the dashboard and the accounts."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from certwright.api.context import Patience
from certwright.config import Settings
from certwright.local.app import utc_now
from certwright.model import Role, system
from tests.support.browser import Script, drive
from tests.support.house import House
from tests.support.oidc_provider import Provider
from tests.support.pebble import Pebble
from tests.support.stub_ca import StubCa, acme_problem

REFUSED = "status of 401|WebSocket connection"


@pytest.fixture
def watchful(tmp_path: Path, pebble: Pebble) -> Iterator[House]:
    """A house that looks at its sockets' credentials more often than others."""
    with House(tmp_path, pebble, patience=Patience(watch=0.2)) as house:
        yield house


def test_a_new_user_comes_to_an_account_that_stands_on_the_dashboard(house: House) -> None:
    drive("first_account.mjs", house, token=house.admin, server="127.0.0.1")
    assert "AccountCreated" in house.audit_types()


def test_an_account_is_changed_and_ended_by_keyboard(house: House) -> None:
    account = house.create_account(email="before@example.com")
    drive("account.mjs", house, token=house.admin, account=account["id"], email="before@example.com")
    assert house.audit_types(account["id"])[-2:] == ["AccountUpdated", "AccountDeactivated"]


def test_a_token_revoked_while_its_page_is_open_ends_on_the_sign_in_page(watchful: House) -> None:
    token, text = watchful.app.tokens.create("leaving", Role.VIEWER, system("default"))
    with Script("revoked.mjs", watchful, token=text, expected=[REFUSED]) as script:
        assert script.told() == "signed in"
        watchful.app.tokens.revoke(token.id, system("default"))
        script.say(watchful.viewer)


def test_a_viewer_sees_what_happens_and_misses_nothing_of_an_outage(tmp_path: Path, pebble: Pebble) -> None:
    with House(tmp_path, pebble) as house:
        account = house.create_account()
        script = Script("watching.mjs", house, token=house.viewer, expected=["WebSocket connection", "ERR_CONNECTION"])
        with script:
            assert script.told() == "watching"
            house.issue(account["id"], "live.example")
            script.say()
            assert script.told() == "seen"
            house.stop()
            script.say()
            assert script.told() == "noticed"
            with House(tmp_path, pebble, port=house.port) as again:
                again.create_order(account["id"], "missed.example")
                script.say()
                script.finish()


def test_what_changes_before_a_page_listens_or_while_it_asks_is_seen(stub_house: House) -> None:
    account = stub_house.create_account(email="unseen@example.com")["id"]
    with Script("unseen.mjs", stub_house, token=stub_house.viewer, email="unseen@example.com") as script:
        for place, name in {"account": "first", "dashboard": "second", "held": "third"}.items():
            assert script.told() == place
            stub_house.create_order(account, f"{name}.example")
            script.say()


def test_what_needs_a_human_comes_first_with_the_way_to_it(stub_house: House, stub: StubCa) -> None:
    account = stub_house.create_account()["id"]
    stub.authorized, stub.clock = True, lambda: utc_now() - timedelta(days=84, hours=12)
    ending = stub_house.await_order(stub_house.create_order(account, "ending.example")["id"], "VALID")["certificate"]
    stub.authorized, stub.clock, stub.validation = False, utc_now, "invalid"
    stub.validation_error = acme_problem("unauthorized", "Nobody answers at failed.example")
    failed = stub_house.create_order(account, "failed.example")["id"]
    stub_house.prove(failed)
    stub_house.await_order(failed, "INVALID")
    waiting = stub_house.create_order(account, "waiting.example")["id"]
    stub_house.challenges(waiting)
    ways = {
        "failed.example": f"/acme/orders/{failed}",
        "ending.example": f"/acme/certificates/{ending['id']}",
        "waiting.example": f"/acme/orders/{waiting}/challenges",
    }
    drive("needs.mjs", stub_house, token=stub_house.admin, ways=ways, pictures="/tmp/pold")


def test_users_of_a_provider_sign_in_there_and_come_back(tmp_path: Path, pebble: Pebble) -> None:
    ahead = timedelta()
    with Provider() as provider:
        client, provider.refuses = provider.client_id, True
        settings = replace(
            Settings.read({}, tmp_path / "data"),
            oidc_issuer=provider.url, oidc_audience=client, oidc_client_id=client,
        )  # fmt: skip
        patience = Patience(watch=0.2, recheck=0.2)
        house = House(tmp_path, pebble, settings=settings, patience=patience, clock=lambda: utc_now() + ahead)
        with house, Script("provider.mjs", house, allowed=[provider.url], expected=[REFUSED]) as script:
            assert script.told() == "refused"
            provider.refuses = False
            script.say()
            assert script.told() == "signed in"
            ahead, provider.lifetime = timedelta(seconds=2 * provider.lifetime), 4 * provider.lifetime
            script.say()


def test_the_ide_answers_and_listens_without_any_other_host(stub_house: House) -> None:
    account = stub_house.create_account()["id"]
    with Script("ide.mjs", stub_house, token=stub_house.viewer) as script:
        assert script.told() == "listening"
        stub_house.create_order(account, "heard.example")
        script.say()


def test_texts_of_a_hostile_ca_are_shown_and_never_run(stub_house: House, stub: StubCa) -> None:
    stub.meta = {"termsOfService": "javascript:alert(1)"}
    stub.fail_next("newAccount", problem=acme_problem("malformed", "<img src=x onerror=alert(1)>"), status=400)
    with Script("hostile.mjs", stub_house, token=stub_house.admin) as script:
        assert script.told() == "refused"
        stub.stop()
        script.say()
