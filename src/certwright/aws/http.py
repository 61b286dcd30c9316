"""The function behind the HTTP API (payload 2.0, `$default` stage): the application of `api.application`, by Mangum."""

from collections.abc import AsyncGenerator

from mangum import Mangum
from mangum.adapter import DEFAULT_TEXT_MIME_TYPES

from certwright.api.application import application
from certwright.api.console import Console
from certwright.api.discovery import Discovery
from certwright.api.view import MEDIA_TYPE
from certwright.aws.app import App, Function, Handler
from certwright.store import Notice


class Silence:
    """The event source of a process that hears of no commits: those who wait for one look again now and then."""

    async def listen(self, tenant: str, subject_id: str | None) -> AsyncGenerator[Notice, None]:  # noqa: ARG002
        nothing: tuple[Notice, ...] = ()
        for notice in nothing:
            yield notice


def serve(app: App) -> Handler:
    """API Gateway's events through the application, in the event loop of the thread that calls this."""
    site = application(
        app.api(Silence()),
        look=app.store.tenants,
        response=app.store.response,
        console=Console(socket_url=app.settings.socket_url, provider=Discovery(app.settings, app.clock)),
        origins=app.settings.allowed_origins,
    )
    return Mangum(site, lifespan="off", text_mime_types=[*DEFAULT_TEXT_MIME_TYPES, MEDIA_TYPE])


handler = Function("http", serve)
