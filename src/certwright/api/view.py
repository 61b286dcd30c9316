"""GraphQL over HTTP and over WebSocket (graphql-transport-ws), on Strawberry's ASGI view.

What is added to it: a sign-in before anything is executed, GraphQL over HTTP's own media type with its statuses, errors
as JSON, and a socket that answers malformed messages with their close codes and ends with its credential.
"""

import asyncio
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.subscriptions.protocols.graphql_transport_ws.handlers import BaseGraphQLTransportWSHandler
from strawberry.subscriptions.protocols.graphql_transport_ws.types import PingMessage, PongMessage
from strawberry.types import ExecutionResult, SubscriptionExecutionResult
from strawberry.types.unset import UNSET, UnsetType

from certwright.api.context import Api, Context
from certwright.api.errors import document
from certwright.api.schema import schema
from certwright.errors import CertwrightError, Unauthenticated

MEDIA_TYPE = "application/graphql-response+json"
MAX_OPERATIONS_PER_SOCKET = 100
_RECHECK = 5.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class TransportWsHandler(BaseGraphQLTransportWSHandler[Context, None]):
    """The protocol's rules where Strawberry's handler is more lenient or breaks."""

    async def handle_message(self, message: Any) -> None:
        fault = _fault(message)
        if fault:
            await self.handle_invalid_message(fault)
        else:
            await super().handle_message(message)

    async def handle_ping(self, message: PingMessage) -> None:
        pong: PongMessage = {"type": "pong"}
        if message.get("payload") is not None:
            pong["payload"] = message["payload"]
        await self.send_message(pong)

    async def handle(self) -> None:
        watch = asyncio.create_task(self._watch_credential())
        try:
            await super().handle()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _watch_credential(self) -> None:
        """Close the socket when its credential expires or is revoked."""
        while True:
            await asyncio.sleep(_RECHECK)
            if self.connection_acknowledged:
                try:
                    await self.context.check()
                except CertwrightError:
                    await self.websocket.close(code=4403, reason="Forbidden")
                    return


def _fault(message: object) -> str | None:
    """What is wrong with the shape of a client's message; None when nothing is."""
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        return "a message must be an object with a type"
    payload = message.get("payload")
    if message["type"] in ("subscribe", "complete") and not (isinstance(message.get("id"), str) and message["id"]):
        return "the message must have an id"
    if message["type"] == "subscribe":
        if not isinstance(payload, dict) or not isinstance(payload.get("query"), str):
            return "a subscribe message must have a payload with a query"
        if not isinstance(payload.get("variables"), dict | None) or not isinstance(
            payload.get("operationName"), str | None
        ):
            return "variables must be an object and operationName a string"
    elif not isinstance(payload, dict | None):
        return "the payload must be an object"
    return None


class View(GraphQL[Context, None]):
    """The ASGI application at /graphql."""

    graphql_transport_ws_handler_class = TransportWsHandler

    def __init__(self, api: Api, *, allowed_origins: Sequence[str] = (), init_timeout: float = 10) -> None:
        super().__init__(
            schema,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=timedelta(seconds=init_timeout),
            max_subscriptions_per_connection=MAX_OPERATIONS_PER_SOCKET,
            allowed_origins=allowed_origins,
        )
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.run(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        try:
            response = await self.run(request)
        except HTTPException as error:
            response = _json({"errors": [{"message": error.reason}]}, error.status_code, request)
        except CertwrightError as error:
            response = _refusal(error, request)
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:  # noqa: ARG002
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        return Context(self._api, request_id, request.client.host if request.client else None)

    async def execute_operation(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,
        request_data: GraphQLRequestData | list[GraphQLRequestData],
        context: Context,
        root_value: None,
        sub_response: Response,
    ) -> ExecutionResult | list[ExecutionResult] | SubscriptionExecutionResult:
        """Nothing is executed for nobody: not even introspection."""
        await context.sign_in(request.headers.get("authorization"))
        return await super().execute_operation(
            request, request_adapter, request_data, context, root_value, sub_response
        )

    async def on_ws_connect(self, context: Context) -> UnsetType:
        authorization = context.connection_params.get("authorization")
        try:
            await context.sign_in(authorization if isinstance(authorization, str) else None)
        except CertwrightError as error:
            raise ConnectionRejectionError from error
        no_payload: UnsetType = UNSET
        return no_payload

    async def get_sub_response(self, request: Request | WebSocket) -> Response:
        response = await super().get_sub_response(request)
        response.media_type = _media_type(request)
        return response

    async def process_result(self, request: Request, result: ExecutionResult) -> GraphQLHTTPResponse:
        processed = await super().process_result(request, result)
        if result.data is None and result.errors and not any(error.path for error in result.errors):
            processed.pop("data", None)  # A request error: there is no `data` entry then (GraphQL §7.1.2).
        return processed

    def create_response(
        self, response_data: GraphQLHTTPResponse | list[GraphQLHTTPResponse], sub_response: Response
    ) -> Response:
        """Request errors are 400 in GraphQL over HTTP's media type, and 200 in plain JSON, as legacy clients expect."""
        rejected = isinstance(response_data, dict) and "data" not in response_data
        status = 400 if rejected and sub_response.media_type == MEDIA_TYPE else 200
        return Response(self.encode_json(response_data), status, media_type=sub_response.media_type)


def _media_type(request: Request | WebSocket) -> str:
    """GraphQL over HTTP's media type where it is asked for, else JSON (§6.1 of that specification)."""
    accepted = request.headers.get("accept", "")
    offered = [kind.split(";")[0].strip().lower() for kind in accepted.split(",")]
    for kind in offered:
        if kind == MEDIA_TYPE:
            return MEDIA_TYPE
        if kind == "application/json":
            break
    return "application/json"


def _json(content: Mapping[str, Any], status: int, request: Request, headers: dict[str, str] | None = None) -> Response:
    return Response(json.dumps(content), status, headers, media_type=_media_type(request))


def _refusal(error: CertwrightError, request: Request) -> Response:
    if isinstance(error, Unauthenticated):
        return _json(document(error), 401, request, {"WWW-Authenticate": "Bearer"})
    return _json(document(error), 503, request)
