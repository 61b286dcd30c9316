"""graphql-transport-ws behind API Gateway's WebSocket API: the same protocol, one message at a time.

Each message comes to a function of its own, those of one socket in parallel. API Gateway can close a socket, but only
with code 1000, after which clients connect again at once, for ever. So who is not welcome is refused while connecting;
later, whoever breaks the protocol is told so by an `error` message, with the close code that another server would have
used beside the error's code, and the socket is left alone:

4400 malformed message    4401 subscribe before the acknowledgement    4403 credential refused, at first or later
4409 id in use            4429 second connection_init                  4500 a fault of ours, logged with its reference

A socket that never sends connection_init is ended by API Gateway itself, after ten minutes without a message.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any

import anyio

from certwright.api import messages
from certwright.api.context import Api, Context, EventSource
from certwright.api.errors import document
from certwright.api.execution import execute
from certwright.api.messages import MAX_OPERATIONS, PROTOCOL, Message
from certwright.aws.app import App, Function, Handler
from certwright.aws.connections import Connections, Overtaken, Subscription
from certwright.aws.gateway import Gateway, Gone, Stalled
from certwright.aws.replay import Recorder
from certwright.errors import CertwrightError, Conflict, InvalidInput, Unauthenticated, Unavailable

logger = logging.getLogger(__name__)

Answer = dict[str, Any]


class Refused(Exception):
    """Another server would close the socket with this code."""

    def __init__(self, close_code: int, error: CertwrightError) -> None:
        super().__init__(error.message)
        self.close_code = close_code
        self.error = error


class WebsocketFunction:
    """Answers the events of a WebSocket API with routes $connect, $default and $disconnect.

    `api` gives what resolvers need, with the event source that they are to listen to. `gateway` gives the way to the
    sockets of an endpoint, `https://{domain}/{stage}`. One invocation at a time, as Lambda does it.
    """

    def __init__(
        self,
        api: Callable[[EventSource], Api],
        connections: Connections,
        gateway: Callable[[str], Gateway],
        *,
        origins: Collection[str] = (),
    ) -> None:
        self._api = api
        self._connections = connections
        self._gateway = gateway
        self._origins = frozenset(origins)

    def __call__(self, event: Mapping[str, Any], _: object = None) -> Answer:
        request = event["requestContext"]
        if request["eventType"] == "CONNECT":
            return self._connect(event)
        if request["eventType"] == "DISCONNECT":
            self._connections.forget(request["connectionId"])
        else:
            gateway = self._gateway(f"https://{request['domainName']}/{request['stage']}")
            asyncio.run(Exchange(self._api, self._connections, gateway, request).take(event.get("body") or ""))
        return {"statusCode": 200}

    def _connect(self, event: Mapping[str, Any]) -> Answer:
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        if not self._is_welcome(headers.get("origin"), event["requestContext"]["domainName"]):
            return _refuse(403, "sockets of this origin are not allowed; see CERTWRIGHT_ALLOWED_ORIGINS")
        offered = [protocol.strip() for protocol in headers.get("sec-websocket-protocol", "").split(",")]
        if PROTOCOL not in offered:
            return _refuse(400, f"offer the subprotocol {PROTOCOL}")
        return {"statusCode": 200, "headers": {"Sec-WebSocket-Protocol": PROTOCOL}}

    def _is_welcome(self, origin: str | None, domain: str) -> bool:
        """Browsers send an Origin, and let any page open a socket; other programs send none."""
        return origin is None or not self._origins.isdisjoint((origin, "*")) or origin == f"https://{domain}"


def _refuse(status: int, message: str) -> Answer:
    body = json.dumps(document(InvalidInput(message)))
    return {"statusCode": status, "headers": {"Content-Type": "application/json"}, "body": body}


class Exchange:
    """One message of a client, and what it is answered."""

    def __init__(
        self,
        api: Callable[[EventSource], Api],
        connections: Connections,
        gateway: Gateway,
        request: Mapping[str, Any],
    ) -> None:
        self._recorder = Recorder()
        self._api = api(self._recorder)
        self._connections = connections
        self._gateway = gateway
        self._id = str(request["connectionId"])
        self._at = int(request["requestTimeEpoch"])
        self._source_ip = request.get("identity", {}).get("sourceIp")

    async def take(self, text: str) -> None:
        """Never raises: what a function raises API Gateway tells the client, in words that are no GraphQL."""
        try:
            refusal = await self._dispatch_or_refuse(text)
            if refusal:
                await self._post(refusal)
        except Gone:
            await self._forget()
        except (Stalled, Unavailable) as error:
            logger.warning("socket %s could not be answered: %s", self._id, error)

    async def _dispatch_or_refuse(self, text: str) -> Message | None:
        """Does what the message asks for; else gives the refusal to be told."""
        message: object = None
        try:
            message = messages.decode(text)
            await self._dispatch(message)
        except json.JSONDecodeError as error:
            return messages.refusal(message, InvalidInput(f"the message is no JSON: {error.msg}"), 4400)
        except Refused as refused:
            return messages.refusal(message, refused.error, refused.close_code)
        except CertwrightError as error:
            return messages.refusal(message, error)
        except Overtaken:
            return None
        except Gone:
            raise
        except Exception as error:  # noqa: BLE001  Behind this there is nobody who could tell the client.
            return messages.refusal(message, error, 4500)
        return None

    async def _forget(self) -> None:
        try:
            await self._run(self._connections.forget, self._id)
        except Unavailable as error:
            logger.warning("what is known of socket %s is left to expire: %s", self._id, error)

    async def _dispatch(self, message: object) -> None:
        wrong = messages.fault(message)
        if wrong or not isinstance(message, dict):
            raise Refused(4400, InvalidInput(wrong or "a message must be an object"))
        takers: dict[str, Callable[[Message], Awaitable[None]]] = {
            "connection_init": self._init,
            "ping": self._ping,
            "pong": self._pong,
            "subscribe": self._subscribe,
            "complete": self._complete,
        }
        take = takers.get(message["type"])
        if take is None:
            raise Refused(4400, InvalidInput(f"there is no message of the type {message['type'][:100]!r}"))
        await take(message)

    async def _init(self, message: Message) -> None:
        """The socket is recorded as acknowledged before it is told so: its next message may come at once."""
        again = Conflict("this socket was initialised already")
        if await self._run(self._connections.find, self._id):
            raise Refused(4429, again)
        context = self._context()
        try:
            await context.sign_in(messages.authorization(message.get("payload", {})))
        except Unauthenticated as error:
            raise Refused(4403, error) from error
        try:
            await self._run(self._connections.open, self._id, context.session)
        except Conflict as error:
            raise Refused(4429, again) from error
        await self._post({"type": "connection_ack"})

    async def _ping(self, message: Message) -> None:
        payload = {"payload": message["payload"]} if "payload" in message else {}
        await self._post({"type": "pong", **payload})

    async def _pong(self, message: Message) -> None:
        """Asks for nothing."""

    async def _complete(self, message: Message) -> None:
        await self._run(self._connections.complete, self._id, message["id"], self._at)

    async def _subscribe(self, message: Message) -> None:
        id, payload = message["id"], message["payload"]
        context = await self._admit(id)
        answered = False
        async with aclosing(execute(id, payload, context)) as answers:
            async for answer in answers:
                await self._post(answer)
                if answer["type"] == "error":
                    return
                answered = True
        if answered or not self._recorder.topics:  # A query may listen too, while it waits for its answer.
            await self._post({"type": "complete", "id": id})
            return
        subscription = Subscription(self._id, id, payload, context.session, self._recorder.topics[0])
        try:
            await self._run(self._connections.add, subscription, self._at)
        except Conflict as error:
            raise Refused(4409, error) from error

    async def _admit(self, id: str) -> Context:
        """The context of an operation that may begin."""
        connection = await self._run(self._connections.find, self._id)
        if connection is None:
            raise Refused(4401, Unauthenticated("send connection_init first, and await connection_ack"))
        context = self._context()
        try:
            await context.resume(connection.session)
        except Unauthenticated as error:
            raise Refused(4403, error) from error
        if connection.has(id):
            raise Refused(4409, Conflict("an operation with this id is running already"))
        if len(connection.operations) >= MAX_OPERATIONS:
            raise Unavailable(f"a socket may have {MAX_OPERATIONS} operations at once; complete one of them first")
        return context

    def _context(self) -> Context:
        return Context(self._api, self._id, self._source_ip)

    async def _post(self, message: Message) -> None:
        """Raises Gone, Stalled, Unavailable, and InvalidInput for a message that is too large."""
        await self._run(self._gateway.post, self._id, message)

    async def _run(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._api.reading)


def serve(app: App) -> Handler:
    return WebsocketFunction(app.api, app.connections, app.gateway, origins=app.settings.allowed_origins)


handler = Function("websocket", serve)
