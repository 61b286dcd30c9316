"""Events to other systems: one message on EventBridge for each, as docs/events.md lists them."""

import dataclasses
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from certwright.errors import Unavailable
from certwright.events import Record

SOURCE = "certwright"
_BATCH = 10
_ATTEMPTS = 3
_PAUSE_SECONDS = 0.2
_CHAIN = {"hash", "previous_hash", "sequence"}


def entry(record: Record) -> dict[str, Any]:
    """A record as an entry of PutEvents: its type is the detail-type, all but its place in the chain the detail."""
    content = {f.name: getattr(record, f.name) for f in dataclasses.fields(record) if f.name not in _CHAIN}
    content |= {"at": record.at.isoformat(), "facts": _camel(record.facts)}
    return {
        "Source": SOURCE,
        "DetailType": record.type,
        "Detail": json.dumps(_camel(content), separators=(",", ":")),
        "Time": record.at,
    }


def _camel(content: Mapping[str, Any]) -> dict[str, Any]:
    return {re.sub(r"_(\w)", lambda found: found[1].upper(), name): value for name, value in content.items()}


class Bridge:
    """Puts records on the event bus `bus`, through a boto3 client of "events"."""

    def __init__(self, client: Any, bus: str, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._bus = bus
        self._sleep = sleep

    def put(self, records: Sequence[Record]) -> None:
        """Returns when EventBridge has taken every record. Raises Unavailable; the records are to be put again then."""
        entries = [{**entry(record), "EventBusName": self._bus} for record in records]
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_PAUSE_SECONDS * 2**attempt)
            batches = [entries[start : start + _BATCH] for start in range(0, len(entries), _BATCH)]
            entries = [left for batch in batches for left in self._left(batch)]
            if not entries:
                return
        raise Unavailable(f"EventBridge did not take {len(entries)} events")

    def _left(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those that were not taken."""
        try:
            answer = self._client.put_events(Entries=entries)
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"EventBridge did not take {len(entries)} events: {error}") from error
        return [given for given, taken in zip(entries, answer["Entries"], strict=True) if "ErrorCode" in taken]
