"""What a batch of the table's stream says: what was committed, entities as they then stood, work that is due."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from certwright import items
from certwright.aws.connections import Topic
from certwright.aws.dynamo_item import decode_item
from certwright.events import Record
from certwright.items import Entity
from certwright.model import Account, Certificate, Order
from certwright.table import Due, Item

logger = logging.getLogger(__name__)

SHOWN: dict[str, type[Any]] = {items.KINDS[cls]: cls for cls in (Account, Order, Certificate)}
"""The entities that subscribers may be shown."""


@dataclass(frozen=True)
class Fact:
    """An event as the stream tells of it: `place` is its number in the stream, `kind` what was committed with it."""

    place: str
    record: Record
    kind: str | None

    @property
    def topics(self) -> list[Topic]:
        """Who listens to one of these is to hear of it: to all of the tenant, the subject, and an order's account."""
        tenant, subject = self.record.tenant, self.record.subject_id
        account = self.record.facts.get("account_id") if self.kind == items.KINDS[Order] else None
        return [(tenant, None), *((tenant, id) for id in (subject, account) if id is not None)]


@dataclass
class Batch:
    """`entities` are all versions that the batch holds, by kind and id; `poison` the places of what cannot be read."""

    facts: list[Fact] = field(default_factory=list)
    entities: dict[tuple[str, str], list[Entity]] = field(default_factory=lambda: defaultdict(list))
    due: list[Due] = field(default_factory=list)
    poison: list[str] = field(default_factory=list)

    def entity(self, fact: Fact) -> Entity | None:
        """What was committed with an event, or the oldest version after it that the batch holds."""
        later = [
            entity
            for entity in self.entities.get((fact.kind or "", fact.record.subject_id or ""), ())
            if entity.tenant == fact.record.tenant and getattr(entity, "covered", 0) >= fact.record.sequence
        ]
        return min(later, key=lambda entity: (getattr(entity, "covered", 0), entity.version), default=None)


def read(records: Iterable[Mapping[str, Any]]) -> Batch:
    """The batch of a Lambda event's `Records`; each event once, and those about one subject in their order."""
    batch = Batch()
    for change in records:
        place = change["dynamodb"]["SequenceNumber"]
        try:
            _take(change, place, batch)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            logger.exception("record %s of the stream cannot be read", place)
            batch.poison.append(place)
    batch.facts = in_order(list({fact.record.id: fact for fact in reversed(batch.facts)}.values())[::-1])
    return batch


def _take(change: Mapping[str, Any], place: str, batch: Batch) -> None:
    images = change["dynamodb"]
    if "NewImage" not in images:
        return
    item = decode_item(images["NewImage"])
    rest, _, last = item.pk.rpartition("#")
    if rest.endswith("#event"):
        if change["eventName"] == "INSERT":
            committed = item.attributes.get(items.COMMITTED)
            kind = None if committed is None else str(committed)
            batch.facts += [Fact(place, record, kind) for record in items.records(item, rest.removesuffix("#event"))]
        return
    at = items.due(item)
    if at is not None and at != _due_before(images):
        batch.due.append(Due(item.pk, item.sk, at))
    if last in SHOWN:
        batch.entities[last, item.sk].append(items.entity(SHOWN[last], item))


def _due_before(images: Mapping[str, Any]) -> int | None:
    before: Item | None = decode_item(images["OldImage"]) if "OldImage" in images else None
    return items.due(before) if before else None


def in_order(facts: Sequence[Fact]) -> list[Fact]:
    """Those about one subject by their numbers, in the places that the batch has for that subject."""
    by_subject: dict[Topic, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_subject[fact.record.tenant, fact.record.subject_id].append(fact)
    waiting = {
        subject: iter(sorted(some, key=lambda fact: fact.record.sequence)) for subject, some in by_subject.items()
    }
    return [next(waiting[fact.record.tenant, fact.record.subject_id]) for fact in facts]
