"""The stream function as a process that has begun already, as most of its calls find it.

`python -m tests.bench.teller` with the function's environment. For each line on its standard input, a Lambda event, it
prints the answer, how long that took (`seconds`), and the `calls` to AWS by service and operation.
"""

import json
import os
import sys
import time
from collections import Counter
from typing import Any

from certwright.aws.app import App
from certwright.aws.connect import Clients
from certwright.aws.stream import serve


def main() -> None:
    calls: Counter[str] = Counter()
    clients = Clients()

    def client(service: str, **options: Any) -> Any:
        made = clients(service, **options)
        made.meta.events.register("before-call", lambda model, **_: calls.update([f"{service} {model.name}"]))
        return made

    function = serve(App(os.environ, client=client))
    for line in sys.stdin:
        calls.clear()
        event = json.loads(line)
        start = time.perf_counter()
        answer = function(event, None)
        told = {"answer": answer, "seconds": time.perf_counter() - start, "calls": calls}
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
