"""`certwright serve`: the app under uvicorn, with a test CA beside it where one is wanted and can be had."""

from dataclasses import replace
from pathlib import Path

import uvicorn

from certwright.auth import DEFAULT_TENANT
from certwright.ca.presets import Preset
from certwright.config import Settings
from certwright.events import AccountForgotten
from certwright.local.app import App, utc_now
from certwright.local.test_ca import TestCa
from certwright.model import AccountStatus, Role
from certwright.steps import system
from certwright.store import Store

MAX_MESSAGE = 128 * 1024
"""Octets of a WebSocket message: what API Gateway takes too."""

_GRACE_SECONDS = 5


def serve(settings: Settings, host: str, port: int, *, with_test_ca: bool) -> int:
    """Run until a signal comes."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    test_ca = TestCa.find(settings.data_dir / "test-ca", port, utc_now) if with_test_ca else None
    if test_ca is None:
        return _run(App(settings), host, port, _without_test_ca(with_test_ca))
    test_ca.start()
    try:
        preset = Preset(TestCa.name, test_ca.directory_url, staging=True)
        app = App(replace(settings, ca_bundle=_bundle(settings, test_ca)), test_ca=preset)
        _register_anew(app.store, preset.url)
        return _run(app, host, port, _about_test_ca(test_ca))
    finally:
        test_ca.stop()


def server_config(app: App, host: str, port: int) -> uvicorn.Config:
    """How the app is served: messages bounded, connections given a moment at the end."""
    return uvicorn.Config(
        app.asgi,
        host=host,
        port=port,
        ws="websockets-sansio",
        ws_max_size=MAX_MESSAGE,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _run(app: App, host: str, port: int, about_ca: str) -> int:
    _print_welcome(app, f"http://{host}:{port}", about_ca)
    uvicorn.Server(server_config(app, host, port)).run()
    return 0


def _bundle(settings: Settings, test_ca: TestCa) -> Path:
    """One file with what is trusted besides the public roots: the test CA's, and the setting's own."""
    path = settings.data_dir / "test-ca" / "trusted.pem"
    own = settings.ca_bundle.read_text() if settings.ca_bundle else ""
    path.write_text(test_ca.ca_bundle.read_text() + own)
    return path


def _register_anew(store: Store, server: str) -> None:
    """The test CA remembers nothing from before it was started: have its accounts registered again."""
    for tenant in store.tenants():
        for account in store.every_account(tenant):
            if account.acme_server == server and account.status is AccountStatus.VALID:
                pending = replace(account, status=AccountStatus.PENDING, url=None, due=utc_now())
                event = AccountForgotten(subject_id=account.id)
                store.save(account, pending, events=[event], actor=system(tenant))


def _print_welcome(app: App, url: str, about_ca: str) -> None:
    token = _first_token(app)
    lines = [
        "",
        f"Certwright is at {url}",
        f"  GraphQL        {url}/graphql   (POST; WebSocket graphql-transport-ws; an IDE in a browser)",
        about_ca,
    ]
    if token:
        lines += ["", "Your admin token, shown this once:", "", f"  {token}"]
    lines += ["", "Try it in another terminal:", "", *_calls(url, token), ""]
    print("\n".join(lines), flush=True)


def _first_token(app: App) -> str | None:
    """An administrator's token, where there is none of any kind yet."""
    if app.store.tokens():
        return None
    return app.tokens.create("first admin", Role.ADMIN, system(DEFAULT_TENANT))[1]


def _calls(url: str, token: str | None) -> list[str]:
    value = token or "$(.venv/bin/certwright token create --name me --role admin)"
    query = '{"query": "{ dashboard { counts { orders certificates } } acmeServers { name url } }"}'
    return [
        f"  TOKEN={value}",
        f"  curl -s {url}/graphql -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\",
        f"    -d '{query}'",
        "",
        "The README goes on from here to a certificate.",
    ]


def _without_test_ca(wanted: bool) -> str:
    why = "Pebble is not installed (Debian: apt-get install pebble)" if wanted else "not asked for (--test-ca)"
    return f"  Local test CA  none: {why}; the public CAs are there"


def _about_test_ca(test_ca: TestCa) -> str:
    return "\n".join(
        (
            f"  Local test CA  {test_ca.directory_url}   (Pebble: forgets everything when it stops)",
            f"    its root     {test_ca.root_path}",
            f"    its DNS      {test_ca.management_url}   (POST /set-txt for dns-01; http-01 needs nothing)",
        )
    )
