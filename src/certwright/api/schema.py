"""The schema, its limits, and what clients are told of its errors."""

import strawberry
from graphql import GraphQLError
from strawberry.extensions import MaskErrors
from strawberry.types import ExecutionContext

from certwright.api.errors import told
from certwright.api.limits import documents
from certwright.api.mutations import Mutation
from certwright.api.queries import Query
from certwright.api.subscriptions import Subscription


class TellErrors(MaskErrors):
    """Every error of an operation as clients may see it."""

    def anonymise_error(self, error: GraphQLError) -> GraphQLError:
        return told(error)


class Schema(strawberry.Schema):
    """Errors are logged where they are mapped: those that clients caused are no news to an operator."""

    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        pass


schema = Schema(query=Query, mutation=Mutation, subscription=Subscription, extensions=[documents(), TellErrors])
