"""Advice that orders show: found out beside the CA's own work, and never in its way."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from certwright.challenges.preparation import HttpFile
from certwright.config import Settings
from certwright.model import Advice
from tests.support.house import House, Silent
from tests.support.pebble import Pebble
from tests.support.program import serving
from tests.support.stub_ca import StubCa
from tests.test_solving_processes import Directory, Program, directory_of


class Outspoken(Silent):
    """An adviser that says something about whatever it is asked, and remembers that."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.go_on = threading.Event()
        self.go_on.set()

    def caa(
        self, domains: Sequence[str], identities: Sequence[str], *, account_url: str | None = None
    ) -> tuple[Advice, ...]:
        self.go_on.wait(20)
        self.asked.append((tuple(domains), tuple(identities), account_url))
        return (Advice("caaForbids", "forbidden", domains[0]),)

    def http01(self, identifier: str, file: HttpFile) -> tuple[Advice, ...]:
        self.asked.append((identifier, file.path, file.content))
        return (Advice("httpDiffers", "another file", identifier),)


def advice(house: House | Program, order_id: str) -> list[dict[str, Any]]:
    query = "query($o: ID!) { order(id: $o) { advice { code message identifier } } }"
    return list(house.graphql(query, o=order_id)["order"]["advice"])


def house_of(folder: Path, stub: StubCa, adviser: Outspoken) -> House:
    settings = replace(Settings.read({}, folder / "data"), http_01_zones=("arrives.example",))
    return House(folder, stub, settings=settings, kinds={}, adviser=adviser)


def test_caa_records_are_read_while_an_order_is_placed(tmp_path: Path, stub: StubCa) -> None:
    stub.meta = {"caaIdentities": ["ca.example"]}
    adviser = Outspoken()
    with house_of(tmp_path, stub, adviser) as house:
        account = house.create_account()
        order = house.create_order(account["id"], "*.a.example")
        house.await_order(order["id"], "PENDING")
        told = {"code": "caaForbids", "message": "forbidden", "identifier": "*.a.example"}
        assert advice(house, order["id"]) == [told]
        assert adviser.asked == [(("*.a.example",), ("ca.example",), account["url"])]
        house.prove(order["id"])
        house.await_order(order["id"], "VALID")
        assert advice(house, order["id"]) == [told]


def test_ca_without_an_identity_is_not_advised_about(tmp_path: Path, stub: StubCa) -> None:
    adviser = Outspoken()
    with house_of(tmp_path, stub, adviser) as house:
        order = house.create_order(house.create_account()["id"], "a.example")
        house.await_order(order["id"], "PENDING")
        assert (advice(house, order["id"]), adviser.asked) == ([], [])


def test_file_is_looked_for_while_the_ca_is_told_of_it(tmp_path: Path, stub: StubCa) -> None:
    adviser = Outspoken()
    with house_of(tmp_path, stub, adviser) as house:
        order = house.create_order(house.create_account()["id"], "arrives.example")
        house.await_order(order["id"], "VALID")
        [preparation] = [c["preparation"] for c in house.challenges(order["id"]) if c["type"] == "http-01"]
        assert adviser.asked == [("arrives.example", preparation["path"], preparation["content"])]
        told = {"code": "httpDiffers", "message": "another file", "identifier": "arrives.example"}
        assert advice(house, order["id"]) == [told]


def test_adviser_that_takes_long_does_not_hold_up_an_order(tmp_path: Path, stub: StubCa) -> None:
    stub.meta = {"caaIdentities": ["ca.example"]}
    adviser = Outspoken()
    adviser.go_on.clear()
    with house_of(tmp_path, stub, adviser) as house:
        order = house.create_order(house.create_account()["id"], "arrives.example")
        house.await_order(order["id"], "VALID")
        assert [a["code"] for a in advice(house, order["id"])] == ["httpDiffers"]
        adviser.go_on.set()


def test_file_of_the_test_ca_is_seen_where_it_is(tmp_path: Path, pebble: Pebble) -> None:
    with serving(tmp_path, "--test-ca") as server:
        program = Program(server, Directory(directory_of(server), pebble.ca_bundle))
        order = program.create_order(program.create_account()["id"], "www.example.com")
        program.await_order(order["id"], "VALID")
        assert advice(program, order["id"]) == []
