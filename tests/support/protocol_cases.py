"""What graphql-transport-ws demands of a server, as a table that any transport of ours can be held against.

A case is a conversation: what the client sends (`C`), what it must get next (`S`), and at the end the close code that
it must see (`Closed`), where there is one. Expected messages name the members that matter; `...` stands for anything.
Texts such as "{operator}" are replaced by the world's tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

TYPENAME = {"query": "{ __typename }"}
STREAM = {"query": "subscription { dashboard { counts { orders } } }"}


class Wire(Protocol):
    """A client's end of a socket; `tests.support.socket.Socket` is one."""

    def send(self, message: object) -> None: ...

    def get(self) -> Any: ...

    def closed(self) -> int: ...


@dataclass(frozen=True)
class C:
    """The client sends this: bytes as a binary frame, a string as it is, anything else as JSON."""

    message: object


@dataclass(frozen=True)
class S:
    """The client must get this."""

    message: Mapping[str, Any]


@dataclass(frozen=True)
class Closed:
    """The server must close with this code; one that can close only with 1000 (API Gateway) must tell it instead."""

    code: int

    @property
    def told(self) -> Mapping[str, Any]:
        """The message of a server that cannot close, which leaves the socket as it was."""
        extensions = {"code": CODES[self.code], "closeCode": self.code}
        return {"type": "error", "id": ..., "payload": [{"message": ..., "extensions": extensions}]}


CODES = {
    4400: "INVALID_INPUT",
    4401: "UNAUTHENTICATED",
    4403: "UNAUTHENTICATED",
    4409: "CONFLICT",
    4429: "CONFLICT",
}


Conversation = Sequence[C | S | Closed]


def init(token: str = "operator") -> C:
    return C({"type": "connection_init", "payload": {"authorization": f"Bearer {{{token}}}"}})


ACK = S({"type": "connection_ack"})
HELLO = (init(), ACK)


def subscribe(payload: object, id: object = "1") -> C:
    return C({"type": "subscribe", "id": id, "payload": payload})


def refusal(code: str, id: str = "1") -> S:
    return S({"type": "error", "id": id, "payload": [{"message": ..., "extensions": {"code": code}}]})


def answer(data: object, id: str = "1") -> tuple[S, S]:
    return S({"type": "next", "id": id, "payload": {"data": data}}), S({"type": "complete", "id": id})


MALFORMED: dict[str, object] = {
    "text that is no JSON": "hello",
    "a JSON array": [],
    "an array of messages": [{"type": "ping"}],
    "a number": 7,
    "null": None,
    "a string": '"ping"',
    "deeper than a parser goes": "[" * 60_000,
    "a number longer than Python takes": '{"type": "ping", "payload": {"a": ' + "1" * 5000 + "}}",
    "half a surrogate pair": '{"type": "ping", "payload": {"a": "\\ud800"}}',
    "a binary frame": b'{"type": "ping"}',
    "no type": {"id": "1"},
    "a type that is no string": {"type": 1},
    "an unknown type": {"type": "start", "id": "1"},
    "an unknown type of great length": {"type": "\N{SNOWMAN}" * 1000},
    "a server's message": {"type": "next", "id": "1", "payload": {"data": {}}},
    "a ping whose payload is no object": {"type": "ping", "payload": "x"},
    "a pong whose payload is no object": {"type": "pong", "payload": []},
    "a second connection_init whose payload is no object": {"type": "connection_init", "payload": None},
    "subscribe without id": {"type": "subscribe", "payload": TYPENAME},
    "subscribe with an id that is no string": {"type": "subscribe", "id": 1, "payload": TYPENAME},
    "subscribe with an empty id": {"type": "subscribe", "id": "", "payload": TYPENAME},
    "subscribe without payload": {"type": "subscribe", "id": "1"},
    "subscribe with a payload that is no object": {"type": "subscribe", "id": "1", "payload": "{ __typename }"},
    "subscribe without query": {"type": "subscribe", "id": "1", "payload": {}},
    "a query that is no string": {"type": "subscribe", "id": "1", "payload": {"query": 1}},
    "variables that are no object": {"type": "subscribe", "id": "1", "payload": {**TYPENAME, "variables": []}},
    "an operationName that is no string": {"type": "subscribe", "id": "1", "payload": {**TYPENAME, "operationName": 1}},
    "extensions that are no object": {"type": "subscribe", "id": "1", "payload": {**TYPENAME, "extensions": 1}},
    "complete without id": {"type": "complete"},
}

