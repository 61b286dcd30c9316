"""`python -m tests.bench [--quick] [bench …]`."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import cold, cost, dashboard, delivery, fanout, issuance, memory
from tests.bench.table import Row, machine, markdown

BENCHES: dict[str, Callable[..., list[Row]]] = {
    "issuance": issuance.measure,
    "dashboard": dashboard.measure,
    "delivery": delivery.measure,
    "memory": memory.measure,
    "cost": cost.measure,
    "cold": cold.measure,
    "fanout": fanout.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser("tests.bench", description="Ours and the floor, as one table.")
    parser.add_argument("bench", nargs="*", help=f"{', '.join(BENCHES)}; all of them where none is named")
    parser.add_argument("--quick", action="store_true", help="small counts: whether it runs, not how fast")
    options = parser.parse_args()
    if unknown := set(options.bench) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    sys.stdout.write(f"{machine()}\n\n")
    rows = []
    for name in options.bench or BENCHES:
        sys.stderr.write(f"{name} …\n")
        with tempfile.TemporaryDirectory(prefix="certwright-bench-") as directory:
            rows += BENCHES[name](Path(directory), quick=options.quick)
    sys.stdout.write(f"{markdown(rows)}\n")


if __name__ == "__main__":
    main()
