"""The console as files: what is served where, with which headers, and what stands there where it was not built."""

import asyncio
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from certwright.api.console import BUILT, Console
from tests.support.browser import require_console
from tests.support.house import GraphQLFailed, House
from tests.support.pebble import Pebble

FIRST_PAGE_KB = 120


@pytest.fixture
def site(tmp_path: Path) -> Iterator[httpx.Client]:
    require_console()
    with House(tmp_path) as house:
        yield house.http


def get(console: Console, path: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=console.routes))
        async with httpx.AsyncClient(transport=transport, base_url="http://console.example") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a build leaves, in small."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>Certwright</title>")
    (tmp_path / "assets" / "index-abc.js").write_text("let there = 'be light'")
    (tmp_path / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(b"let there = 'be light'"))
    return tmp_path


def policy(response: httpx.Response) -> dict[str, str]:
    directives = response.headers["content-security-policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


@pytest.mark.parametrize("path", ["/acme", "/acme/orders/create", "/acme/accounts/01ABC", "/acme/signed-in"])
def test_every_address_below_acme_answers_with_the_console(site: httpx.Client, path: str) -> None:
    response = site.get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert '<div id="app">' in response.text
    assert response.headers["cache-control"] == "no-cache"


def test_pages_run_scripts_of_their_own_only_and_stand_in_no_frame(site: httpx.Client) -> None:
    response = site.get("/acme")
    rules = policy(response)
    host = site.base_url.netloc.decode()
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["form-action"] == "'self'"
    assert rules["connect-src"] == f"'self' ws://{host} wss://{host}"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"


def test_pages_hold_nothing_inline_and_nothing_of_other_hosts(site: httpx.Client) -> None:
    for path in ("/acme", "/graphql"):
        text = site.get(path, headers={"accept": "text/html"}).text
        assert not re.search(r"<style|style=|\son\w+=|<script(?![^>]*\ssrc=)", text)
        assert "//" not in text


def test_scripts_are_kept_for_ever_and_come_compressed(site: httpx.Client) -> None:
    [name] = re.findall(r'src="(/acme/assets/[^"]+\.js)"', site.get("/acme").text)
    for encoding in ("br", "gzip", "identity"):
        response = site.send(site.build_request("GET", name, headers={"accept-encoding": encoding}), stream=True)
        raw = b"".join(response.iter_raw())
        assert response.headers.get("content-encoding", "identity") == encoding
        assert response.headers["content-type"] == "text/javascript; charset=utf-8"
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert len(raw) == int(response.headers["content-length"])


def test_what_a_browser_has_already_is_not_sent_again(site: httpx.Client) -> None:
    tag = site.get("/acme").headers["etag"]
    again = site.get("/acme/orders", headers={"if-none-match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_first_page_is_light(site: httpx.Client) -> None:
    names = re.findall(r'(?:src|href)="/acme/(assets/[^"]+\.(?:js|css))"', site.get("/acme").text)
    weight = sum((BUILT / f"{name}.gz").stat().st_size for name in names)
    assert 10 < weight / 1000 < FIRST_PAGE_KB


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2findex.html", "missing.js", ""])
def test_assets_are_the_built_files_and_no_others(built: Path, name: str) -> None:
    response = get(Console(built=built / "assets"), f"/acme/assets/{name}")
    assert response.status_code in (404, 503)


def test_clients_that_take_no_compression_get_the_file_itself(built: Path) -> None:
    console, plain = Console(built=built), {"accept-encoding": "identity"}
    assert get(console, "/acme/assets/index-abc.js", **plain).text == "let there = 'be light'"
    assert get(console, "/acme/assets/index-abc.js.gz").status_code == 404


def test_without_a_build_the_page_says_what_to_install(tmp_path: Path) -> None:
    response = get(Console(built=tmp_path / "dist"), "/acme")
    assert response.status_code == 503
    assert "apt-get install nodejs npm" in response.text
    assert "the GraphQL API at /graphql runs all the same" in response.text


def test_config_tells_the_page_what_it_needs_and_no_more(site: httpx.Client) -> None:
    response = site.get("/acme/config.json")
    assert response.headers["cache-control"] == "no-store"
    assert response.json() == {"version": "0.1.0", "socketUrl": None, "oidc": None}


def test_sockets_of_another_host_are_allowed_where_they_are_set(built: Path) -> None:
    console = Console(socket_url="wss://live.example/prod", built=built)
    assert get(console, "/acme/config.json").json()["socketUrl"] == "wss://live.example/prod"
    assert policy(get(console, "/acme"))["connect-src"] == "'self' wss://live.example"


def test_a_strange_host_header_gets_nothing_into_the_policy(built: Path) -> None:
    response = get(Console(built=built), "/acme", host="a.example; script-src *")
    assert policy(response)["connect-src"] == "'self'"
    assert policy(response)["script-src"] == "'self'"


def test_browsers_get_the_ide_at_graphql_and_programs_do_not(site: httpx.Client) -> None:
    page = site.get("/graphql", headers={"accept": "text/html"})
    assert '<div id="ide">' in page.text
    assert policy(page)["script-src"] == policy(page)["worker-src"] == "'self'"
    assert policy(page)["frame-ancestors"] == "'none'"
    assert site.get("/graphql?query={viewer{name}}", headers={"accept": "application/json"}).status_code == 401


DIRECTORY = """query($u: String!) { acmeDirectory(url: $u) {
    url termsOfService website externalAccountRequired profiles { name description } } }"""


def test_what_a_ca_demands_of_accounts_can_be_asked_before(house: House, pebble: Pebble) -> None:
    found = house.graphql(DIRECTORY, house.operator, u=pebble.directory_url)["acmeDirectory"]
    assert found["termsOfService"].startswith("data:text/plain,")
    assert (found["url"], found["externalAccountRequired"]) == (pebble.directory_url, False)


@pytest.mark.parametrize(("role", "url", "code"), [
    ("viewer", "https://127.0.0.1:1/dir", "FORBIDDEN"),
    ("operator", "https://127.0.0.1:1/dir", "INVALID_INPUT"),
])  # fmt: skip
def test_only_allowed_cas_are_asked_and_not_for_viewers(house: House, role: str, url: str, code: str) -> None:
    with pytest.raises(GraphQLFailed) as failed:
        house.graphql(DIRECTORY, getattr(house, role), u=url)
    assert failed.value.code == code