CASES: dict[str, Conversation] = {
    **{f"4400 for {what}": (*HELLO, C(message), Closed(4400)) for what, message in MALFORMED.items()},
    "4400 for an init whose payload is no object": (C({"type": "connection_init", "payload": "x"}), Closed(4400)),
    "4401 for subscribe before init": (subscribe(TYPENAME), Closed(4401)),
    "4403 without token": (C({"type": "connection_init"}), Closed(4403)),
    "4403 for a token that is no string": (
        C({"type": "connection_init", "payload": {"authorization": 1}}),
        Closed(4403),
    ),
    "4403 for another scheme": (
        C({"type": "connection_init", "payload": {"authorization": "Basic {operator}"}}),
        Closed(4403),
    ),
    "4403 for an unknown token": (init("unknown"), Closed(4403)),
    "4403 for a revoked token": (init("revoked"), Closed(4403)),
    "4403 for an expired session": (init("expired"), Closed(4403)),
    "4409 for an id in use": (*HELLO, subscribe(STREAM), subscribe(STREAM), Closed(4409)),
    "4409 for an id of great length": (
        *HELLO,
        subscribe(STREAM, "i" * 1000),
        subscribe(STREAM, "i" * 1000),
        Closed(4409),
    ),
    "4429 for a second init": (*HELLO, init(), Closed(4429)),
    "an init's header may be written in capitals": (
        C({"type": "connection_init", "payload": {"Authorization": "Bearer {operator}"}}),
        ACK,
    ),
    "a session of another issuer is accepted": (init("session"), ACK),
    "ping is answered with its payload": (
        C({"type": "ping", "payload": {"a": [1]}}),
        S({"type": "pong", "payload": {"a": [1]}}),
    ),
    "ping without payload is answered without": (*HELLO, C({"type": "ping"}), S({"type": "pong"})),
    "pong is ignored": (*HELLO, C({"type": "pong", "payload": {}}), C({"type": "ping"}), S({"type": "pong"})),
    "complete of an unknown id is ignored": (
        *HELLO,
        C({"type": "complete", "id": "x"}),
        C({"type": "ping"}),
        S({"type": "pong"}),
    ),
    "a query is executed": (*HELLO, subscribe(TYPENAME), *answer({"__typename": "Query"})),
    "a query with null for what may be left out": (
        *HELLO,
        subscribe({**TYPENAME, "variables": None, "operationName": None, "extensions": None}),
        *answer({"__typename": "Query"}),
    ),
    "a query of several is chosen by name": (
        *HELLO,
        subscribe({"query": "query A { a: __typename } query B { b: __typename }", "operationName": "B"}),
        *answer({"b": "Query"}),
    ),
    "a mutation is executed": (
        *HELLO,
        subscribe({"query": "mutation { __typename }"}),
        *answer({"__typename": "Mutation"}),
    ),
    "a resolver's refusal of a mutation comes with its code": (
        *HELLO,
        subscribe({"query": 'mutation { cancelOrder(id: "x") { id } }'}),
        S(
            {
                "type": "next",
                "payload": {"data": None, "errors": [{"message": ..., "extensions": {"code": "NOT_FOUND"}}]},
            }
        ),
        S({"type": "complete", "id": "1"}),
    ),
    "an id is free again after completion": (
        *HELLO,
        subscribe(TYPENAME),
        *answer({"__typename": "Query"}),
        subscribe(TYPENAME),
        *answer({"__typename": "Query"}),
    ),
    "an id is free again after the client's complete": (
        *HELLO,
        subscribe(STREAM),
        C({"type": "complete", "id": "1"}),
        subscribe(TYPENAME),
        *answer({"__typename": "Query"}),
    ),
    "an id is free again after an error": (
        *HELLO,
        subscribe({"query": "{ nope }"}),
        refusal("INVALID_INPUT"),
        subscribe(TYPENAME),
        *answer({"__typename": "Query"}),
    ),
    **{
        f"error message for {what}": (
            *HELLO,
            subscribe(payload),
            refusal(code),
            C({"type": "ping"}),
            S({"type": "pong"}),
        )
        for what, payload, code in (
            ("a syntax error", {"query": "{ nope"}, "INVALID_INPUT"),
            ("an empty document", {"query": ""}, "INVALID_INPUT"),
            ("an unknown field", {"query": "{ nope }"}, "INVALID_INPUT"),
            ("an unknown operation", {**TYPENAME, "operationName": "x"}, "INVALID_INPUT"),
            ("several operations and no name", {"query": "query A { a: __typename } query B { b: __typename }"},
             "INVALID_INPUT"),
            ("a missing variable", {"query": "subscription($o: ID!) { challengeStatus(orderId: $o) { id } }"},
             "INVALID_INPUT"),
            ("a document beyond the limits", {"query": "{" + "a" * 3000 + " a" * 3000 + "}"}, "INVALID_INPUT"),
            ("an order that is not there", {"query": 'subscription { orderStatus(id: "x") { id } }'}, "NOT_FOUND"),
            ("a challenge's order that is not there",
             {"query": 'subscription { challengeStatus(orderId: "x") { id } }'}, "NOT_FOUND"),
            ("an account that is not there", {"query": 'subscription { orderStatus(accountId: "x") { id } }'},
             "NOT_FOUND"),
            ("two filters at once", {"query": 'subscription { orderStatus(id: "x", accountId: "x") { id } }'},
             "INVALID_INPUT"),
        )
    },
    "error message for a role that is too low": (
        init("viewer"),
        ACK,
        subscribe({"query": "subscription { auditEvents { id } }"}),
        refusal("FORBIDDEN"),
    ),
}  # fmt: skip


