"""API Gateway's `@connections`: how a function says something to a socket."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from certwright.errors import CertwrightError, InvalidInput, Unavailable

if TYPE_CHECKING:
    from botocore.config import Config

MAX_MESSAGE = 128 * 1024
"""Octets of one message (API Gateway's quota for WebSocket APIs)."""

_GONE, _TOO_MANY = 410, 429


def impatient() -> "Config":
    """One socket must not keep the others waiting; and what to try again is decided here."""
    from botocore.config import Config

    return Config(connect_timeout=1, read_timeout=1.5, retries={"total_max_attempts": 1}, max_pool_connections=64)


class Gone(Exception):
    """There is no such socket any more."""


class Stalled(CertwrightError):
    """This socket took nothing, for a reason that may be its own."""

    code = "UNAVAILABLE"


class Gateway:
    """Through the boto3 client `client`, of service "apigatewaymanagementapi" and `impatient`. Safe from any thread."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def post(self, connection_id: str, message: Mapping[str, Any]) -> None:
        """Send a message. Raises Gone, Stalled, InvalidInput for one that is too large, and Unavailable where API
        Gateway cannot be reached or asks everyone to wait."""
        data = json.dumps(message, separators=(",", ":")).encode()
        if len(data) > MAX_MESSAGE:
            raise InvalidInput(
                f"the answer has {len(data)} octets, and a message may have {MAX_MESSAGE} here; ask for less at once, "
                "or over HTTP"
            )
        self._call("post_to_connection", ConnectionId=connection_id, Data=data)

    def disconnect(self, connection_id: str) -> None:
        """Close a socket that takes nothing; its client sees 1000. Raises Gone, Stalled and Unavailable."""
        self._call("delete_connection", ConnectionId=connection_id)

    def _call(self, method: str, **request: Any) -> None:
        """What API Gateway certainly did not do is tried again at once; a call without an answer may have been done.

        That API Gateway cannot be reached is no fault of the socket's.
        """
        for last in (False, True):
            try:
                getattr(self._client, method)(**request)
            except ClientError as error:
                _raise_for(error.response["ResponseMetadata"]["HTTPStatusCode"], error)
                if last:
                    raise Stalled(f"API Gateway refused it: {error}") from error
            except (EndpointConnectionError, ConnectTimeoutError) as error:
                if last:
                    raise Unavailable(f"API Gateway cannot be reached: {error}") from error
            except BotoCoreError as error:
                raise Stalled(f"API Gateway gave no answer: {error}") from error
            else:
                return


def _raise_for(status: int, error: ClientError) -> None:
    """The status counts: not every emulator of API Gateway gives the error's name."""
    if status == _GONE:
        raise Gone from error
    if status == _TOO_MANY:
        raise Unavailable("API Gateway asks to send less") from error
