"""GraphQL over HTTP, and the way to the socket, on Strawberry's ASGI view.

What is added to it: a sign-in before anything is executed, GraphQL over HTTP's own media type with its statuses, errors
as JSON, each with its code, and headers that keep answers out of caches and frames.
"""

import json
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from cross_web import AsyncHTTPRequestAdapter, HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from strawberry.asgi import GraphQL
from strawberry.exceptions import ConnectionRejectionError, MissingQueryError
from strawberry.http import GraphQLHTTPResponse, GraphQLRequestData
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL
from strawberry.types import ExecutionResult, SubscriptionExecutionResult
from strawberry.types.graphql import OperationType
from strawberry.types.unset import UNSET, UnsetType

from certwright.api.context import Api, Context
from certwright.api.errors import document
from certwright.api.limits import bounded
from certwright.api.messages import MAX_OPERATIONS, authorization, decode
from certwright.api.schema import schema
from certwright.api.socket import SocketAdapter, TransportWsHandler
from certwright.errors import InvalidInput, Unauthenticated, Unavailable

MEDIA_TYPE = "application/graphql-response+json"
_JSON = "application/json"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
_RETRY_SECONDS = 5
_OPERATIONS = {"GET": {OperationType.QUERY}, "POST": {OperationType.QUERY, OperationType.MUTATION}}


class View(GraphQL[Context, None]):
    """The ASGI application at /graphql."""

    graphql_transport_ws_handler_class = TransportWsHandler
    websocket_adapter_class = SocketAdapter

    def __init__(self, api: Api, ide: Callable[[Request], Response], *, allowed_origins: Sequence[str] = ()) -> None:
        super().__init__(
            schema,
            subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
            connection_init_wait_timeout=timedelta(seconds=api.patience.init),
            max_subscriptions_per_connection=MAX_OPERATIONS,
            allowed_origins=allowed_origins,
        )
        self._api = api
        self._ide = ide

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.run(WebSocket(scope, receive, send))
            return
        request = Request(scope, bounded(receive))
        try:
            response = await self.run(request)
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  Behind this there is nobody who could tell the client.
            response = _refusal(error, request)
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    async def get_context(self, request: Request | WebSocket, response: Response | WebSocket) -> Context:  # noqa: ARG002
        given = request.headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        source_ip = request.client.host if request.client else None
        return Context(self._api, request_id, source_ip, lasts=isinstance(request, WebSocket))

    def decode_json(self, data: str | bytes) -> object:
        return decode(data)

    async def parse_http_body(self, request: AsyncHTTPRequestAdapter) -> GraphQLRequestData:
        if request.method == "GET":
            data: Any = self.parse_query_params(request.query_params)
        elif (request.content_type or "").partition(";")[0].strip().lower() == _JSON:
            data = self.parse_json(await request.get_body())
        else:
            raise HTTPException(415, f"the content type must be {_JSON}")
        if not isinstance(data, dict):
            raise HTTPException(400, "a request is one JSON object; batches are not taken")
        return GraphQLRequestData(
            query=_member(data, "query", str),
            variables=_member(data, "variables", dict),
            operation_name=_member(data, "operationName", str),
            extensions=_member(data, "extensions", dict),
            protocol="http",
        )

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

    async def execute_single(
        self,
        request: Request,
        request_adapter: AsyncHTTPRequestAdapter,  # noqa: ARG002
        sub_response: Response,  # noqa: ARG002
        context: Context,
        root_value: None,
        request_data: GraphQLRequestData,
    ) -> ExecutionResult:
        try:
            return await self.schema.execute(
                request_data.query,
                variable_values=request_data.variables,
                context_value=context,
                root_value=root_value,
                operation_name=request_data.operation_name,
                allowed_operation_types=_OPERATIONS[request.method],
            )
        except InvalidOperationTypeError as error:
            if error.operation_type is OperationType.SUBSCRIPTION:
                raise HTTPException(400, "subscriptions are served over WebSocket, graphql-transport-ws") from error
            raise HTTPException(405, "mutations must be sent by POST") from error
        except CannotGetOperationTypeError as error:
            raise HTTPException(400, error.as_http_error_reason()) from error
        except MissingQueryError as error:
            raise HTTPException(400, "there is no query in the request") from error

    async def on_ws_connect(self, context: Context) -> UnsetType:
        try:
            await context.sign_in(authorization(context.connection_params))
        except Unauthenticated as error:
            raise ConnectionRejectionError from error
        no_payload: UnsetType = UNSET
        return no_payload

    async def render_graphql_ide(self, request: Request) -> Response:
        return self._ide(request)

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


def _member(data: dict[str, Any], name: str, kind: type) -> Any:
    value = data.get(name)
    if value is not None and not isinstance(value, kind):
        raise HTTPException(400, f"{name} must be {'a string' if kind is str else 'an object'} or null")
    return value


def _media_type(request: Request | WebSocket) -> str:
    """GraphQL over HTTP's media type (§6.1 of that specification) where it is asked for before JSON, else JSON."""
    accepted = [kind.split(";")[0].strip().lower() for kind in request.headers.get("accept", "").split(",")]
    return next((kind for kind in accepted if kind in (MEDIA_TYPE, _JSON)), _JSON)


def _refusal(error: Exception, request: Request) -> Response:
    status, headers = 500, {}
    if isinstance(error, HTTPException):
        status, error = error.status_code, InvalidInput(error.reason)
        headers = {"Allow": "POST" if request.method == "GET" else "GET, POST"} if status == 405 else {}
    elif isinstance(error, Unauthenticated):
        given = "authorization" in request.headers
        status, headers = 401, {"WWW-Authenticate": 'Bearer error="invalid_token"' if given else "Bearer"}
    elif isinstance(error, Unavailable):
        status, headers = 503, {"Retry-After": str(_RETRY_SECONDS)}
    return Response(json.dumps(document(error)), status, headers, media_type=_media_type(request))
