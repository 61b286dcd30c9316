"""CAs' rate limits, and what waits for them, as GraphQL shows them."""

from datetime import datetime
from typing import TYPE_CHECKING

import strawberry

from certwright import model
from certwright.api.problem import Problem

if TYPE_CHECKING:
    from certwright.bookkeeping import Standing


@strawberry.type(description="A rate limit that a CA publishes: `most` in `windowSeconds`, for `subject`.")
class Limit:
    name: str = strawberry.field(
        description="newOrders, certificatesPerRegisteredDomain, certificatesPerExactSet, failedAuthorizations, "
        "consecutiveFailures."
    )
    subject: str = strawberry.field(description="What is counted for: this account, a domain, a set of names.")
    most: int
    window_seconds: int

    @classmethod
    def of(cls, limit: model.Limited) -> "Limit":
        return cls(name=limit.name, subject=limit.subject, most=limit.most, window_seconds=limit.window)


@strawberry.type(description="Why an order waits. It goes on by itself.")
class Delay:
    problem: Problem
    until: datetime
    attempts: int
    limit: Limit | None = strawberry.field(
        description="The CA's rate limit that is used up; the CA was not asked then, as it would have refused."
    )

    @classmethod
    def of(cls, delay: model.Delay) -> "Delay":
        return cls(
            problem=Problem.of(delay.problem),
            until=delay.until,
            attempts=delay.attempts,
            limit=None if delay.limit is None else Limit.of(delay.limit),
        )


@strawberry.type(description="Where this installation stands with one of a CA's limits. The CA may count more.")
class RateLimit:
    name: str = strawberry.field(description="As in Limit; retryAfter for what the CA told the account.")
    subject: str
    limit: Limit | None = strawberry.field(description="Null for retryAfter, of which no number is known.")
    remaining: int = strawberry.field(description="How many may be used at once now.")
    available_at: datetime = strawberry.field(description="When there is one to use: now, or later.")

    @classmethod
    def of(cls, standing: "Standing") -> "RateLimit":
        return cls(
            name=standing.name,
            subject=standing.subject,
            limit=None if standing.limit is None else Limit.of(standing.limit),
            remaining=standing.remaining,
            available_at=standing.available_at,
        )
