"""Who may import whom: CONTRIBUTING.md's table of rooms, held against the imports of the code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import certwright

SOURCE = Path(certwright.__file__).parent

FLOORS = (
    {"model", "errors", "ids", "pace"},
    {
        "ca",
        "table",
        "events",
        "identifiers",
        "sealer",
        "keys",
        "chains",
        "oidc",
        "config",
        "challenges",
        "codec",
        "renewal",
    },
    {"items", "heads", "sqlite_table", "ledger", "parts", "assembly"},
    {"store"},
    {
        "audit",
        "auth",
        "authorities",
        "bookkeeping",
        "fallback",
        "issuance",
        "outcome",
        "registration",
        "rollover",
        "validation",
        "presentations",
        "advising",
        "solvers",
        "solving",
        "succession",
        "tending",
    },
    {"placing", "steps", "account_steps", "reading"},
    {"desk", "worker"},
    {"accounts", "account_keys", "orders", "certificates", "providers"},
    {"service"},
    {"api"},
    {"local", "aws"},
)
"""A room imports from its own floor and those above it in this list, never from those below."""

CLOSED = {
    "local": set[str](),
    "aws": {"local"},
    "items": {
        "store",
        "assembly",
        "auth",
        "desk",
        "steps",
        "tending",
        "reading",
        "api.context",
        "aws.changes",
        "aws.fanout",
    },
    "sqlite_table": {"local.app"},
}
"""Rooms that only these may enter, besides themselves."""

CA_MAY_USE = {"ca", "errors", "model"}

ONLY_UNDER = {
    "boto3": "aws",
    "botocore": "aws",
    "strawberry": "api",
    "graphql": "api",
    "uvicorn": "local",
    "sqlite3": "sqlite_table",
    "acme": "ca",
    "requests": "ca",
    "dns": "challenges",
    "lexicon": "challenges",
}
"""Libraries that are known in one room only."""


def modules() -> Iterator[tuple[str, set[str]]]:
    """Each module by its dotted name within the package, and what it imports: `certwright.` is left off ours."""
    for path in sorted(SOURCE.rglob("*.py")):
        name = ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        yield name, set(imports(ast.parse(path.read_text())))


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(imported: set[str]) -> set[str]:
    return {name.removeprefix("certwright.") for name in imported if name.startswith("certwright.")}


def room(name: str) -> str:
    return name.partition(".")[0]


def floor(name: str) -> int:
    found = [number for number, rooms in enumerate(FLOORS) if room(name) in rooms]
    assert found, f"{name} has no floor; give it one in FLOORS"
    return found[0]


MODULES = dict(modules())
NAMES = [name for name in MODULES if name != "__init__"]


@pytest.mark.parametrize("name", NAMES)
def test_imports_go_up_only(name: str) -> None:
    assert [i for i in ours(MODULES[name]) if floor(i) > floor(name)] == []


@pytest.mark.parametrize("name", NAMES)
def test_closed_rooms_are_entered_by_few(name: str) -> None:
    for closed, few in CLOSED.items():
        if room(name) != closed and name not in few and room(name) not in few:
            assert [i for i in ours(MODULES[name]) if room(i) == closed] == []


@pytest.mark.parametrize("name", [name for name in NAMES if room(name) == "ca"])
def test_ca_knows_nothing_of_us(name: str) -> None:
    assert {room(i) for i in ours(MODULES[name])} <= CA_MAY_USE


@pytest.mark.parametrize("name", NAMES)
def test_libraries_stay_in_their_rooms(name: str) -> None:
    for library, only in ONLY_UNDER.items():
        if room(name) != only:
            assert not [i for i in MODULES[name] if room(i) == library]


def test_the_api_knows_only_what_the_store_tells() -> None:
    seen = {i for name in NAMES if room(name) == "api" for i in ours(MODULES[name]) if room(i) in ("store", "items")}
    assert seen <= {"store.Notice", "items.E"}


def test_modules_of_one_room_do_not_import_each_other_in_a_ring() -> None:
    after: dict[str, set[str]] = {
        name: {other for other in NAMES if any(i == other or i.startswith(other + ".") for i in ours(MODULES[name]))}
        for name in NAMES
    }
    while free := [name for name, needed in after.items() if not needed - {name} & after.keys()]:
        for name in free:
            del after[name]
        after = {name: needed & after.keys() for name, needed in after.items()}
    assert sorted(after) == []
