"""Makes the zip of each AWS function: our modules that it can reach, what those import, and nothing else.

    .venv/bin/python tools/package.py [--architecture arm64|x86_64]... [--output build/lambda]

Wheels are those of requirements-aws.txt, for Lambda's platform; they are downloaded once, and after that no network is
needed. Bytecode is compiled with unchecked hashes: zips hold no times by which Python could tell that it is fresh
(PEP 552). So the functions must run on the minor version of Python that makes the zips; it is written to `runtime`.
The same input gives the same zips, octet for octet.
"""

import argparse
import ast
import gzip
import hashlib
import importlib.metadata
import json
import py_compile
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
LOCK = ROOT / "requirements-aws.txt"
PLATFORMS = {"arm64": "aarch64", "x86_64": "x86_64"}
TASK_ROOT = "/var/task"
EPOCH = (1980, 1, 1, 0, 0, 0)  # The first moment that a zip can name.
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"cpython-{sys.version_info.major}{sys.version_info.minor}"


@dataclass(frozen=True)
class Function:
    """`without` names modules, ours or others', that this function never comes to; `services` are those of botocore."""

    handler: str
    services: tuple[str, ...]
    without: tuple[str, ...] = ()


ACME = (
    *(
        f"certwright.{name}"
        for name in ("keys", "chains", "steps", "ca.client", "ca.jws", "identifiers", "bookkeeping")
    ),
    "cryptography",
    "jwt",
)
LEXICON = ("certwright.challenges.lexicon", "lexicon")
ROUTE53 = ("route53", "sts")
SOLVING = (
    *(
        f"certwright.challenges.{name}"
        for name in ("acme_dns", "advice", "http_hook", "propagation", "resolving", "rfc2136", "web")
    ),
    "dns",
    *LEXICON,
)
GRAPHQL = ("certwright.api", "certwright.reading", "certwright.service")
CONSOLE = "certwright.api.console"
PIECES = ("certwright.aws.hints", "certwright.aws.audit_archive")

FUNCTIONS = {
    "http": Function("certwright.aws.http", ("dynamodb", "kms", *ROUTE53), (*PIECES, *LEXICON)),
    "websocket": Function(
        "certwright.aws.websocket",
        ("dynamodb", "kms", "apigatewaymanagementapi", *ROUTE53),
        (*PIECES, *LEXICON),
    ),
    "stream": Function(
        "certwright.aws.stream",
        ("dynamodb", "apigatewaymanagementapi", "sqs", "logs", "firehose", "events"),
        (*ACME, *SOLVING),
    ),
    "worker": Function(
        "certwright.aws.worker",
        ("dynamodb", "kms", "sqs", *ROUTE53),
        (*GRAPHQL, *LEXICON, PIECES[1], "jwt"),
    ),
    "watch": Function("certwright.aws.watch", ("dynamodb",), (*ACME, *SOLVING, *GRAPHQL, *PIECES)),
}

SERVICES = frozenset(service for function in FUNCTIONS.values() for service in function.services)
BOTOCORE_DATA = ("_retry.json", "endpoints.json", "partitions.json", "sdk-default-configuration.json")

_UNUSED = {
    "aws_lambda_powertools": "event_handler",
    "aws_lambda_powertools/utilities": "auth_alpha|batch|circuit_breaker|data_classes|data_masking|feature_flags|"
    "idempotency|kafka|parameters|parser|streaming|validation",
    "cffi": "recompiler|setuptools_ext|cparser|.*[.]h",
    "dateutil/zoneinfo": "dateutil-zoneinfo.tar.gz",
    "pycparser": ".*",
    "strawberry": "aiohttp|chalice|channels|cli|codegen|codemods|django|ext|fastapi|flask|litestar|pydantic|quart|"
    "sanic|schema_codegen|test",
}
LEFT_OUT = re.compile(
    "|".join(f"^{folder}/({names})(/|[.]py$|$)" for folder, names in _UNUSED.items())
    + r"|(^|/)(tests?|__pycache__)/|[.](pyi|pyx|pxd|typed)$|^[^/]+[.]data/"
)
"""Of wheels: what no function comes to. tests/test_stack.py imports everything that is left."""


# What a function reaches


def reached(function: Function) -> tuple[set[str], set[str]]:
    """Our modules that a function's handler imports, at once or later, and the other packages that those do."""
    ours, others = set[str](), set[str]()
    waiting = [function.handler]
    while waiting:
        module = waiting.pop()
        if module in ours or _is_below(module, function.without):
            continue
        ours |= {module, *_parents(module)}
        for name in _imports(_path(module)):
            if name.partition(".")[0] == "certwright":
                waiting.append(name if _path(name).exists() else name.rpartition(".")[0])
            elif not _is_below(name, function.without):
                others.add(name.partition(".")[0])
    return {name for name in ours if _path(name).exists()}, others


