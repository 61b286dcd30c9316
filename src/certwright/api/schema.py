"""The schema and its limits."""

import strawberry
from graphql import ASTValidationRule, GraphQLError
from strawberry.extensions import (
    AddValidationRules,
    MaskErrors,
    MaxTokensLimiter,
    ParserCache,
    ValidationCache,
)
from strawberry.extensions.max_aliases import create_validator as aliases_rule
from strawberry.extensions.query_depth_limiter import create_validator as depth_rule
from strawberry.types import ExecutionContext

from certwright.api.errors import told
from certwright.api.mutations import Mutation
from certwright.api.queries import Query
from certwright.api.subscriptions import Subscription

MAX_DEPTH = 12
MAX_ALIASES = 30
MAX_TOKENS = 2000

# Made once: rules made for every request would defeat the validation cache.
_RULES: list[type[ASTValidationRule]] = [depth_rule(MAX_DEPTH, None), aliases_rule(MAX_ALIASES)]


class TellErrors(MaskErrors):
    """Every error of an operation as clients may see it."""

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        return told(error)


class Schema(strawberry.Schema):
    """Errors are logged where they are mapped: those that clients caused are no news to an operator."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        pass


schema = Schema(
    query=Query,
    mutation=Mutation,
    subscription=Subscription,
    extensions=[
        lambda: MaxTokensLimiter(MAX_TOKENS),
        lambda: AddValidationRules(_RULES),
        ParserCache,
        ValidationCache,
        TellErrors,
    ],
)
