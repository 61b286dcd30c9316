"""The floor of a cold start: as little as a function can be made of Strawberry, Mangum and boto3 that answers GraphQL.

It makes one client, reads one item, and answers with what it found there.
"""

import os
from typing import Any

import boto3
import strawberry
from mangum import Mangum
from strawberry.asgi import GraphQL

table = boto3.client("dynamodb")


@strawberry.type
class Counts:
    accounts: int
    orders: int


@strawberry.type
class Dashboard:
    counts: Counts


@strawberry.type
class Query:
    @strawberry.field
    def dashboard(self) -> Dashboard:
        key: dict[str, Any] = {"pk": {"S": "default#counts"}, "sk": {"S": "-"}}
        item = table.get_item(TableName=os.environ["TABLE"], Key=key, ConsistentRead=True).get("Item", {})
        return Dashboard(counts=Counts(accounts=len(item), orders=len(item)))


handler = Mangum(GraphQL(strawberry.Schema(query=Query)), lifespan="off")
