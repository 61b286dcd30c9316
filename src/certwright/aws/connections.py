"""The sockets of API Gateway and what they listen to, in the table.

pk                        sk                     what
socket#{connection}       connection             it was acknowledged: the session, never the credential
socket#{connection}       operation#{digest}     an operation of it: where its subscription is, or that it is over
{tenant}#topic#{subject}  {connection}#{digest}  a subscription: what to execute, and for whom; `-` is the whole tenant

An id that a client gave its operation may be of any length, so keys hold a digest of it. API Gateway does not always
tell of the end of a socket, so everything expires with the longest life that one can have.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias

from certwright import codec
from certwright.errors import Conflict, Unauthenticated
from certwright.model import Session
from certwright.table import Delete, ExpectationFailed, Item, Key, Operation, Put, Require, Table

LIFE_SECONDS = 2 * 3600 + 600
"""API Gateway ends a socket after two hours; a little more for clocks that differ."""

_TOMBSTONE_SECONDS = 300
_TRIES = 10
_PAGE = 500
_DELETIONS = 10

Topic: TypeAlias = tuple[str, str | None]
"""(tenant, id of an entity), or (tenant, None) for everything of a tenant."""


class Overtaken(Exception):
    """The client's `complete` was here before the `subscribe` that it completes."""


@dataclass(frozen=True)
class Connection:
    """An acknowledged socket: for whom, and the digests of the ids of its subscriptions."""

    session: Session
    operations: frozenset[str]

    def has(self, id: str) -> bool:
        return _digest(id) in self.operations


@dataclass(frozen=True)
class Subscription:
    """`payload` is that of the `subscribe` message with this `id`."""

    connection_id: str
    id: str
    payload: Mapping[str, Any]
    session: Session
    topic: Topic

    @property
    def name(self) -> str:
        """Unique among all subscriptions."""
        return f"{self.connection_id}#{_digest(self.id)}"

    @property
    def key(self) -> Key:
        return _topic_pk(self.topic), self.name


