"""How an item stands in DynamoDB, in the table, in answers and in streams.

    pk, sk      the key
    v           the version
    _NAME       attribute NAME of the item where it is an integer: on its own, for ADD and the filters of streams
    b           all other attributes, deflated: see `dynamo_body`
    by          which write this is, where the item was written by itself: see `DynamoTable`
    ipk, isk    the index entry, in the global secondary index `index`
    shard, due  the due entry, in the global secondary index `due`: a stable hash of the key, and the time in ms
    ttl         expires_at; DynamoDB removes the item up to days later, so every read and condition looks at it too

Both indexes are sparse, and eventually consistent.
"""

import base64
import zlib
from collections.abc import Mapping
from typing import Any, TypeGuard

from certwright.aws.dynamo_body import deflate, inflate
from certwright.table import Item, Key, Value

SHARDS = "01234567"
_PREFIX = "_"

Image = Mapping[str, Mapping[str, Any]]
"""An item as DynamoDB writes it: {"pk": {"S": "…"}, "v": {"N": "1"}, …}."""


def encode_key(key: Key) -> dict[str, dict[str, Any]]:
    pk, sk = key
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def encode_item(item: Item) -> dict[str, dict[str, Any]]:
    """The image of an item. Raises TypeError, naming the attribute, for what is no `certwright.table.Value`."""
    image = encode_key(item.key) | {"v": encode_number(item.version)}
    numbers = {name: value for name, value in item.attributes.items() if _is_integer(value)}
    for name, value in numbers.items():
        image[attribute(name)] = encode_number(value)
    if rest := {name: _checked(name, value) for name, value in item.attributes.items() if name not in numbers}:
        image["b"] = {"B": deflate(rest)}
    if item.index is not None:
        image["ipk"], image["isk"] = ({"S": part} for part in item.index)
    if item.due is not None:
        image |= encode_due(shard_of(item.key), item.due)
    if item.expires_at is not None:
        image["ttl"] = encode_number(item.expires_at)
    return image


def decode_item(image: Image) -> Item:
    """The item that an image shows, whether or not it has expired. Raises ValueError for one that is damaged."""
    numbers = {name[len(_PREFIX) :]: int(v["N"]) for name, v in image.items() if name.startswith(_PREFIX)}
    return Item(
        pk=image["pk"]["S"],
        sk=image["sk"]["S"],
        attributes={**numbers, **(inflate(_octets(image["b"]["B"])) if "b" in image else {})},
        version=int(image["v"]["N"]),
        index=(image["ipk"]["S"], image["isk"]["S"]) if "ipk" in image else None,
        due=int(image["due"]["N"]) if "due" in image else None,
        expires_at=int(image["ttl"]["N"]) if "ttl" in image else None,
    )


def shard_of(key: Key) -> str:
    return SHARDS[zlib.crc32("\0".join(key).encode()) % len(SHARDS)]


def attribute(name: str) -> str:
    """Where the integer `name` of an item stands."""
    return _PREFIX + name


def encode_due(shard: str, due: int) -> dict[str, dict[str, Any]]:
    return {"shard": {"S": shard}, "due": encode_number(due)}


def encode_number(value: int) -> dict[str, Any]:
    return {"N": str(value)}


def encode_amount(name: str, amount: object) -> dict[str, Any]:
    """What is to be added to the integer `name`. Raises TypeError for what is none."""
    if not _is_integer(amount):
        raise TypeError(f"attribute {name!r} holds a {type(amount).__name__}, to which nothing can be added")
    return encode_number(amount)


def _octets(content: bytes | str) -> bytes:
    """A binary as boto3 gives it; or in base64, as the event of a stream holds it."""
    return base64.b64decode(content) if isinstance(content, str) else bytes(content)


def _is_integer(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _checked(name: str, value: Value) -> Value:
    """The value of an attribute. Raises TypeError for what a table cannot keep."""
    match value:
        case None | bool() | str() | int():
            return value
        case Mapping():
            return {key: _checked(name, inner) for key, inner in value.items()}
        case list() | tuple():
            return [_checked(name, inner) for inner in value]
    raise TypeError(f"attribute {name!r} holds a {type(value).__name__}, which a table cannot keep")
