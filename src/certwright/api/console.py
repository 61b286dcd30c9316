"""The web console: the files that `npm run build` makes of src/certwright/console, and what the page must know first.

The page and all below it answer with the same document, whose script shows what belongs to the address. Files have the
hash of their content in their names, and are kept by browsers for ever; the build compresses them. Where the console
was not built, the pages say what to install, and everything else goes on.
"""

import hashlib
import importlib.metadata
import mimetypes
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from certwright.api.discovery import Provider

BUILT = Path(__file__).resolve().parents[1] / "console" / "dist"

NOT_BUILT = """\
The console is not built on this server; the GraphQL API at /graphql runs all the same.

To have it, install Node 18 or newer with npm (Debian: apt-get install nodejs npm) and start the server by `make run`,
or run `npm ci && npm run build` in src/certwright/console.
"""

_NO_CACHE = "no-cache"  # Kept, but asked for each time: the ETag answers.
_FOR_EVER = "public, max-age=31536000, immutable"
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))  # The smaller first.


class Console:
    """Serves the files in `built`. `socket_url` is where subscriptions connect to, if that is not /graphql here."""

    def __init__(
        self,
        *,
        socket_url: str = "",
        provider: Callable[[], Provider | None] = lambda: None,
        built: Path = BUILT,
    ) -> None:
        self._version = importlib.metadata.version("certwright")
        self._socket_url = socket_url
        self._provider = provider
        self._built = built
        self.routes: list[BaseRoute] = [
            Route("/acme/config.json", self._config),
            Route("/acme/assets/{name}", self._asset),
            Route("/acme", self._page),
            Route("/acme/{path:path}", self._page),
        ]

    def ide(self, request: Request) -> Response:
        """The GraphQL IDE. Its editor writes style elements, has fonts in its style sheet, and works in workers."""
        styles = {"style-src": "'self' 'unsafe-inline'", "font-src": "'self' data:", "worker-src": "'self'"}
        policy = _policy({**styles, **self._common(request)})
        return self._document("graphiql.html", request, policy)

    async def _page(self, request: Request) -> Response:
        provider = await anyio.to_thread.run_sync(self._provider)
        common = self._common(request)
        if provider:
            common["connect-src"] += f" {_origin(provider.token_endpoint)}"
        return self._document("index.html", request, _policy({"style-src": "'self'", **common}))

    async def _config(self, _: Request) -> Response:
        provider = await anyio.to_thread.run_sync(self._provider)
        oidc = provider and {
            "issuer": provider.issuer,
            "authorizationEndpoint": provider.authorization_endpoint,
            "tokenEndpoint": provider.token_endpoint,
            "clientId": provider.client_id,
            "scope": provider.scope,
            "token": provider.token,
        }
        content = {"version": self._version, "socketUrl": self._socket_url or None, "oidc": oidc}
        return JSONResponse(content, headers={"Cache-Control": "no-store", **_SAFE})

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        path = self._built / "assets" / name
        # A name of one part, as the route has it, leads out of the folder only by being "..": that is no file.
        if not path.is_file() or path.suffix in (".br", ".gz"):
            return PlainTextResponse("no such file\n", status_code=404, headers=_SAFE)
        return _answer(path, request, {"Cache-Control": _FOR_EVER, "ETag": f'"{name}"'})

    def _common(self, request: Request) -> dict[str, str]:
        """`'self'` does not cover the socket of the same host in every browser, so its address stands beside it."""
        host = request.headers.get("host", "")
        here = f" ws://{host} wss://{host}" if _HOST.fullmatch(host) else ""
        return {"connect-src": "'self'" + (f" {_origin(self._socket_url)}" if self._socket_url else here)}

    def _document(self, name: str, request: Request, policy: str) -> Response:
        path = self._built / name
        if not path.is_file():
            return PlainTextResponse(NOT_BUILT, status_code=503, headers={"Cache-Control": "no-store", **_SAFE})
        tag = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        headers = {"Cache-Control": _NO_CACHE, "ETag": f'"{tag}"', "Content-Security-Policy": policy}
        return _answer(path, request, headers)


_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def _policy(directives: Mapping[str, str]) -> str:
    """Content-Security-Policy: only what is our own, and none of it inline."""
    fixed = {
        "default-src": "'none'",
        "script-src": "'self'",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
    }
    return "; ".join(f"{name} {value}" for name, value in {**fixed, **directives}.items())


def _answer(path: Path, request: Request, headers: Mapping[str, str]) -> Response:
    """A file as the build compressed it, where the client takes that; 304 where it has it already."""
    headers = {**headers, **_SAFE, "Vary": "Accept-Encoding"}
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    accepted = request.headers.get("accept-encoding", "")
    for encoding, ending in _ENCODINGS:
        compressed = path.with_name(path.name + ending)
        if encoding in accepted and compressed.is_file():
            headers["Content-Encoding"] = encoding
            return Response(compressed.read_bytes(), headers=headers, media_type=_media_type(path))
    return Response(path.read_bytes(), headers=headers, media_type=_media_type(path))


def _media_type(path: Path) -> str:
    if path.suffix == ".js":
        return "text/javascript"  # What mimetypes says depends on the machine.
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
