"""The messages of graphql-transport-ws, as every transport of ours reads them, and as a Lambda function writes them."""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from graphql import GraphQLError

from certwright.api.errors import told

Message: TypeAlias = dict[str, Any]

PROTOCOL = "graphql-transport-ws"

MAX_OPERATIONS = 100
"""At once, on one socket."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_NOWHERE = "connection"


def decode(data: str | bytes) -> object:
    """What a JSON text holds. Raises JSONDecodeError for whatever is no JSON, or cannot be text."""
    try:
        text = data if isinstance(data, str) else data.decode()
        decoded: object = json.loads(text)
        if _SURROGATE.search(text):
            json.dumps(decoded, ensure_ascii=False).encode()
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), "", 0) from error
    return decoded


def fault(message: object) -> str | None:
    """What is wrong with the shape of a client's message; None when nothing is."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "a message must be an object with a type"
    payload = message.get("payload")
    if message["type"] in ("subscribe", "complete") and not (isinstance(message.get("id"), str) and message["id"]):
        return "the message must have an id"
    if message["type"] == "subscribe":
        return _subscribe_fault(payload)
    if "payload" in message and not isinstance(payload, dict):
        return "the payload must be an object"
    return None


def _subscribe_fault(payload: object) -> str | None:
    if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
        return "a subscribe message must have a payload with a query"
    if not all(isinstance(payload.get(name), dict | None) for name in ("variables", "extensions")):
        return "variables and extensions must be objects"
    if not isinstance(payload.get("operationName"), str | None):
        return "operationName must be a string"
    return None


def authorization(payload: Mapping[str, Any]) -> str | None:
    """The credential in a connection_init's payload, by its header's name in any case."""
    given = {name.lower(): value for name, value in payload.items()}.get("authorization")
    return given if isinstance(given, str) else None


def refusal(message: object, error: Exception, close_code: int | None = None) -> Message:
    """The `error` message for a client's message that is not taken, as the client may see it.

    It names the message's operation; one that belongs to none is answered under an id of its own. `close_code` is the
    code that a server closes with where it can; it stands beside the error's own.
    """
    id = message.get("id") if isinstance(message, dict) else None
    seen = told(GraphQLError(str(error), original_error=error))
    extensions = {**(seen.extensions or {}), **({} if close_code is None else {"closeCode": close_code})}
    payload = [{"message": seen.message, "extensions": extensions}]
    return {"type": "error", "id": id if isinstance(id, str) and id else _NOWHERE, "payload": payload}
