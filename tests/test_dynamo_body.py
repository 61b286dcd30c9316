"""The body of a stored item: small, exact, and readable for as long as it is kept."""

import base64
import hashlib
import json
import zlib

import pytest

from certwright.aws.dynamo_body import DICTIONARIES, deflate, inflate
from certwright.aws.dynamo_item import decode_item, encode_item
from certwright.table import Item, Value

URL = "https://acme-v02.api.letsencrypt.org/acme/order/1234567/987654321"
CHALLENGE = {"id": "01K9ZZZZZZZZZZZZZZZZZZZZZZ-1", "type": "dns-01", "status": "pending", "url": URL, "token": "x" * 43}


def test_body_gives_back_what_it_was_made_of() -> None:
    attributes: dict[str, Value] = {"größe": ["🔐", None, True, {"deep": [1, 10**30, ""]}], "empty": {}}
    assert inflate(deflate(attributes)) == attributes


def test_what_most_items_have_in_common_costs_little() -> None:
    authorization: Value = {"url": URL, "challenges": [CHALLENGE]}
    attributes: dict[str, Value] = {"status": "pending", "acme_server": URL, "authorizations": [authorization]}
    assert len(deflate(attributes)) < len(zlib.compress(json.dumps(attributes).encode(), 9)) * 0.7


def test_dictionary_that_items_were_stored_with_stays_as_it_is() -> None:
    digests = {format: hashlib.sha256(dictionary).hexdigest()[:16] for format, dictionary in DICTIONARIES.items()}
    assert digests == {b"\x01": "340e0bb5a49d0960"}


@pytest.mark.parametrize("body", [b"", b"\x09abc", b"\x01", b"\x01not deflated", deflate({"a": "b" * 99})[:-3]])
def test_damaged_body_is_told_from_others(body: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        inflate(body)


def test_image_in_the_event_of_a_stream_is_read() -> None:
    item = Item("p", "s", {"text": "x", "number": 5, "flag": True}, 3, due=7)
    image = encode_item(item)
    assert set(image) == {"pk", "sk", "v", "b", "_number", "shard", "due"}
    from_lambda = {**image, "b": {"B": base64.b64encode(image["b"]["B"]).decode()}}
    assert decode_item(from_lambda) == decode_item(image) == item
