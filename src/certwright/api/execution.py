"""Executes one operation of a socket for a transport that keeps no handler: messages in, messages out."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

from strawberry.types.execution import ExecutionResult, PreExecutionError

from certwright.api.context import Context
from certwright.api.messages import Message
from certwright.api.schema import schema


async def execute(id: str, payload: Mapping[str, Any], context: Context) -> AsyncGenerator[Message, None]:
    """The `next` messages of an operation, or one `error` where it cannot be executed.

    A `complete` is left to the caller, who knows whether anything follows. `payload` is a `subscribe` message's.
    """
    stream = await schema.stream(
        payload["query"],
        variable_values=payload.get("variables"),
        operation_name=payload.get("operationName"),
        context_value=context,
    )
    async with aclosing(stream) as results:
        async for result in results:
            yield _message(id, result)


def _message(id: str, result: Any) -> Message:
    errors = [error.formatted for error in result.errors or ()]
    if isinstance(result, PreExecutionError):
        return {"type": "error", "id": id, "payload": errors}
    assert isinstance(result, ExecutionResult), "nothing is delivered incrementally"  # noqa: S101
    return {"type": "next", "id": id, "payload": {"data": result.data, **({"errors": errors} if errors else {})}}


def has_code(message: Message, code: str) -> bool:
    """Whether an error of a `next` or `error` message has this code."""
    payload = message["payload"]
    errors = payload if message["type"] == "error" else payload.get("errors", ())
    return any(error.get("extensions", {}).get("code") == code for error in errors)