def hold(wire: Wire, conversation: Conversation, tokens: Mapping[str, str], *, closes: bool = True) -> None:
    """Go through a conversation. Raises AssertionError at the first answer that is not the expected one.

    `closes` says whether the server can close a socket with a code.
    """
    conversation = conversation if closes else [open for turn in conversation for open in _kept_open(turn)]
    for turn in conversation:
        if isinstance(turn, C):
            wire.send(_with_tokens(turn.message, tokens))
        elif isinstance(turn, S):
            got = wire.get()
            assert matches(turn.message, got), f"expected {turn.message}, got {got}"
        else:
            assert wire.closed() == turn.code


def _kept_open(turn: C | S | Closed) -> Conversation:
    """A turn with a server that tells its close codes: the socket goes on."""
    if isinstance(turn, Closed):
        return S(turn.told), C({"type": "ping"}), S({"type": "pong"})
    if isinstance(turn, C) and isinstance(turn.message, bytes):
        return (C(turn.message.decode("latin-1") + "}"),)  # API Gateway closes for itself at a binary frame.
    return (turn,)


def matches(expected: object, actual: object) -> bool:
    """Whether `actual` is as expected; of an object, the members that are named."""
    if expected is ...:
        return True
    if isinstance(expected, Mapping):
        return isinstance(actual, Mapping) and all(k in actual and matches(v, actual[k]) for k, v in expected.items())
    if isinstance(expected, list):
        same_length = isinstance(actual, list) and len(actual) == len(expected)
        return same_length and all(map(matches, expected, actual if isinstance(actual, list) else []))
    return expected == actual


def _with_tokens(message: object, tokens: Mapping[str, str]) -> object:
    if isinstance(message, str) and message.startswith(("Bearer {", "Basic {")):
        scheme, _, name = message.partition(" ")
        return f"{scheme} {tokens[name.strip('{}')]}"
    if isinstance(message, dict):
        return {name: _with_tokens(value, tokens) for name, value in message.items()}
    return message
