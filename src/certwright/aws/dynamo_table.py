"""The table in DynamoDB, as infra/table.yml defines it and `dynamo_item` lays it out.

Reads of items are strongly consistent. What DynamoDB refuses for the moment (throttling, a transaction in the way) is
tried again a bounded number of times.
"""

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as EndpointError

from certwright.aws.dynamo_item import (
    SHARDS,
    Image,
    attribute,
    decode_item,
    encode_amount,
    encode_due,
    encode_item,
    encode_key,
    encode_number,
    shard_of,
)
from certwright.errors import Unavailable
from certwright.table import Add, Delete, Due, ExpectationFailed, Item, Key, Operation, Put, Require, check_transaction

MAX_KEYS = 100
"""The most keys one BatchGetItem takes."""

MAX_BATCH = 25
"""The most operations one BatchWriteItem takes."""

_MARK_OCTETS = 8

ATTEMPTS = 10
FIRST_PAUSE_SECONDS = 0.025
LONGEST_PAUSE_SECONDS = 1.0

_TTL = {"#ttl": "ttl"}  # a reserved word, as is shard
_LIVE = "attribute_not_exists(#ttl) OR #ttl >= :now"
_ABSENT = "attribute_not_exists(pk) OR #ttl < :now"

_ITEM_TRY_AGAIN = {"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"}
_TRY_AGAIN = {
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "ThrottlingException",
    "TransactionConflictException",
    "TransactionInProgressException",
}


