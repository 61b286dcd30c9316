"""What was used of CAs' rate limits, and when there is more: pure arithmetic over token buckets.

A bucket is one integer, its theoretical arrival time (TAT; the generic cell rate algorithm, ITU-T I.371): when it is
full again, in whole microseconds since the epoch, as all times here. It holds up to `most` tokens and gets one each
`interval`. A bucket that was never used, or is full again, need not be kept.

An order that must wait takes the token that it waits for at once, for the moment at which there is one: those who wait
stand in a queue, each with a time of its own, and none wakes up in vain.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from certwright import identifiers
from certwright.ca.limits import RETRY_AFTER, Counted, Limit

_MICROSECOND = timedelta(microseconds=1)
_MAX_SUBJECT = 80


@dataclass(frozen=True)
class Bucket:
    """A limit as it holds for one subject. `key` is the bucket's name in the ledger of its CA."""

    limit: Limit
    subject: str
    key: str

    @property
    def interval(self) -> int:
        """How long a token takes to come, rounded up: never shorter than the CA's."""
        return -(-(self.limit.window // _MICROSECOND) // self.limit.most)


@dataclass(frozen=True)
class Use:
    """What an order draws on: it takes a token from each of `spends`; each of `needs` must have one."""

    spends: tuple[Bucket, ...] = ()
    needs: tuple[Bucket, ...] = ()

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        return self.spends + self.needs


@dataclass(frozen=True)
class Verdict:
    """Whether an order may be sent: now where `until` is None, else then, as `by` has nothing left before.

    `changes` are the buckets' new values: of all that it uses, or of the one in which it waits.
    """

    changes: Mapping[str, int]
    until: int | None = None
    by: Bucket | None = None


def earliest(bucket: Bucket, tat: int) -> int:
    """When the bucket has a token. It may be long ago."""
    return tat - (bucket.limit.most - 1) * bucket.interval


def spent(bucket: Bucket, tat: int, at: int) -> int:
    """The bucket after a token was taken at `at`."""
    return max(tat, at) + bucket.interval


def given_back(bucket: Bucket, tat: int, spent_at: int, now: int) -> int:
    """The bucket as if a token had not been taken, less what has come back by itself since then."""
    return tat - min(max(spent_at + bucket.interval - now, 0), bucket.interval)


def closed(bucket: Bucket, tat: int, until: int) -> int:
    """The bucket without a token before `until`, as a CA told us."""
    return max(tat, until + (bucket.limit.most - 1) * bucket.interval)


def remaining(bucket: Bucket, tat: int, now: int) -> int:
    """How many tokens it holds."""
    return max(0, bucket.limit.most + -max(0, tat - now) // bucket.interval)


def admit(use: Use, tats: Mapping[str, int], now: int, *, held: tuple[Bucket, int] | None = None) -> Verdict:
    """Whether an order may be sent now, and else when. `held` is the bucket in which it waited, and until when."""
    holds, slot = held or (None, 0)
    if holds is not None and not slot <= now < slot + holds.interval:
        holds = None
    waits = {b: earliest(b, tats.get(b.key, 0)) for b in use.buckets if b != holds}
    slowest = max(waits, key=lambda bucket: waits[bucket], default=None)
    if slowest is None or waits[slowest] <= now:
        return Verdict({b.key: spent(b, tats.get(b.key, 0), now) for b in use.spends if b != holds})
    changes = {}
    if holds is not None:
        changes[holds.key] = given_back(holds, tats.get(holds.key, 0), slot, now)
    if slowest in use.spends:
        changes[slowest.key] = spent(slowest, tats.get(slowest.key, 0), waits[slowest])
    return Verdict(changes, waits[slowest], slowest)


# What orders use


def order_use(
    limits: Iterable[Limit],
    account_id: str,
    names: Sequence[str],
    *,
    renewal: bool = False,
    ari: bool = False,
    registered: Callable[[str], str] = identifiers.registered_domain,
) -> Use:
    """What an order draws on at a CA with `limits`.

    `renewal`: its names are those of an earlier certificate; `ari`: it says which (RFC 9773 §5).
    """
    counting = [limit for limit in limits if not ((ari and limit.spares_ari) or (renewal and limit.spares_renewals))]
    needs = [told(account_id)]
    spends = []
    for limit in counting:
        if limit.counts in (Counted.FAILURES, Counted.STREAK):
            needs += [_of_name(limit, account_id, name) for name in bare(names)]
        elif limit.counts is Counted.NEW_ORDERS:
            spends.append(Bucket(limit, "this account", f"{limit.counts}#{account_id}"))
        elif limit.counts is Counted.REGISTERED_DOMAIN:
            domains = dict.fromkeys(map(registered, bare(names)))
            spends += [Bucket(limit, domain, f"{limit.counts}#{domain}") for domain in domains]
        elif limit.counts is Counted.EXACT_SET:
            spends.append(_exact_set(limit, names))
    return Use(tuple(spends), tuple(needs))


def account_use(limits: Iterable[Limit]) -> Use:
    """What a new account draws on."""
    counting = [limit for limit in limits if limit.counts is Counted.NEW_ACCOUNTS]
    return Use(tuple(Bucket(limit, "this installation", limit.counts) for limit in counting))


def told(account_id: str) -> Bucket:
    """What the CA told an account by Retry-After, of no limit that we know."""
    return Bucket(RETRY_AFTER, "this account", f"{Counted.RETRY_AFTER}#{account_id}")


def failures(limits: Iterable[Limit], account_id: str, name: str) -> list[Bucket]:
    """What an authorization of `name` (without `*.`) draws on when it fails."""
    counting = [limit for limit in limits if limit.counts in (Counted.FAILURES, Counted.STREAK)]
    return [_of_name(limit, account_id, name) for limit in counting]


def failed(limits: Iterable[Limit], account_id: str, name: str, tats: Mapping[str, int], now: int) -> dict[str, int]:
    """The changes that a failed authorization makes. The CA counts it whatever there is left."""
    return {b.key: spent(b, tats.get(b.key, 0), now) for b in failures(limits, account_id, name)}


def streaks(limits: Iterable[Limit], account_id: str, name: str) -> list[Bucket]:
    """The buckets that are full again once an authorization of `name` succeeded."""
    return [b for b in failures(limits, account_id, name) if b.limit.counts is Counted.STREAK]


def bare(names: Iterable[str]) -> list[str]:
    """The identifiers of a set of names: a wildcard's has no `*.` (RFC 8555 §7.1.3)."""
    return list(dict.fromkeys(name.removeprefix("*.") for name in names))


def _of_name(limit: Limit, account_id: str, name: str) -> Bucket:
    return Bucket(limit, name, f"{limit.counts}#{account_id}#{name}")


def _exact_set(limit: Limit, names: Sequence[str]) -> Bucket:
    joined = ",".join(sorted(set(names)))
    shown = ", ".join(names)
    subject = shown if len(shown) <= _MAX_SUBJECT else f"{len(names)} names from {names[0]} on"
    return Bucket(limit, subject, f"{limit.counts}#{hashlib.sha256(joined.encode()).hexdigest()[:32]}")
