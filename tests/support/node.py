"""Node, and the packages of tests/package.json."""

import shutil
from pathlib import Path

import pytest

MODULES = Path(__file__).resolve().parents[1] / "node_modules"


def require_node() -> None:
    """Skips the test where Node or the packages are missing."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed (Debian: apt-get install nodejs npm)")
    if not (MODULES / "graphql-ws").is_dir():
        pytest.skip("the packages of tests/package.json are not installed: run `npm ci` in tests/")
