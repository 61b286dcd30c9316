"""Problem documents as GraphQL shows them."""

from collections.abc import Mapping
from typing import Any

import strawberry

from certwright import model


@strawberry.type
class Subproblem:
    identifier: str | None
    type: str
    detail: str | None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Subproblem":
        identifier = document.get("identifier")
        value = identifier.get("value") if isinstance(identifier, Mapping) else None
        problem = model.Problem(document)
        return cls(identifier=None if value is None else str(value), type=problem.type, detail=problem.detail)


@strawberry.type(description="RFC 7807 document from the CA, kept whole.")
class Problem:
    type: str
    detail: str | None
    status: int | None
    instance: str | None
    link: str | None = strawberry.field(
        description="A page of the CA where a person can do away with it: to unpause an account, to read new terms."
    )
    subproblems: list[Subproblem]

    @classmethod
    def of(cls, problem: model.Problem) -> "Problem":
        return cls(
            type=problem.type,
            detail=problem.detail,
            status=problem.status,
            instance=problem.instance,
            link=problem.link,
            subproblems=[Subproblem.of(s) for s in problem.subproblems],
        )
