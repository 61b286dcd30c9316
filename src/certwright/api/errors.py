"""Exceptions → GraphQL errors: the one place where it is decided what a client is told.

errors.CertwrightError    its message, `extensions.code` and, where known, `extensions.field`
ca.problems.CaError       CA_ERROR or RATE_LIMITED, with the CA's problem document as `extensions.problem`
GraphQLError              its message with INVALID_INPUT: syntax, validation, coercion, limits
anything else             INTERNAL with a reference, which is logged with the traceback; the text is masked
"""

import logging
import re
import secrets
from typing import TYPE_CHECKING, Any

from graphql import GraphQLError
from strawberry.exceptions import MissingQueryError
from strawberry.schema.exceptions import CannotGetOperationTypeError, InvalidOperationTypeError

from certwright.errors import CertwrightError, InvalidInput

if TYPE_CHECKING:
    from certwright.ca.problems import CaError

logger = logging.getLogger(__name__)

_BAD_REQUEST = (MissingQueryError, CannotGetOperationTypeError, InvalidOperationTypeError)

_ECHO = re.compile(r"(?:, found|(?<=\?) Found|(?<=non string value)): .*", re.DOTALL)
"""Where GraphQL's own errors repeat an input whole, which may hold a key. Which field it is stands before that."""


def told(error: GraphQLError) -> GraphQLError:
    """The error as a client may see it."""
    root = _root(error)
    if root is None or isinstance(root, _BAD_REQUEST):
        message = _ECHO.sub("", error.message)
        return _with(error, message, {"code": InvalidInput.code, **(error.extensions or {})})
    if isinstance(root, CertwrightError) and root.code != CertwrightError.code:
        extensions: dict[str, Any] = {"code": root.code, **({"field": root.field} if root.field else {})}
        return _with(error, root.message, extensions)
    ca_error = _as_ca_error(root)
    if ca_error is not None:
        return _with(error, *_ca(ca_error))
    reference = secrets.token_hex(6)
    logger.error("internal error %s", reference, exc_info=root)
    return _with(error, f"internal error; its reference is {reference}", {"code": "INTERNAL", "reference": reference})


def document(error: Exception) -> dict[str, Any]:
    """A GraphQL response for an error outside of any operation."""
    return {"errors": [told(GraphQLError(str(error), original_error=error)).formatted]}


def _root(error: GraphQLError) -> Exception | None:
    """The exception that a resolver raised, None for an error of GraphQL's own."""
    root: Exception | None = error
    while isinstance(root, GraphQLError):
        root = root.original_error
    return root


def _as_ca_error(root: Exception) -> "CaError | None":
    from certwright.ca.problems import CaError

    return root if isinstance(root, CaError) else None


def _ca(error: "CaError") -> tuple[str, dict[str, Any]]:
    problem = error.problem
    limited = problem.type.endswith(":rateLimited") or problem.status == 429
    extensions: dict[str, Any] = {"code": "RATE_LIMITED" if limited else "CA_ERROR", "problem": dict(problem.document)}
    if error.retry_after is not None:
        extensions["retryAfter"] = error.retry_after.isoformat()
    return problem.detail or problem.type, extensions


def _with(error: GraphQLError, message: str, extensions: dict[str, Any]) -> GraphQLError:
    return GraphQLError(
        message,
        nodes=error.nodes,
        source=error.source,
        positions=error.positions,
        path=error.path,
        extensions=extensions,
    )
