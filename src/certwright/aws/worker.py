"""The function that moves orders: woken by messages of SQS for single jobs, and each minute by a schedule to sweep.

What is due is in the table's due index and nowhere else; the messages only say where to look. The sweep sends messages
for all that is due, so that one bound on the queue's concurrency holds for everything.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from certwright.aws import hints
from certwright.aws.app import App, Function, Handler
from certwright.model import Order, OrderStatus
from certwright.pace import Watch
from certwright.presentations import is_asked
from certwright.steps import Job, Steps, Work
from certwright.store import Store
from certwright.table import Due, Key
from certwright.validation import unsent

logger = logging.getLogger(__name__)

SWEEP_PAGE = 200
SWEEP_LIMIT = 5000
"""The most messages that a sweep lets wait in the queue: what is due beyond them is found by the next one."""

RESERVE = timedelta(seconds=40)
"""What must be left of a function's time to begin another step: a CA may take this long to answer."""

PATIENCE = 5
"""Seconds that a function waits for a CA, in all, while it works on one job: its time is paid for."""

_AT_THE_CA = (OrderStatus.PENDING, OrderStatus.PROCESSING)


class Runner:
    """Runs the steps of single jobs for as long as there is something to do at once. Safe from any thread."""

    def __init__(
        self,
        store: Store,
        steps: Steps,
        *,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock
        self._sleep = sleep

    def run(self, key: Key, until: datetime) -> None:
        """Work on one job if it is due, no longer than `until`, and without waiting for longer than PATIENCE in all.

        What is to be done then is left to the due index.
        """
        for job in self._store.find_due([Due(*key, due=0)]):
            if job.due is None or job.due > self._clock():
                logger.debug("%s is not due: it was done, or is being worked on elsewhere", job.id)
                return
            work, waited = Work(job, resumed=True, watch=_watch(job)), 0.0
            while (when := self._steps.run(work)) is not None:
                pause = max(0.0, (when - self._clock()).total_seconds())
                waited += pause
                if waited > PATIENCE or when > until:
                    self._steps.give_back(work, when)
                    return
                self._sleep(pause)


def _watch(job: Job) -> Watch | None:
    """What a CA is at work on, it has been since the last change: whoever looks again goes on at the pace of then."""
    if not isinstance(job, Order) or job.status not in _AT_THE_CA or unsent(job):
        return None
    if job.status is OrderStatus.PENDING and not any(map(is_asked, job.authorizations)):
        return None  # It is a user's turn, or a provider's.
    return Watch(since=job.updated_at, told=job.updated_at)


def work(runner: Runner, records: Sequence[Mapping[str, Any]], until: datetime) -> list[str]:
    """Run the jobs that messages are about, all at once. Returns the ids of the messages that failed.

    A message that failed comes again, and goes to the dead letters in the end; its job comes back with its lease.
    """
    jobs: dict[Key, list[str]] = {}
    failed: list[str] = []
    for record in records:
        try:
            jobs.setdefault(hints.read(record["body"]), []).append(record["messageId"])
        except ValueError:
            logger.exception("message %s is no wake-up", record["messageId"])
            failed.append(record["messageId"])

    def run(key: Key) -> bool:
        try:
            runner.run(key, until)
        except Exception:  # One job must not fail the others of its batch.
            logger.exception("a step of %s failed", key[1])
            return False
        return True

    with ThreadPoolExecutor(max(1, len(jobs))) as pool:
        for key, succeeded in zip(jobs, pool.map(run, jobs), strict=True):
            if not succeeded:
                failed += jobs[key]
    return failed


def sweep(store: Store, queue: hints.Hints, now: datetime) -> int:
    """Send a message for each job that is due, as long as not too many wait already. Returns how many were sent."""
    room = SWEEP_LIMIT - queue.waiting()
    sent, last = 0, None
    while sent < room:
        found = store.due(now, limit=min(SWEEP_PAGE, room - sent), after=last)
        sent += queue.send(found)
        if len(found) < SWEEP_PAGE:
            break
        last = found[-1]
    if sent:
        logger.info("the sweep found %d jobs due", sent)
    return sent


def serve(app: App) -> Handler:
    runner = Runner(app.store, app.steps, clock=app.clock)

    def handle(event: dict[str, Any], context: Any) -> Any:
        if "Records" not in event:
            return {"sent": sweep(app.store, app.hints, app.clock())}
        left = timedelta(milliseconds=context.get_remaining_time_in_millis())
        failed = work(runner, event["Records"], app.clock() + left - RESERVE)
        return {"batchItemFailures": [{"itemIdentifier": id} for id in failed]}

    return handle


handler = Function("worker", serve)
