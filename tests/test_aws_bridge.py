"""Events on EventBridge: what they look like, as docs/events.md says, and that none is lost on the way."""

import dataclasses
import inspect
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber

from certwright import events
from certwright.aws.bridge import Bridge, entry
from certwright.errors import Unavailable
from certwright.events import Event, OrderFulfilled, Record, record
from certwright.model import Actor, Role

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
DOCS = Path(__file__).resolve().parents[1] / "docs" / "events.md"
ANN = Actor("ann", Role.OPERATOR, "acme", "r-1", "192.0.2.1")
KINDS = [
    kind
    for kind in vars(events).values()
    if inspect.isclass(kind) and issubclass(kind, Event) and not kind.__subclasses__()
]


def fulfilled(number: int = 1) -> Record:
    event = OrderFulfilled(subject_id="order", account_id="account", certificate_id="certificate")
    return record(event, ANN, id=f"id-{number}", at=NOON, previous=None)


@pytest.fixture
def stub() -> Iterator[tuple[Bridge, Stubber, list[float]]]:
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    client = boto3.client("events", region_name="eu-central-1", **keys)
    pauses: list[float] = []
    with Stubber(client) as stubber:
        yield Bridge(client, "bus", sleep=pauses.append), stubber, pauses
        stubber.assert_no_pending_responses()


def taken(*errors: str | None) -> dict[str, Any]:
    entries = [{"EventId": "e"} if error is None else {"ErrorCode": error} for error in errors]
    return {"FailedEntryCount": sum(error is not None for error in errors), "Entries": entries}


def test_entry_tells_all_but_the_place_in_the_chain() -> None:
    found = entry(fulfilled())
    assert (found["Source"], found["DetailType"], found["Time"]) == ("certwright", "OrderFulfilled", NOON)
    assert json.loads(found["Detail"]) == {
        "id": "id-1",
        "tenant": "acme",
        "at": "2026-11-01T12:00:00+00:00",
        "type": "OrderFulfilled",
        "actor": "ann",
        "outcome": "succeeded",
        "subjectId": "order",
        "detail": "account id: account; certificate id: certificate",
        "facts": {"accountId": "account", "certificateId": "certificate"},
        "requestId": "r-1",
        "sourceIp": "192.0.2.1",
    }


def test_many_are_put_ten_at_once(stub: tuple[Bridge, Stubber, list[float]]) -> None:
    bridge, stubber, pauses = stub
    for number in (10, 10, 5):
        stubber.add_response("put_events", taken(*[None] * number), {"Entries": [ANY] * number})
    bridge.put([fulfilled(n) for n in range(25)])
    assert pauses == []


def test_those_that_were_not_taken_are_put_again_and_only_those(stub: tuple[Bridge, Stubber, list[float]]) -> None:
    bridge, stubber, pauses = stub
    stubber.add_response("put_events", taken(None, "ThrottlingException", None))
    again = {**entry(fulfilled(1)), "EventBusName": "bus"}
    stubber.add_response("put_events", taken(None), {"Entries": [again]})
    bridge.put([fulfilled(n) for n in range(3)])
    assert len(pauses) == 1


def test_what_is_never_taken_is_unavailable(stub: tuple[Bridge, Stubber, list[float]]) -> None:
    bridge, stubber, pauses = stub
    for _ in range(3):
        stubber.add_response("put_events", taken("InternalFailure"))
    with pytest.raises(Unavailable, match="did not take 1 events"):
        bridge.put([fulfilled()])
    assert pauses == sorted(pauses)


def test_refusal_of_the_whole_call_is_unavailable(stub: tuple[Bridge, Stubber, list[float]]) -> None:
    bridge, stubber, _ = stub
    stubber.add_client_error("put_events", "InternalException", http_status_code=500)
    with pytest.raises(Unavailable):
        bridge.put([fulfilled()])


def test_docs_list_every_event_with_its_outcome_and_facts() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", DOCS.read_text(), re.MULTILINE)
    listed = {name: (outcome, re.findall(r"`(\w+)`", facts)) for name, outcome, facts in rows}
    assert listed == {kind.__name__: (kind.outcome.value, _facts(kind)) for kind in KINDS}


def _facts(kind: type[Event]) -> list[str]:
    names = [f.name for f in dataclasses.fields(kind) if f.name != "subject_id"]
    return [re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name in names]