class DynamoTable:
    """`certwright.table.Table` in the table `table_name`, through the boto3 client `client` (of service "dynamodb").

    `clock` gives seconds since the epoch, for expiry. `sleep` and `jitter` (0 … 1) time the attempts at what
    DynamoDB asks to try again. Its methods raise Unavailable when the last of ATTEMPTS failed, or no answer came.
    """

    def __init__(
        self,
        client: Any,
        table_name: str,
        clock: Callable[[], int],
        *,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._name = table_name
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter

    def get(self, keys: Sequence[Key]) -> list[Item | None]:
        now = self._clock()
        wanted = list(dict.fromkeys(keys))
        found: dict[Key, Item] = {}
        for start in range(0, len(wanted), MAX_KEYS):
            for image in self._images(wanted[start : start + MAX_KEYS]):
                item = decode_item(image)
                if item.expires_at is None or item.expires_at >= now:
                    found[item.key] = item
        return [found.get(key) for key in keys]

    def query(
        self, pk: str, *, limit: int, after: str | None = None, newest_first: bool = True, by_index: bool = False
    ) -> list[Item]:
        partition, sort = ("ipk", "isk") if by_index else ("pk", "sk")
        condition, values = f"{partition} = :pk", {":pk": {"S": pk}}
        if after is not None:
            condition += f" AND {sort} {'<' if newest_first else '>'} :after"
            values[":after"] = {"S": after}
        where = {"IndexName": "index"} if by_index else {"ConsistentRead": True}
        images = self._query(condition, values, Limit=limit, ScanIndexForward=not newest_first, **where)
        return self._resolve(images, limit) if by_index else [decode_item(image) for image in islice(images, limit)]

    def due(self, now: int, *, limit: int, after: Due | None = None) -> list[Due]:
        entries = islice(self._due_entries(now, limit, after), limit)
        return [Due(entry["pk"]["S"], entry["sk"]["S"], int(entry["due"]["N"])) for entry in entries]

    def write(self, operations: Sequence[Operation]) -> None:
        """A transaction, puts that are apart from it before, deletions that are apart after it.

        What is in a transaction costs twice as much; so what need not be is in none.
        """
        check_transaction(operations)
        apart = [o for o in operations if isinstance(o, Put | Delete) and o.apart]
        together = [o for o in operations if o not in apart]
        now = self._clock()
        with _outages():
            self._write_apart([o for o in apart if isinstance(o, Put)], now)
            if together:
                self._write(together, now)
            self._write_apart([o for o in apart if isinstance(o, Delete)], now)

    def _write_apart(self, operations: Sequence[Operation], now: int) -> None:
        for start in range(0, len(operations), MAX_BATCH):
            batch = operations[start : start + MAX_BATCH]
            if len(batch) == 1:
                self._write(batch, now)
            else:
                self._write_batch([_in_batch(self._request(o, now, expired=False)) for o in batch])

    def _write_batch(self, requests: list[dict[str, Any]]) -> None:
        pending = {self._name: requests}
        for _ in self._attempts():
            try:
                pending = self._client.batch_write_item(RequestItems=pending).get("UnprocessedItems")
            except ClientError as error:
                if _code(error) not in _TRY_AGAIN:
                    raise
            if not pending:
                return

    def _write(self, operations: Sequence[Operation], now: int) -> None:
        if isinstance(operations[0], Put) and len(operations) == 1:
            self._put(operations[0], now)
            return
        expired: set[Key] = set()
        token = uuid.uuid4()
        for _ in self._attempts():
            try:
                self._send([self._request(o, now, expired=o.key in expired) for o in operations], str(token))
                return
            except ClientError as error:
                if _code(error) == "TransactionCanceledException":
                    expired ^= _counters_misjudged(operations, error)
                    token = uuid.uuid4()
                elif _code(error) not in _TRY_AGAIN:
                    raise

    def _put(self, put: Put, now: int) -> None:
        """A lone put, which costs half of what it does in a transaction. One that expects something is marked: should
        an answer be lost, and its repetition be refused because of the first one, the item that is there tells."""
        request, mark = self._request(put, now, expired=False)["Put"], {"B": uuid.uuid4().bytes[:_MARK_OCTETS]}
        if not put.unconditional:
            request["Item"]["by"] = mark
        repeated = False
        for _ in self._attempts():
            try:
                self._client.put_item(**request)
                return
            except ClientError as error:
                if _code(error) == "ConditionalCheckFailedException":
                    repeated = repeated or error.response["ResponseMetadata"].get("RetryAttempts", 0) > 0
                    if repeated and any(image.get("by") == mark for image in self._images([put.key])):
                        return
                    raise ExpectationFailed(put.key) from error
                if _code(error) not in _TRY_AGAIN:
                    raise
            repeated = True

    def _send(self, requests: list[dict[str, Any]], token: str) -> None:
        """A lone deletion that expects nothing may be repeated as it is."""
        ((verb, request),) = requests[0].items()
        if verb == "Delete" and len(requests) == 1 and "ConditionExpression" not in request:
            self._client.delete_item(**request)
        else:
            self._client.transact_write_items(TransactItems=requests, ClientRequestToken=token)

    def _request(self, operation: Operation, now: int, *, expired: bool) -> dict[str, Any]:
        """One entry of TransactItems; `expired` says that an Add will find an expired item, and is to replace it."""
        key = {"TableName": self._name, "Key": encode_key(operation.key)}
        match operation:
            case Put(item=item, unconditional=unconditional):
                image = encode_item(replace(item, version=1 if unconditional else item.version + 1))
                condition = {} if unconditional else _expect(item.version, now)
                return {"Put": {"TableName": self._name, "Item": image, **condition}}
            case Delete(version=version):
                return {"Delete": {**key, **({} if version is None else _expect(version, now))}}
            case Require(version=version):
                return {"ConditionCheck": {**key, **_expect(version, now)}}
            case Add(pk=pk, sk=sk, amounts=amounts) if expired:
                return self._request(Put(Item(pk, sk, amounts)), now, expired=False)
            case Add(amounts=amounts):
                return {"Update": {**key, **_addition(amounts, now)}}

    def _images(self, keys: Sequence[Key]) -> list[Image]:
        if len(keys) == 1:
            answer = self._call("get_item", TableName=self._name, Key=encode_key(keys[0]), ConsistentRead=True)
            return [answer["Item"]] if "Item" in answer else []
        images: list[Image] = []
        pending = {self._name: {"Keys": [encode_key(key) for key in keys], "ConsistentRead": True}}
        attempts = self._attempts()
        while pending:
            next(attempts)
            answer = self._call("batch_get_item", RequestItems=pending)
            images += answer["Responses"].get(self._name, [])
            pending = answer.get("UnprocessedKeys")
        return images

    def _query(
        self, condition: str, values: Mapping[str, Any], names: Mapping[str, str] | None = None, **options: Any
    ) -> Iterator[Image]:
        """What a Query finds and has not expired, page by page as it is read."""
        while True:
            page = self._call(
                "query",
                TableName=self._name,
                KeyConditionExpression=condition,
                FilterExpression=_LIVE,
                ExpressionAttributeNames={**_TTL, **(names or {})},
                ExpressionAttributeValues={**values, ":now": encode_number(self._clock())},
                **options,
            )
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            options["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def _resolve(self, entries: Iterator[Image], limit: int) -> list[Item]:
        """The items of index entries, without those that have moved on while the index lagged behind."""
        items: list[Item] = []
        while chunk := list(islice(entries, limit - len(items))):
            stored = self.get([(entry["pk"]["S"], entry["sk"]["S"]) for entry in chunk])
            places = [(entry["ipk"]["S"], entry["isk"]["S"]) for entry in chunk]
            items += [item for item, place in zip(stored, places, strict=True) if item and item.index == place]
        return items

    def _due_entries(self, now: int, limit: int, after: Due | None) -> Iterator[Image]:
        first = shard_of((after.pk, after.sk)) if after else SHARDS[0]
        for shard in SHARDS[SHARDS.index(first) :]:
            start = {}
            if after and shard == first:
                start["ExclusiveStartKey"] = encode_key((after.pk, after.sk)) | encode_due(shard, after.due)
            names, values = {"#shard": "shard"}, {":shard": {"S": shard}, ":until": encode_number(now)}
            condition = "#shard = :shard AND due <= :until"
            yield from self._query(condition, values, names, IndexName="due", Limit=limit, **start)

    def _attempts(self) -> Iterator[None]:
        """Come back at once, then after ever longer pauses; raise Unavailable after ATTEMPTS."""
        yield
        for doublings in range(ATTEMPTS - 1):
            self._sleep(min(FIRST_PAUSE_SECONDS * 2**doublings, LONGEST_PAUSE_SECONDS) * self._jitter())
            yield
        raise Unavailable("the database is too busy; try again later")

    def _call(self, method: str, **request: Any) -> Any:
        with _outages():
            return getattr(self._client, method)(**request)


@contextmanager
def _outages() -> Iterator[None]:
    """What may pass by itself, and did not while botocore retried it, becomes Unavailable."""
    try:
        yield
    except (EndpointError, HTTPClientError) as error:
        raise Unavailable("the database does not answer; try again later") from error
    except ClientError as error:
        if _code(error) in _TRY_AGAIN:
            raise Unavailable("the database is too busy; try again later") from error
        raise


def _in_batch(request: dict[str, Any]) -> dict[str, Any]:
    """An entry of TransactItems as one of BatchWriteItem, which names the table once for all."""
    ((verb, content),) = request.items()
    return {f"{verb}Request": {name: part for name, part in content.items() if name != "TableName"}}


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"])


def _counters_misjudged(operations: Sequence[Operation], error: ClientError) -> set[Key]:
    """The keys of Adds that found an expired item where none was thought to be, or none where one was.

    Raises ExpectationFailed, or `error` itself where trying again cannot help.
    """
    codes = [reason["Code"] for reason in error.response["CancellationReasons"]]
    failed = [o for o, code in zip(operations, codes, strict=True) if code == "ConditionalCheckFailed"]
    for operation in failed:
        if not isinstance(operation, Add):
            raise ExpectationFailed(operation.key) from error
    if not set(codes) <= _ITEM_TRY_AGAIN | {"None", "ConditionalCheckFailed"}:
        raise error
    return {operation.key for operation in failed}


def _expect(version: int, now: int) -> dict[str, Any]:
    condition, values = _ABSENT, {":now": encode_number(now)}
    if version > 0:
        condition, values = f"v = :version AND ({_LIVE})", {**values, ":version": encode_number(version)}
    return {
        "ConditionExpression": condition,
        "ExpressionAttributeNames": _TTL,
        "ExpressionAttributeValues": values,
    }


def _addition(amounts: Mapping[str, int], now: int) -> dict[str, Any]:
    names = {f"#n{i}": attribute(name) for i, name in enumerate(amounts)}
    values = {f":n{i}": encode_amount(name, amount) for i, (name, amount) in enumerate(amounts.items())}
    additions = ", ".join(f"#n{i} :n{i}" for i in range(len(amounts)))
    return {
        "UpdateExpression": "SET v = if_not_exists(v, :first)" + (f" ADD {additions}" if amounts else ""),
        "ConditionExpression": _LIVE,
        "ExpressionAttributeNames": {**names, **_TTL},
        "ExpressionAttributeValues": {**values, ":first": encode_number(1), ":now": encode_number(now)},
    }