def _is_below(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts)))


def _path(module: str) -> Path:
    path = SOURCE.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """What a file imports anywhere in it, but for what only a type checker reads."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


def distributions(packages: Iterable[str]) -> set[str]:
    """The distributions that hold these packages, and all that those require."""
    holders = importlib.metadata.packages_distributions()
    waiting = [holder for package in packages if package not in sys.stdlib_module_names for holder in holders[package]]
    found = set[str]()
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            required = map(Requirement, importlib.metadata.requires(name) or ())
            waiting += [r.name for r in required if r.marker is None or r.marker.evaluate({"extra": ""})]
    return found


# Wheels


def pinned() -> dict[str, str]:
    """The lock's entries for Lambda, with their hashes, by name."""
    entries = [entry for entry in re.split(r"\n(?=\S)", LOCK.read_text()) if "==" in entry]
    required = [Requirement(re.split(r" *\\\n", entry)[0]) for entry in entries]
    # Without the markers: pip would read them for the Python that runs it.
    alone = (re.sub(r" ;[^\\\n]*", " ", entry, count=1) for entry in entries)
    return {canonicalize_name(r.name): entry for r, entry in zip(required, alone, strict=True) if _is_for_lambda(r)}


def _is_for_lambda(required: Requirement) -> bool:
    """pip takes `--python-version=3.11` for 3.11.0."""
    system = {"python_full_version": f"{PYTHON}.0", "sys_platform": "linux", "platform_system": "Linux"}
    return required.marker is None or required.marker.evaluate(system)


def download(names: Iterable[str], architecture: str, folder: Path) -> None:
    """Have the wheels of these distributions in `folder`, and no others."""
    lock = pinned()
    wanted = "\n".join(lock[name] for name in sorted(names))
    note = folder / "requirements.txt"
    if note.exists() and note.read_text() == wanted:
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent))  # Others may package at the same time.
    (draft / note.name).write_text(wanted)
    machine = PLATFORMS[architecture]
    platforms = [f"--platform=manylinux_2_{glibc}_{machine}" for glibc in (34, 28, 17)]
    platforms.append(f"--platform=manylinux2014_{machine}")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download", "--no-deps"]
    pip += ["--require-hashes", "--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp", *platforms]
    subprocess.run([*pip, f"--dest={draft}", f"--requirement={draft / note.name}"], check=True)  # noqa: S603
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def unpack(wheel: Path, folder: Path) -> None:
    """The files of a wheel that a function can need, with their bytecode, in `folder`; nothing if they are there."""
    if folder.exists():
        return
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            about = ".dist-info/" in name and not name.endswith("/METADATA")
            if not (name.endswith("/") or about or LEFT_OUT.search(name)):
                archive.extract(name, draft)
    if (data := draft / "botocore" / "data").exists():
        shorten(data)
    compile_below(draft, PurePosixPath(TASK_ROOT))
    draft.rename(folder)


def shorten(data: Path) -> None:
    """Leave in botocore's descriptions what its clients use: every process reads them before its first call.

    That is no documentation, and of the endpoints of all services those of SERVICES.
    """
    prefixes = set[str]()
    for service in SERVICES:
        for packed in data.glob(f"{service}/*/service-2.json.gz"):
            model = _undocumented(json.loads(gzip.decompress(packed.read_bytes())))
            prefixes.add(model["metadata"]["endpointPrefix"])
            packed.unlink()
            packed.with_suffix("").write_text(json.dumps(model, separators=(",", ":")))
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        partition["services"] = {name: told for name, told in partition["services"].items() if name in prefixes}
    (data / "endpoints.json").write_text(json.dumps(endpoints, separators=(",", ":")))


def _undocumented(model: Any) -> Any:
    """A description without its texts; a member that is called `documentation` is none."""
    if isinstance(model, list):
        return [_undocumented(inner) for inner in model]
    if not isinstance(model, dict):
        return model
    is_text = {name: name == "documentation" and isinstance(inner, str) for name, inner in model.items()}
    return {name: _undocumented(inner) for name, inner in model.items() if not is_text[name]}


