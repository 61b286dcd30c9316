"""`certwright serve`: the app under uvicorn, with a test CA beside it where one is wanted and can be had."""

import errno
import gc
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import uvicorn

from certwright.advising import Adviser
from certwright.auth import DEFAULT_TENANT
from certwright.ca.presets import Preset
from certwright.config import Settings
from certwright.errors import Unavailable
from certwright.events import AccountForgotten
from certwright.local.app import App, make_adviser, utc_now
from certwright.local.sockets import allow_many_sockets, socket_protocol
from certwright.local.test_ca import HOST, TestCa, TestCaFailed
from certwright.model import AccountStatus, Role, system
from certwright.store import Store

MAX_MESSAGE = 128 * 1024
"""Octets of a WebSocket message: what API Gateway takes too."""

_GRACE_SECONDS = 5
_BACKLOG = 2048


def serve(settings: Settings, host: str, port: int, *, with_test_ca: bool, test_ca_life: int | None = None) -> int:
    """Run until SIGINT or SIGTERM, the ordinary ends, which give 0. Raises Unavailable where it cannot listen.

    `test_ca_life` is how many seconds the test CA's certificates last, None: years.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _end)
    with listen(host, port) as listener:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _serve(settings, listener, with_test_ca=with_test_ca, test_ca_life=test_ca_life)


def _end(*_: object) -> NoReturn:
    # uvicorn ends in an orderly manner first, and then raises the signal once more, which comes here.
    raise SystemExit(0)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; connections wait in it until the service is up. Raises Unavailable."""
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
        # Connections inherit it. asyncio sets it only on sockets made with their protocol named, and without it a
        # client that sends one request at a time waits 40 ms for each answer (Nagle, and delayed acknowledgement).
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "another program listens there" if taken else error.strerror
        raise Unavailable(f"cannot listen on {host} port {port}: {reason}; --host and --port choose another") from None


def _serve(settings: Settings, listener: socket.socket, *, with_test_ca: bool, test_ca_life: int | None) -> int:
    if not with_test_ca:
        return _run(App(settings), settings, listener, _no_test_ca("not asked for (--test-ca)"))
    folder, port = settings.data_dir / "test-ca", listener.getsockname()[1]
    test_ca = TestCa.find(folder, port, utc_now, certificate_seconds=test_ca_life)
    if test_ca is None:
        why = "Pebble is not installed (Debian: apt-get install pebble)"
        return _run(App(settings), settings, listener, _no_test_ca(why))
    try:
        test_ca.start()
    except TestCaFailed as failure:
        return _run(App(settings), settings, listener, _no_test_ca(str(failure)))
    try:
        preset = Preset(TestCa.name, test_ca.directory_url, staging=True)
        trusting = replace(settings, ca_bundle=_bundle(settings, test_ca))
        app = App(trusting, test_ca=preset, adviser=_adviser(settings, test_ca, port))
        register_anew(app.store, preset.url)
        return _run(app, settings, listener, _about_test_ca(test_ca))
    finally:
        test_ca.stop()


def _adviser(settings: Settings, test_ca: TestCa, port: int) -> Callable[[str], Adviser]:
    """Names that are ordered at the test CA are looked up where it does, and their files looked for where it does."""
    usual = make_adviser(settings.dns_servers, networks=settings.provider_networks)
    beside = make_adviser([f"{HOST}:{test_ca.ports.dns}"], networks=["127.0.0.0/8"], http_port=port)
    return lambda server: beside() if server == test_ca.directory_url else usual()


def server_config(app: App, host: str, port: int, *, trusted_proxies: Sequence[str] = ("127.0.0.1",)) -> uvicorn.Config:
    """How the app is served: messages bounded, connections given a moment at the end."""
    return uvicorn.Config(
        app.asgi,
        host=host,
        port=port,
        ws=socket_protocol(app.api.patience.stall),
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        forwarded_allow_ips=list(trusted_proxies),
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _run(app: App, settings: Settings, listener: socket.socket, about_ca: str) -> int:
    allow_many_sockets()
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    _print_welcome(url, about_ca, _first_token(app), settings.data_dir)
    # What exists now lives as long as the process: the collector need not walk it again and again, 20 ms each time.
    gc.collect()
    gc.freeze()
    server = uvicorn.Server(server_config(app, host, port, trusted_proxies=settings.trusted_proxies))
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _bundle(settings: Settings, test_ca: TestCa) -> Path:
    """One file with what is trusted besides the public roots: the test CA's, and the setting's own."""
    path = settings.data_dir / "test-ca" / "trusted.pem"
    own = settings.ca_bundle.read_text() if settings.ca_bundle else ""
    path.write_text(test_ca.ca_bundle.read_text() + own)
    return path


def register_anew(store: Store, server: str) -> None:
    """The test CA remembers nothing from before it was started: have its accounts registered again."""
    for tenant in store.tenants():
        for account in store.every_account(tenant):
            if account.acme_server == server and account.status is AccountStatus.VALID:
                pending = replace(account, status=AccountStatus.PENDING, url=None, due=utc_now())
                event = AccountForgotten(subject_id=account.id)
                store.save(account, pending, events=[event], actor=system(tenant))


def _print_welcome(url: str, about_ca: str, token: str | None, data_dir: Path) -> None:
    lines = [
        "",
        f"Certwright is at {url}",
        f"  Console        {url}/acme   (in a browser; sign in with a token)",
        f"  GraphQL        {url}/graphql   (POST; WebSocket graphql-transport-ws; an IDE in a browser)",
        about_ca,
    ]
    if token:
        lines += ["", "Your admin token, shown this once:", "", f"  {token}"]
    lines += ["", "Try it in another terminal:", "", *_calls(url, token, data_dir), ""]
    print("\n".join(lines), flush=True)


def _first_token(app: App) -> str | None:
    """An administrator's token, where there is none of any kind yet."""
    if app.store.tokens():
        return None
    return app.tokens.create("first admin", Role.ADMIN, system(DEFAULT_TENANT))[1]


def _calls(url: str, token: str | None, data_dir: Path) -> list[str]:
    elsewhere = "" if data_dir == Settings.data_dir else f" --data-dir {data_dir}"
    value = token or f"$(.venv/bin/certwright token create --name me --role admin{elsewhere})"
    query = '{"query": "{ dashboard { counts { orders certificates } } acmeServers { name url } }"}'
    return [
        f"  TOKEN={value}",
        f"  curl -s {url}/graphql -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\",
        f"    -d '{query}'",
        "",
        "The README goes on from here to a certificate.",
    ]


def _no_test_ca(why: str) -> str:
    return f"  Local test CA  none: {why}; the public CAs are there"


def _about_test_ca(test_ca: TestCa) -> str:
    return "\n".join(
        (
            f"  Local test CA  {test_ca.directory_url}   (Pebble: forgets everything when it stops)",
            f"    its root     {test_ca.root_path}",
            f"    its DNS      {test_ca.management_url}   (POST /set-txt for dns-01; http-01 needs nothing)",
        )
    )
