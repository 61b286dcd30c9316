"""Relay connections: pages of views."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import strawberry

from certwright import model

T = TypeVar("T")


@strawberry.type
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type
class Edge(Generic[T]):
    node: T
    cursor: str


@strawberry.type
class Connection(Generic[T]):
    edges: list[Edge[T]]
    page_info: PageInfo

    @classmethod
    def of(cls, page: model.Page, view: Callable[[Any], T], after: str | None) -> "Connection[T]":
        """A page of model values as a connection of views."""
        edges = [Edge(node=view(node), cursor=cursor) for node, cursor in zip(page.nodes, page.cursors, strict=True)]
        info = PageInfo(
            has_next_page=page.has_next,
            has_previous_page=after is not None,
            start_cursor=page.cursors[0] if page.cursors else None,
            end_cursor=page.cursors[-1] if page.cursors else None,
        )
        return cls(edges=edges, page_info=info)
