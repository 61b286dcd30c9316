"""Our side of the delivery: the service as one process, whose commits can be asked for, and are timed.

`python -m tests.bench.feeder DATA_DIR ORDERS` prints [port, token, ids of orders]. For each line on its standard input,
the id of an order, it commits a change of that order; it then prints when the commit was done (CLOCK_MONOTONIC, in
seconds).
"""

import json
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import uvicorn

from certwright.config import Settings
from certwright.events import OrderReady
from certwright.local.app import App, utc_now
from certwright.local.server import listen, server_config
from certwright.local.test_ca import free_port
from certwright.store import Notice, Store
from tests.bench.processes import OWNER
from tests.bench.seed import seed
from tests.support.house import await_true


class Feeder:
    def __init__(self, app: App) -> None:
        self._broadcast = app.broadcast
        self._store = Store(app.table, clock=utc_now, new_id=app.store.new_id, publish=self._publish)
        self._committed_at = 0.0

    def _publish(self, notices: Sequence[Notice]) -> None:
        self._committed_at = time.monotonic()
        self._broadcast.publish(notices)

    def commit(self, id: str) -> float:
        order = self._store.order(OWNER.tenant, id)
        event = OrderReady(subject_id=id, account_id=order.account_id)
        self._store.save(order, replace(order, updated_at=utc_now()), events=[event], actor=OWNER)
        return self._committed_at


def main(directory: str, count: str) -> None:
    token = seed(Path(directory), int(count))
    app = App(Settings.read({}, Path(directory)))
    feeder, port = Feeder(app), free_port()
    ids: list[str] = []
    while len(ids) < int(count):
        page = app.store.orders(OWNER.tenant, first=100, after=ids[-1] if ids else None)
        ids += [order.id for order in page.nodes]
    server = uvicorn.Server(server_config(app, "127.0.0.1", port))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listen("127.0.0.1", port)]})
    thread.start()
    await_true(lambda: server.started)
    _tell([port, token, ids])
    for line in sys.stdin:
        _tell(feeder.commit(json.loads(line)))
    server.should_exit = True
    thread.join()


def _tell(found: object) -> None:
    sys.stdout.write(f"{json.dumps(found)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
