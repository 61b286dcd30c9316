"""Bounds on what a client may send in one request, and on what its document may ask for.

A document is measured with its fragments spread out, each fragment once: a document of a few hundred tokens can spread
out to more fields than there are atoms, and is refused without being walked through.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

from cross_web import HTTPException
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    parse,
)
from starlette.types import Message, Receive
from strawberry.extensions import SchemaExtension, ValidationCache

MAX_BODY = 1024 * 1024
"""Octets of an HTTP request: enough for a CSR and a hundred names many times over."""

MAX_DEPTH = 10
"""Fields within fields. Introspection is bounded by a rule of GraphQL's own."""

MAX_PAGES = 2
"""Connections within connections: each level may hold a hundred times as much as the one above it."""

MAX_ALIASES = 30
MAX_DIRECTIVES = 30
MAX_TOKENS = 2000

_CACHED = 128
_CACHED_LENGTH = 20_000


def bounded(receive: Receive) -> Receive:
    """`receive`, but a body beyond MAX_BODY, announced or not, raises HTTPException 413."""
    received = 0

    async def receive_within() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY:
            raise HTTPException(413, f"a request may have at most {MAX_BODY} octets")
        return message

    return receive_within


@dataclass(frozen=True)
class Size:
    depth: int = 0
    aliases: int = 0
    directives: int = 0
    pages: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(
            max(self.depth, other.depth),
            self.aliases + other.aliases,
            self.directives + other.directives,
            max(self.pages, other.pages),
        )


class _Measure:
    """Measures selections; each fragment is walked once, and one that spreads itself counts as nothing there."""

    def __init__(self, document: DocumentNode) -> None:
        definitions = document.definitions
        self._fragments = {d.name.value: d for d in definitions if isinstance(d, FragmentDefinitionNode)}
        self._sizes: dict[str, Size] = {}

    def selections(self, node: SelectionSetNode | None) -> Size:
        return sum((self._selection(s) for s in node.selections), Size()) if node else Size()

    def _selection(self, node: SelectionNode) -> Size:
        own = Size(directives=len(node.directives or ()))
        if isinstance(node, FragmentSpreadNode):
            return own + self._fragment(node.name.value)
        inner = own + self.selections(getattr(node, "selection_set", None))
        return self._field(node, inner) if isinstance(node, FieldNode) else inner

    def _field(self, node: FieldNode, inner: Size) -> Size:
        name = node.name.value
        return replace(
            inner,
            depth=1 if name.startswith("__") else inner.depth + 1,
            aliases=inner.aliases + (node.alias is not None),
            pages=inner.pages + (name == "edges"),
        )

    def _fragment(self, name: str) -> Size:
        if name not in self._sizes and name in self._fragments:
            self._sizes[name] = Size()
            self._sizes[name] = self.selections(self._fragments[name].selection_set)
        return self._sizes.get(name, Size())


def measure(document: DocumentNode) -> Size:
    """The size of a document's operations together."""
    measure = _Measure(document)
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    own = Size(directives=sum(len(o.directives or ()) for o in operations))
    return sum((measure.selections(o.selection_set) for o in operations), own)


def _excess(document: DocumentNode) -> GraphQLError | None:
    size = measure(document)
    for what, number, most in (
        ("levels of fields", size.depth, MAX_DEPTH),
        ("levels of connections", size.pages, MAX_PAGES),
        ("aliases", size.aliases, MAX_ALIASES),
        ("directives", size.directives, MAX_DIRECTIVES),
    ):
        if number > most:
            return GraphQLError(f"the document has {_told(number)} {what}; {most} are allowed")
    return None


def _told(number: int) -> str:
    return str(number) if number < 10**9 else "very many"


def _read(query: str) -> tuple[DocumentNode | None, GraphQLError | None]:
    """A document and what is too much about it. None for text that is no document: Strawberry says why."""
    try:
        document = parse(query, max_tokens=MAX_TOKENS)
    except GraphQLSyntaxError:
        return None, None
    return document, _excess(document)


class Documents(ValidationCache):
    """Parses and validates within the limits, each document once for as long as it is remembered."""

    def __init__(self, read: Callable[[str], tuple[DocumentNode | None, GraphQLError | None]]) -> None:
        super().__init__()
        self._cached_read = read
        self._excess: GraphQLError | None = None

    def on_parse(self) -> Iterator[None]:
        context = self.execution_context
        context.parse_options["max_tokens"] = MAX_TOKENS
        if context.query:
            # A long text is read anew each time, so that what is remembered stays small.
            read = self._cached_read if len(context.query) <= _CACHED_LENGTH else _read
            context.graphql_document, self._excess = read(context.query)
        yield

    def on_validate(self) -> Iterator[None]:
        refusal = self._excess or self._ambiguity()
        if refusal is None:
            yield from super().on_validate()
        else:
            self.execution_context.pre_execution_errors = [refusal]
            yield

    def _ambiguity(self) -> GraphQLError | None:
        """Strawberry would execute the first of several operations; GraphQL wants one to be named (§6.1)."""
        context = self.execution_context  # Its `operation_name` is the first one's where none was given.
        if context._provided_operation_name or context.graphql_document is None:
            return None
        operations = [d for d in context.graphql_document.definitions if isinstance(d, OperationDefinitionNode)]
        return (
            GraphQLError("the document has several operations; name one as operationName") if operations[1:] else None
        )


def documents() -> Callable[[], SchemaExtension]:
    """The extension, for a schema that remembers its documents."""
    read = lru_cache(_CACHED)(_read)
    return lambda: Documents(read)
