"""The console's pages of orders and challenges in a real browser, at the real service with a real CA."""

from tests.support.browser import Script, drive
from tests.support.house import House
from tests.support.pebble import Pebble


def test_an_order_is_made_proved_and_turns_green_without_reloading(house: House, pebble: Pebble) -> None:
    account = house.create_account()["id"]
    with Script("order_path.mjs", house, token=house.operator, account=account) as script:
        for _ in range(2):
            record = script.told()
            pebble.management.set_txt(record["name"], record["value"])
            script.say()
    viewings = [event for event in house.audit_types() if event == "ChallengesViewed"]
    assert len(viewings) == 1
