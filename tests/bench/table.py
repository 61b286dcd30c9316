"""What a bench hands back, and how it is printed."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Target:
    """What a ratio (or with `absolute` our figure itself) must at least, or at most, be."""

    bound: float
    at_least: bool = False
    absolute: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g}{'' if self.absolute else TIMES}"


@dataclass(frozen=True)
class Row:
    """One figure, the floor's where there is one, and the target where there is one."""

    what: str
    unit: str
    ours: float
    floor: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        return self.ours / self.floor if self.floor else None

    @property
    def is_met(self) -> bool | None:
        """None without a target."""
        judged = self.ours if self.target and self.target.absolute else self.ratio
        return None if self.target is None or judged is None else self.target.is_met(judged)

    def cells(self) -> list[str]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}{TIMES}"
        verdict = {None: "", True: "", False: " (missed)"}[self.is_met]
        floor = "" if self.floor is None else _figure(self.floor, self.unit)
        return [self.what, _figure(self.ours, self.unit), floor, ratio, f"{self.target or ''}{verdict}"]


def _figure(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table whose columns line up in plain text too."""
    header = ["", "Certwright", "Floor", "Ratio", "Target"]
    lines = [header, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    aligned = [
        [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [aligned[0], ruler, *aligned[1:]])


def machine() -> str:
    """Where the figures come from, in a line."""
    cores = os.cpu_count()
    load, _, _ = os.getloadavg()
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = f"Python {platform.python_version()}"
    return f"{cores} cores ({_processor()}), {memory:.0f} GiB, {system}, {python}; load at the start {load:.1f}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