class Connections:
    """Safe from any thread. `clock` gives seconds since the epoch."""

    def __init__(self, table: Table, clock: Callable[[], int]) -> None:
        self._table = table
        self._clock = clock

    def open(self, connection_id: str, session: Session) -> None:
        """Note that a socket is acknowledged. Raises Conflict where it was already."""
        content = {"session": codec.pack(session)}
        item = Item(*_connection_key(connection_id), content, expires_at=self._clock() + LIFE_SECONDS)
        try:
            self._table.write([Put(item)])
        except ExpectationFailed as failure:
            raise Conflict("this socket was initialised already") from failure

    def find(self, connection_id: str) -> Connection | None:
        """The socket, None before it is acknowledged and after its end."""
        items = list(self._items(connection_id))
        if not items or items[0].key != _connection_key(connection_id):
            return None
        digests = frozenset(item.sk.partition("#")[2] for item in items if "topic" in item.attributes)
        return Connection(_session(items[0]), digests)

    def add(self, subscription: Subscription, at: int) -> None:
        """Record a subscription whose message came at `at` (ms).

        Raises Conflict where its id is in use, Overtaken where the client completed it already, and Unauthenticated
        where the socket has ended.
        """
        until = self._clock() + LIFE_SECONDS
        pk, sk = subscription.key
        content = {"id": subscription.id, "payload": json.dumps(subscription.payload, separators=(",", ":"))}
        row = Item(pk, sk, {**content, "session": codec.pack(subscription.session)}, expires_at=until)
        place = _operation_key(subscription.connection_id, subscription.id)
        version = 0
        for _ in range(_TRIES):
            operation = Item(*place, {"topic": pk, "at": at}, version, expires_at=until)
            try:
                connection = Require(*_connection_key(subscription.connection_id), 1)
                self._table.write([Put(operation), Put(row, unconditional=True), connection])
            except ExpectationFailed as failure:
                if failure.key != place:
                    raise Unauthenticated("this socket has ended") from failure
                version = self._version_of_earlier(place, at)
            else:
                return
        raise Conflict("too many messages about the same operation at the same moment")

    def _version_of_earlier(self, place: Key, at: int) -> int:
        """The version of a tombstone that an earlier operation with the same id left, 0 where there is nothing."""
        [found] = self._table.get([place])
        if found is not None and "topic" in found.attributes:
            raise Conflict("an operation with this id is running already")
        if found is not None and _at(found) >= at:
            raise Overtaken
        return 0 if found is None else found.version

    def complete(self, connection_id: str, id: str, at: int) -> None:
        """End an operation by a message that came at `at` (ms).

        Messages are taken in parallel: where the operation is not there yet, a tombstone awaits it.
        """
        place = _operation_key(connection_id, id)
        for _ in range(_TRIES):
            connection, found = self._table.get([_connection_key(connection_id), place])
            if connection is None or (found is not None and _at(found) > at):
                return
            try:
                self._table.write(self._ending(connection_id, id, found, at))
            except ExpectationFailed:
                continue  # The operation, or its other end, was recorded at this very moment: look again.
            return

    def _ending(self, connection_id: str, id: str, found: Item | None, at: int) -> list[Operation]:
        place = _operation_key(connection_id, id)
        if found is not None and "topic" in found.attributes:
            topic_key = str(found.attributes["topic"]), f"{connection_id}#{_digest(id)}"
            return [Delete(*place, found.version), Delete(*topic_key)]
        until = self._clock() + _TOMBSTONE_SECONDS
        tombstone = Item(*place, {"at": at}, found.version if found else 0, expires_at=until)
        return [Put(tombstone), Require(*_connection_key(connection_id), 1)]

    def remove(self, subscription: Subscription) -> None:
        """Forget a subscription, whose id is free again."""
        place = _operation_key(subscription.connection_id, subscription.id)
        self._table.write([Delete(*place), Delete(*subscription.key)])

    def forget(self, connection_id: str, subscription: Subscription | None = None) -> None:
        """Remove everything about a socket, the socket first: nothing can be added to it from then on.

        A `subscription` of it goes too, should only that be left of it.
        """
        self._table.write([Delete(*_connection_key(connection_id))])
        keys = dict.fromkeys(self._keys(connection_id))
        if subscription:
            keys.setdefault(subscription.key)
        deletions = (Delete(*key, apart=True) for key in keys)
        while batch := list(islice(deletions, _DELETIONS)):
            self._table.write(batch)

    def _keys(self, connection_id: str) -> Iterator[Key]:
        for item in list(self._items(connection_id)):
            yield item.key
            if "topic" in item.attributes:
                yield str(item.attributes["topic"]), f"{connection_id}#{item.sk.partition('#')[2]}"

    def subscribers(self, topic: Topic) -> list[Subscription]:
        """Who listens to a topic."""
        return [_subscription(item, topic) for item in self._partition(_topic_pk(topic))]

    def _items(self, connection_id: str) -> Iterator[Item]:
        """The socket's own item first: `connection` sorts before `operation`."""
        return self._partition(_connection_key(connection_id)[0])

    def _partition(self, pk: str) -> Iterator[Item]:
        after = None
        while page := self._table.query(pk, limit=_PAGE, after=after, newest_first=False):
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].sk


def _connection_key(connection_id: str) -> Key:
    return f"socket#{connection_id}", "connection"


def _operation_key(connection_id: str, id: str) -> Key:
    return f"socket#{connection_id}", f"operation#{_digest(id)}"


def _topic_pk(topic: Topic) -> str:
    tenant, subject_id = topic
    return f"{tenant}#topic#{subject_id or '-'}"


def _digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()[:32]


def _at(item: Item) -> int:
    return int(str(item.attributes["at"]))


def _session(item: Item) -> Session:
    packed: Any = item.attributes["session"]
    return codec.unpack(Session, packed)


def _subscription(item: Item, topic: Topic) -> Subscription:
    connection_id = item.sk.rpartition("#")[0]
    payload = json.loads(str(item.attributes["payload"]))
    return Subscription(connection_id, str(item.attributes["id"]), payload, _session(item), topic)
