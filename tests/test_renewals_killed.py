"""`certwright serve` is killed by SIGKILL while it renews a certificate: it is renewed once all the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.house import await_value
from tests.support.pebble import Pebble
from tests.support.proxy import Moment, Proxy
from tests.test_kill9 import SECONDS, Ca, Life, faults


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[Ca]:
    """It takes what was proved once for proved."""
    with Pebble(tmp_path / "pebble", authz_reuse=100) as pebble:
        yield Ca(pebble, tmp_path / "pebble" / "pebble.log")


def orders(life: Life) -> list[dict[str, Any]]:
    query = "{ orders(first: 10) { edges { node { id status replaces { id } certificate { id replaces { id } } } } } }"
    return [edge["node"] for edge in life.call(query)["orders"]["edges"]]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("operation", ["newOrder", "finalize", "certificate"])
def test_renewal_goes_on_after_a_death_and_is_made_once(ca: Ca, tmp_path: Path, operation: str, moment: Moment) -> None:
    with Proxy(tmp_path / "proxy", ca.pebble) as proxy, Life(tmp_path / "life", proxy) as life:
        first = life.issue(life.create_account(), "killed.example")["certificate"]["id"]
        proxy.strike(operation, 2, moment, life.kill)
        renew = "mutation($c: ID!) { renewCertificate(id: $c) { id } }"
        life.call(renew, c=first)
        query = "query($c: ID!) { certificate(id: $c) { status replacedBy { id } } }"
        old = await_value(
            lambda: life.call(query, c=first)["certificate"], lambda found: found["status"] == "REPLACED", SECONDS
        )
        assert life.deaths == 1
        [renewal, _] = orders(life)
        assert (renewal["status"], renewal["replaces"]["id"]) == ("VALID", first)
        assert renewal["certificate"] == {"id": old["replacedBy"]["id"], "replaces": {"id": first}}
        assert ca.issued == 2
        assert faults(tmp_path / "life") == []