def compile_below(folder: Path, place: PurePosixPath) -> None:
    for path in folder.rglob("*.py"):
        bytecode = path.parent / "__pycache__" / f"{path.stem}.{TAG}.pyc"
        py_compile.compile(
            str(path),
            str(bytecode),
            dfile=str(place / path.relative_to(folder).as_posix()),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


# Zips


def contents(function: Function, sites: Iterable[Path], ours: Path) -> dict[str, Path]:
    """What goes into a function's zip: names there, and the files here. `sites` are the wheels that it needs."""
    files = {path.relative_to(ours).as_posix(): path for path in ours.glob("*.dist-info/METADATA")}
    for module in reached(function)[0]:
        path = _path(module).relative_to(SOURCE)
        for part in (path, path.parent / "__pycache__" / f"{path.stem}.{TAG}.pyc"):
            files[part.as_posix()] = ours / part
    if CONSOLE in reached(function)[0]:
        files |= {path.relative_to(SOURCE).as_posix(): path for path in console_files()}
    for site in sites:
        inside = {path.relative_to(site).as_posix(): path for path in site.rglob("*") if path.is_file()}
        files |= {name: path for name, path in inside.items() if _is_needed(name, function.services)}
    return files


def console_files() -> list[Path]:
    """The web console as `make console` built it; none where it was not built."""
    built = SOURCE / "certwright" / "console" / "dist"
    return sorted(path for path in built.rglob("*") if path.is_file() and not path.name.startswith("."))


def _is_needed(path: str, services: Sequence[str]) -> bool:
    """Of botocore's descriptions of every service there is, those of the function's own."""
    if not path.startswith("botocore/data/"):
        return True
    place = path.removeprefix("botocore/data/")
    return place in BOTOCORE_DATA or place.partition("/")[0] in services


def write_zip(target: Path, files: Mapping[str, Path]) -> tuple[int, int]:
    """Returns the octets of the zip, and of what is in it."""
    unpacked = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            data = path.read_bytes()
            unpacked += len(data)
            archive.writestr(entry, data)
    return target.stat().st_size, unpacked


def copy_ours(folder: Path) -> None:
    """Our package with its bytecode, and as much of its metadata as tells the version."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        SOURCE / "certwright", folder / "certwright", ignore=shutil.ignore_patterns("__pycache__", "console")
    )
    compile_below(folder, PurePosixPath(TASK_ROOT))
    version = importlib.metadata.version("certwright")
    metadata = folder / f"certwright-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text(f"Metadata-Version: 2.1\nName: certwright\nVersion: {version}\n")


def inputs() -> str:
    """A digest of all that the zips are made from."""
    digest = hashlib.sha256(TAG.encode())
    for path in (
        Path(__file__),
        LOCK,
        ROOT / "pyproject.toml",
        *sorted((SOURCE / "certwright").rglob("*.py")),
        *console_files(),
    ):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def package(architecture: str, output: Path) -> dict[str, tuple[int, int]]:
    """Make every zip of one architecture, unless they are there; their sizes, packed and unpacked."""
    folder, made_from = output / architecture, inputs()
    note = folder / "sizes.json"
    if note.exists() and (noted := json.loads(note.read_text()))["inputs"] == made_from:
        return {name: (packed, unpacked) for name, (packed, unpacked) in noted["sizes"].items()}
    folder.mkdir(parents=True, exist_ok=True)
    sizes = make(architecture, output)
    note.write_text(json.dumps({"inputs": made_from, "sizes": sizes}))
    return sizes


def make(architecture: str, output: Path) -> dict[str, tuple[int, int]]:
    needs = {name: distributions(reached(function)[1]) for name, function in FUNCTIONS.items()}
    wheels = output / "wheels" / architecture
    download(set().union(*needs.values()), architecture, wheels)
    unpacked = output / "unpacked" / architecture / f"{TAG}-{zlib.crc32(Path(__file__).read_bytes()):08x}"
    by_name: dict[str, Path] = {canonicalize_name(path.name.split("-")[0]): path for path in wheels.glob("*.whl")}
    sites = {name: unpacked / wheel.stem for name, wheel in by_name.items()}
    with ProcessPoolExecutor() as pool:
        list(pool.map(unpack, by_name.values(), sites.values()))
        copy_ours(output / "ours")
        jobs = {}
        for name, function in FUNCTIONS.items():
            files = contents(function, [sites[need] for need in needs[name]], output / "ours")
            jobs[name] = pool.submit(write_zip, output / architecture / f"{name}.zip", files)
        return {name: job.result() for name, job in jobs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the zips of the AWS functions.")
    parser.add_argument("--architecture", action="append", choices=PLATFORMS)
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "lambda")
    options = parser.parse_args()
    lines = [f"{'function':12}{'architecture':14}{'zip':>9}{'unpacked':>10}"]
    for architecture in options.architecture or PLATFORMS:
        for name, sizes in package(architecture, options.output).items():
            packed, unpacked = (f"{size / 1e6:.1f} MB" for size in sizes)
            lines.append(f"{name:12}{architecture:14}{packed:>9}{unpacked:>10}")
    (options.output / "runtime").write_text(f"python{PYTHON}\n")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
