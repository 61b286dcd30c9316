"""Takes what is due and sees to it that its steps are run, each CA and each provider in a lane of its own.

The due index of the store is the truth about what happens next; `wake` and the timers kept here are hints that only cut
latency. Whatever is worked on is leased: it is due again at the lease's end, so that work of a process that died is
taken up by another. Who hangs fills its own lane and holds back nobody else.
"""

import heapq
import itertools
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from certwright import presentations
from certwright.model import Order
from certwright.steps import Job, Steps, Work
from certwright.store import Store
from certwright.table import Due

logger = logging.getLogger(__name__)

_BATCH = 200
_MOST_KNOWN = 20_000


class Worker:
    """Works in threads of its own between `start` and `stop`.

    `sweep` is how often the due index is read for work that nobody announced; `lane` is how many steps may run at one
    CA at once, `threads` how many in all.
    """

    def __init__(
        self,
        store: Store,
        steps: Steps,
        *,
        clock: Callable[[], datetime],
        sweep: timedelta = timedelta(seconds=2),
        lane: int = 16,
        threads: int = 256,
    ) -> None:
        self._store = store
        self._steps = steps
        self._clock = clock
        self._sweep = sweep
        self._lane = lane
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="step")
        self._changed = threading.Condition()
        self._works: dict[str, Work] = {}
        self._timers: list[tuple[datetime, int, str]] = []
        self._tickets = itertools.count()
        self._lanes: dict[str, deque[Work]] = {}
        self._running: Counter[str] = Counter()
        self._taken: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End after the steps that are running, and give back what is leased and not begun."""
        self._steps.stop()
        with self._changed:
            self._changed.notify_all()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)
        with self._changed:
            works, self._works = self._works, {}
        for work in works.values():
            self._steps.give_back(work)

    def wake(self, job: Job) -> None:
        """A hint: this was just committed, leased to this process; go on with it now."""
        with self._changed:
            work = self._works.setdefault(job.id, Work(job))
            if work.job.version < job.version and (work.news is None or work.news.version < job.version):
                work.news = job
            self._set_alarm(work, self._clock())

    def _set_alarm(self, work: Work, when: datetime) -> None:
        """A work has one alarm; the timer of an earlier one rings for nothing."""
        work.alarm = when
        heapq.heappush(self._timers, (when, next(self._tickets), work.job.id))
        self._changed.notify_all()

    def _run(self) -> None:
        next_sweep = self._clock()
        while not self._steps.stopping:
            now = self._clock()
            if now >= next_sweep:
                self._try_to_read_due(now)
                next_sweep = now + self._sweep
            with self._changed:
                self._ring(now)
                self._start_steps()
                soonest = min(next_sweep, self._timers[0][0]) if self._timers else next_sweep
                pause = (soonest - self._clock()).total_seconds()
                if pause > 0 and not self._steps.stopping:
                    self._changed.wait(pause)

    def _try_to_read_due(self, now: datetime) -> None:
        try:
            self._read_due(now)
        except Exception:  # The worker must outlive a store that fails for a while; the next sweep asks it again.
            logger.exception("what is due could not be read")

    def _read_due(self, now: datetime) -> None:
        """Take note of what is due and not known here: new to this process, or leased by one that died."""
        last: Due | None = None
        while len(self._works) < _MOST_KNOWN:
            found = self._store.due(now, limit=_BATCH, after=last)
            unknown = [entry for entry in found if entry.sk not in self._works]
            for job in self._store.find_due(unknown):
                with self._changed:
                    if job.id not in self._works:
                        self._works[job.id] = Work(job, resumed=True)
                        self._set_alarm(self._works[job.id], now)
            if len(found) < _BATCH:
                return
            last = found[-1]

    def _ring(self, now: datetime) -> None:
        """Put what its alarm rang for into the lane of whom it waits for."""
        while self._timers and self._timers[0][0] <= now:
            when, _, id = heapq.heappop(self._timers)
            work = self._works.get(id)
            if work is not None and work.alarm == when and id not in self._taken:
                self._taken.add(id)
                self._lanes.setdefault(_lane(work.job), deque()).append(work)

    def _start_steps(self) -> None:
        for server, lane in list(self._lanes.items()):
            while lane and self._running[server] < self._lane:
                self._running[server] += 1
                self._pool.submit(self._take, server, lane.popleft())
            if not lane:
                del self._lanes[server]

    def _take(self, server: str, work: Work) -> None:
        """Run the steps of one job in a thread of the pool."""
        when = None
        try:
            when = self._steps.run(work)
        except Exception:  # A thread of the pool has nobody else to tell, and the lease brings the job back.
            logger.exception("a step of %s failed; it is taken again when its lease ends", work.job.id)
        with self._changed:
            self._running[server] -= 1
            self._taken.discard(work.job.id)
            self._after(work, when)
            self._changed.notify_all()

    def _after(self, work: Work, when: datetime | None) -> None:
        """Keep a job that goes on soon; forget one that does not, unless there is news of it."""
        if work.news is not None and work.news.version > work.job.version:
            self._set_alarm(work, self._clock())
        elif when is not None:
            self._set_alarm(work, when)
        else:
            self._works.pop(work.job.id, None)


def _lane(job: Job) -> str:
    return presentations.lane(job) if isinstance(job, Order) else job.acme_server
