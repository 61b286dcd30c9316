"""The ASGI application that both deployments serve: GraphQL, and what else is asked for over HTTP."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio.to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import Lifespan

from certwright.api.console import Console
from certwright.api.context import Api
from certwright.api.view import View
from certwright.challenges.preparation import WELL_KNOWN_PATH


def application(
    api: Api,
    *,
    look: Callable[[], object],
    response: Callable[[str], str | None],
    console: Console,
    origins: Sequence[str] = (),
    lifespan: Lifespan[Starlette] | None = None,
) -> Starlette:
    """`look` raises where the store does not answer; `response` is what to serve for an http-01 token."""

    async def health(_: Request) -> Response:
        await anyio.to_thread.run_sync(look, limiter=api.reading)
        return JSONResponse({"status": "ok"})

    async def http01(request: Request) -> Response:
        """Answer an http-01 validator (RFC 8555 §8.3)."""
        token: Any = request.path_params["token"]
        content = await anyio.to_thread.run_sync(response, token, limiter=api.reading)
        if content is None:
            return PlainTextResponse("no such challenge here\n", status_code=404)
        return Response(content, media_type="application/octet-stream")

    view = View(api, console.ide, allowed_origins=origins)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "x-request-id"],
        max_age=600,
    )
    routes = [
        Route("/graphql", view),
        WebSocketRoute("/graphql", view),
        Route("/healthz", health),
        Route(WELL_KNOWN_PATH + "{token}", http01),
        *console.routes,
    ]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[cors] if origins else [])
