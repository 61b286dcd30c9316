"""What may keep a CA from issuing, found out while it is asked: advice, which an order shows and never waits for long.

CAA records are read while an order is placed, and files for http-01 are looked for while the CA is told to do so.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Protocol

from certwright.authorities import Authorities
from certwright.ca.problems import CaError
from certwright.challenges.preparation import HttpFile, prepare
from certwright.model import Account, Advice, Authorization, Challenge, Order, OrderStatus
from certwright.outcome import Step

_MOST_FILES = 10
_THREADS = 32
_SECONDS = 3.0


class Adviser(Protocol):
    """Neither raises, and both are over within seconds: `challenges.advice.Adviser` is one."""

    def caa(
        self, domains: Sequence[str], identities: Sequence[str], *, account_url: str | None = None
    ) -> tuple[Advice, ...]: ...

    def http01(self, identifier: str, file: HttpFile) -> tuple[Advice, ...]: ...


class Advising:
    """`adviser` gives the one for a CA's directory URL; it is called where there is something to find out, and may cost
    the import of a DNS library. `seconds` is the most that a step takes longer for it. Safe from any thread.
    """

    def __init__(
        self, adviser: Callable[[str], Adviser], authorities: Authorities, *, seconds: float = _SECONDS
    ) -> None:
        self._adviser = adviser
        self._authorities = authorities
        self._seconds = seconds
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="advice")

    def during(self, order: Order, account: Account, act: Callable[[], Step]) -> Step:
        """The step that `act` takes, with what was found out meanwhile. Raises what it raises."""
        futures = [self._pool.submit(question) for question in self._questions(order, account)]
        step = act()
        done, _ = wait(futures, self._seconds)
        told = [advice for future in futures if future in done for advice in future.result()]
        return replace(step, order=replace(step.order, advice=_added(step.order.advice, told))) if told else step

    def _questions(self, order: Order, account: Account) -> list[Callable[[], Sequence[Advice]]]:
        if order.status is OrderStatus.NEW:
            return [lambda: self._caa(order, account)]
        if order.status is not OrderStatus.PENDING:
            return []
        return [self._file_question(order, account, *found) for found in _unsent_files(order)[:_MOST_FILES]]

    def _caa(self, order: Order, account: Account) -> Sequence[Advice]:
        """Nothing for a CA that does not say what it is called in CAA records."""
        try:
            identities = self._authorities.ca(order.acme_server).directory().caa_identities
        except CaError:
            return ()
        if not identities:
            return ()
        return self._adviser(order.acme_server).caa(order.domains, identities, account_url=account.url)

    def _file_question(
        self, order: Order, account: Account, authorization: Authorization, challenge: Challenge
    ) -> Callable[[], Sequence[Advice]]:
        def ask() -> Sequence[Advice]:
            file = prepare(authorization, challenge, account.key_thumbprint, account.url)
            if not isinstance(file, HttpFile):
                return ()
            return self._adviser(order.acme_server).http01(authorization.identifier, file)

        return ask


def _unsent_files(order: Order) -> list[tuple[Authorization, Challenge]]:
    return [(a, c) for a, c in order.challenges if c.type == "http-01" and c.responded and not c.sent]


def _added(advice: tuple[Advice, ...], told: Iterable[Advice]) -> tuple[Advice, ...]:
    """Of each code and identifier, what was found out last."""
    by_subject = {(one.code, one.identifier): one for one in (*advice, *told)}
    return tuple(by_subject.values())
