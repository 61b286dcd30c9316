"""What the use cases share: their dependencies, idempotency, and the account that must be valid."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from certwright.audit import Audit
from certwright.authorities import Authorities
from certwright.errors import Conflict, InvalidInput, NotFound
from certwright.items import Idempotency
from certwright.model import Account, AccountStatus, Actor, Order
from certwright.store import Repeated, Store

if TYPE_CHECKING:
    from certwright.sealer import Sealer
    from certwright.solvers import Dns, Solvers
    from certwright.steps import Job, Steps

T = TypeVar("T", Account, Order)


@dataclass(frozen=True)
class Desk:
    """`wake` is told of every job that was committed and can go on at once; the job is leased for `handoff` to whoever
    is told. `steps` is called when the first of them is to be taken: it may cost the import of the ACME library.
    """

    store: Store
    authorities: Authorities
    sealer: "Sealer"
    steps: "Callable[[], Steps]"
    audit: Audit
    solvers: "Solvers"
    dns: "Dns"
    clock: Callable[[], datetime]
    wake: "Callable[[Job], None]"
    handoff: timedelta

    def once(
        self,
        actor: Actor,
        idempotency: Idempotency | None,
        find: Callable[[str, str], T],
        make: Callable[[], T],
    ) -> tuple[T, bool]:
        """What `make` commits, and True; or what an earlier call with the same idempotency key made, and False."""
        try:
            self.store.repeated(actor.tenant, idempotency)
            return make(), True
        except Repeated as repeated:
            try:
                return find(actor.tenant, repeated.id), False
            except NotFound:
                raise Conflict(
                    "the first call with this idempotencyKey was refused by the CA; take a new key to try again",
                    field="idempotencyKey",
                ) from repeated

    def valid_account(self, actor: Actor, id: str, field: str | None = None) -> Account:
        """Raises NotFound, and Conflict for one that is pending or deactivated."""
        account = self.store.account(actor.tenant, id)
        if account.status is not AccountStatus.VALID:
            raise Conflict(f"account {id!r} is {account.status}; it must be valid", field=field)
        return account


def idempotency_of(operation: str, key: str | None, given: object) -> Idempotency | None:
    """What a caller's key stands for: this operation with this input. Raises InvalidInput."""
    if key is None:
        return None
    if not 1 <= len(key) <= 200:
        raise InvalidInput("idempotencyKey must have 1 to 200 characters", field="idempotencyKey")
    return Idempotency(operation, key, hashlib.sha256(json.dumps(given).encode()).hexdigest())
