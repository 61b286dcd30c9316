"""A process of a function, from its start to its first answer.

    python first_call.py FOLDER MODULE < event.json 2> told.json

What it tells: `seconds` from the import of MODULE to the answer, `answer`, `modules`, the packages that are imported
by then, and `collects`, whether Python looks for garbage then. Nothing is imported before the clock runs but what
Python itself needs.
"""

import sys
import time

begin = time.perf_counter()
folder, module = sys.argv[1:]
sys.path[0] = folder

import gc  # noqa: E402
import importlib  # noqa: E402
import json  # noqa: E402


class Context:
    aws_request_id = "1"

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


event = json.load(sys.stdin)
answer = importlib.import_module(module).handler(event, Context())
seconds = time.perf_counter() - begin
modules = sorted({name.partition(".")[0] for name in sys.modules})
json.dump({"seconds": seconds, "answer": answer, "modules": modules, "collects": gc.isenabled()}, sys.stderr)
