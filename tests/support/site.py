"""A deployment at work in this process: its functions, and what comes to them from the table and by the clock.

with cloud(dynamodb, settings=...) as running:
    site = Site(running, pebble)
    with site.working(), EventSourceMapping(Stream(dynamodb, running.table_name), running.stream()):
        site.issue(site.create_account()["id"], "a.example")
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx

from certwright.aws.worker import Runner
from certwright.codec import microseconds
from certwright.model import Role
from tests.support.house import Operations, await_true
from tests.support.lambdas import Cloud
from tests.support.pebble import Pebble
from tests.support.socket import Socket


class Site(Operations):
    """Everything at work: sockets, the stream and its function, and a worker for what is due."""

    def __init__(self, cloud: Cloud, ca: Pebble) -> None:
        self.cloud = cloud
        self.ca = ca
        self.viewer, self.operator, self.admin = (cloud.token(role.name, role) for role in Role)

    def post(self, document: Any, token: str | None, headers: dict[str, str] | None = None) -> httpx.Response:  # noqa: ARG002
        """Over a socket, as there is no other way here."""
        with Socket(self.cloud.sockets.ws_url) as socket:
            socket.init(token)
            return httpx.Response(200, json=socket.execute(document["query"], **document["variables"]))

    @property
    def subscriptions(self) -> list[str]:
        return self.cloud.rows("#topic#")

    def await_subscribers(self, number: int) -> None:
        await_true(lambda: len(self.subscriptions) == number)

    def await_others(self, subscriptions: Collection[str]) -> None:
        """As many other subscriptions instead of these."""
        await_true(lambda: len(now := self.subscriptions) == len(subscriptions) and not {*now} & {*subscriptions})

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have what is due be done."""
        app, stopped = self.cloud.app(), threading.Event()
        runner = Runner(app.store, app.steps, clock=app.clock)

        def work() -> None:
            while not stopped.wait(0.05):
                for entry in app.table.due(microseconds(app.clock()) // 1000, limit=10):
                    runner.run((entry.pk, entry.sk), app.clock() + timedelta(seconds=20))

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
