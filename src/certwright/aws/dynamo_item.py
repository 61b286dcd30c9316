"""How an item stands in DynamoDB, in the table, in answers and in streams.

    pk, sk      the key
    v           the version
    _NAME       attribute NAME of the item, each on its own at the top level, as ADD reaches no deeper
    ipk, isk    the index entry, in the global secondary index `index`
    shard, due  the due entry, in the global secondary index `due`: a stable hash of the key, and the time in ms
    ttl         expires_at; DynamoDB removes the item up to days later, so every read and condition looks at it too

Both indexes are sparse, and eventually consistent.
"""

import zlib
from collections.abc import Mapping
from typing import Any

from certwright.table import Item, Key, Value

SHARDS = "01234567"
ATTRIBUTE_PREFIX = "_"

Image = Mapping[str, Mapping[str, Any]]
"""An item as DynamoDB writes it: {"pk": {"S": "…"}, "v": {"N": "1"}, …}."""


def encode_key(key: Key) -> dict[str, dict[str, Any]]:
    pk, sk = key
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def encode_item(item: Item) -> dict[str, dict[str, Any]]:
    """The image of an item. Raises TypeError, naming the attribute, for what is no `certwright.table.Value`."""
    image = encode_key(item.key) | {"v": encode_number(item.version)}
    for name, value in item.attributes.items():
        image[ATTRIBUTE_PREFIX + name] = encode_value(name, value)
    if item.index is not None:
        image["ipk"], image["isk"] = ({"S": part} for part in item.index)
    if item.due is not None:
        image |= encode_due(shard_of(item.key), item.due)
    if item.expires_at is not None:
        image["ttl"] = encode_number(item.expires_at)
    return image


def decode_item(image: Image) -> Item:
    """The item that an image shows, whether or not it has expired."""
    return Item(
        pk=image["pk"]["S"],
        sk=image["sk"]["S"],
        attributes={
            name[len(ATTRIBUTE_PREFIX) :]: _decode(v) for name, v in image.items() if name.startswith(ATTRIBUTE_PREFIX)
        },
        version=int(image["v"]["N"]),
        index=(image["ipk"]["S"], image["isk"]["S"]) if "ipk" in image else None,
        due=int(image["due"]["N"]) if "due" in image else None,
        expires_at=int(image["ttl"]["N"]) if "ttl" in image else None,
    )


def shard_of(key: Key) -> str:
    return SHARDS[zlib.crc32("\0".join(key).encode()) % len(SHARDS)]


def encode_due(shard: str, due: int) -> dict[str, dict[str, Any]]:
    return {"shard": {"S": shard}, "due": encode_number(due)}


def encode_number(value: int) -> dict[str, Any]:
    return {"N": str(value)}


def encode_value(name: str, value: object) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int():
            return encode_number(value)
        case Mapping():
            return {"M": {key: encode_value(name, inner) for key, inner in value.items()}}
        case list() | tuple():
            return {"L": [encode_value(name, inner) for inner in value]}
    raise TypeError(f"attribute {name!r} holds a {type(value).__name__}, which a table cannot keep")


def _decode(value: Mapping[str, Any]) -> Value:
    ((kind, content),) = value.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return int(content)
        case "M":
            return {key: _decode(inner) for key, inner in content.items()}
        case "L":
            return [_decode(inner) for inner in content]
    scalar: str | bool = content
    return scalar
