"""graphql-transport-ws, on Strawberry's handler: its close codes, and a socket that ends with its credential.

4400 malformed message · 4401 subscribe before the acknowledgement · 4403 credential refused, at first or later
4406 subprotocol · 4408 no connection_init in time · 4409 id in use · 4429 second connection_init
1013 the credential cannot be checked now: clients try again by themselves, as they do not after 4500
4500 a fault of ours, logged with its reference
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from graphql import GraphQLError
from starlette.websockets import WebSocketDisconnect, WebSocketState
from strawberry.asgi import ASGIWebSocketAdapter
from strawberry.http.exceptions import WebSocketDisconnected
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import (
    ConnectionInitMessage,
    PingMessage,
    PongMessage,
    SubscribeMessage,
)

from certwright.api.context import Context
from certwright.api.errors import told
from certwright.api.messages import MAX_OPERATIONS, fault
from certwright.errors import CertwrightError, Unauthenticated, Unavailable

_MAX_REASON = 123
"""Octets of a close frame's reason (RFC 6455 §5.5)."""


class SocketAdapter(ASGIWebSocketAdapter):
    """Ends once; whoever still sends after the end is told that the client is gone."""

    async def send_json(self, message: Mapping[str, object]) -> None:
        if self.ws.application_state is WebSocketState.DISCONNECTED:
            raise WebSocketDisconnected
        await super().send_json(message)

    async def close(self, code: int, reason: str) -> None:
        if self.ws.application_state is not WebSocketState.DISCONNECTED:
            short = reason.encode("ascii", "replace")[:_MAX_REASON].decode()
            with suppress(WebSocketDisconnect):
                await super().close(code, short)


class TransportWsHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """The protocol's rules where Strawberry's handler is more lenient or breaks."""

    async def handle(self) -> None:
        watch = asyncio.create_task(self._watch_credential())
        try:
            await super().handle()
        except Exception as error:  # noqa: BLE001  Behind this there is nobody who could tell the client.
            told(GraphQLError("", original_error=error))
            await self.websocket.close(4500, "Internal server error")
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def handle_message(self, message: Any) -> None:
        wrong = fault(message)
        if wrong:
            await self.handle_invalid_message(wrong)
        else:
            await super().handle_message(message)

    async def handle_connection_init(self, message: ConnectionInitMessage) -> None:
        try:
            await super().handle_connection_init(message)
        except Unavailable as error:
            await self.websocket.close(1013, error.message)

    async def handle_ping(self, message: PingMessage) -> None:
        pong: PongMessage = {"type": "pong"}
        if "payload" in message:
            pong["payload"] = message["payload"]
        await self.send_message(pong)

    async def handle_subscribe(self, message: SubscribeMessage) -> None:
        """A credential that was revoked meanwhile starts nothing, and operations beyond the limit are refused."""
        if self.connection_acknowledged:
            try:
                await self.context.check()
                self._check_room(message["id"])
            except Unauthenticated:
                await self.websocket.close(4403, "Forbidden")
                return
            except CertwrightError as error:
                refusal = told(GraphQLError(error.message, original_error=error))
                await self.send_message({"id": message["id"], "type": "error", "payload": [refusal.formatted]})
                return
        await super().handle_subscribe(message)

    def _check_room(self, id: str) -> None:
        if len(self.operations) >= MAX_OPERATIONS and id not in self.operations:
            raise Unavailable(f"a socket may have {MAX_OPERATIONS} operations at once; complete one of them first")

    async def handle_task_exception(self, error: Exception) -> None:
        if not isinstance(error, WebSocketDisconnected):
            told(GraphQLError("", original_error=error))

    @staticmethod
    def _get_pre_execution_close_reason(error: GraphQLError) -> str | None:  # noqa: ARG004
        """None: a document that cannot be executed is answered with an `error` message, and the socket stays."""
        return None

    async def _watch_credential(self) -> None:
        """Close the socket when its credential expires or is revoked, even if nothing is sent on it."""
        while True:
            await asyncio.sleep(self.context.api.patience.watch)
            if self.connection_acknowledged:
                try:
                    await self.context.check()
                except Unauthenticated:
                    await self.websocket.close(4403, "Forbidden")
                    return
                except Unavailable:
                    continue  # Nobody can say that it is not good any more.
