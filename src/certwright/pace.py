"""When to look again at what a CA is working on and named no time for.

Each CA has its own speed, so it is learnt: the first look comes when the CA took that long before, later ones at
growing intervals. A CA that is fast is not waited for, one that is slow is not pestered.
"""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta

_FIRST_GUESS = 0.05
_SHORTEST, _LONGEST = 0.002, 10.0
_LEARNING, _FORGETTING = 0.3, 0.95


@dataclass
class Watch:
    """One piece of work that a CA was seen at: since when, when it was last given more of it, how often it is looked
    at, and when next."""

    since: datetime
    told: datetime
    looks: int = 0
    next: datetime | None = None


class Pace:
    """Estimates, per kind of work (any hashable key), how long it takes. Safe from any thread."""

    def __init__(self) -> None:
        self._estimates: dict[object, float] = {}
        self._lock = threading.Lock()

    def look(self, work: object, watch: Watch | None, now: datetime, *, told: bool) -> Watch:
        """Plan the next look at work that goes on. `told`: the CA was only given more of it, and not looked at; a look
        that is planned already stays where it is then."""
        watch = watch or Watch(since=now, told=now)
        if told:
            watch.told = now
        if watch.next is None or not told:
            watch.looks += 1
            watch.next = now + self.wait(work, now - watch.since)
        return watch

    def done(self, work: object, watch: Watch, now: datetime) -> None:
        """The work was seen done."""
        self.learn(work, now - watch.told, looks=watch.looks)

    def wait(self, work: object, elapsed: timedelta) -> timedelta:
        """How long to wait before looking again at work that has been going on for `elapsed`."""
        passed = elapsed.total_seconds()
        with self._lock:
            estimate = self._estimates.get(work, _FIRST_GUESS)
        seconds = estimate - passed if passed < estimate else passed / 2
        return timedelta(seconds=min(max(seconds, _SHORTEST), _LONGEST))

    def learn(self, work: object, took: timedelta, *, looks: int) -> None:
        """Work was seen done at look number `looks`. Seen at the first, it may well have been done sooner."""
        with self._lock:
            estimate = self._estimates.get(work, _FIRST_GUESS)
            if looks > 1:
                estimate += _LEARNING * (took.total_seconds() - estimate)
            else:
                estimate *= _FORGETTING
            self._estimates[work] = min(max(estimate, _SHORTEST), _LONGEST)
