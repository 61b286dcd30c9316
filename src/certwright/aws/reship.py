"""Ships audit records once more from the table, where the archive lacks them: what the stream gave up is there."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from certwright.events import Record
from certwright.store import Store

_PAGE = 500


def reship(
    store: Store,
    ship: Callable[[Sequence[Record]], object],
    *,
    tenant: str,
    since: datetime,
    until: datetime,
    subject_id: str | None = None,
) -> int:
    """Ship a tenant's records of `since` ≤ time < `until`, or those of them about one subject; returns how many.

    Whoever reads the archive takes each record once, however often it is there. Raises what `ship` raises; all that
    was shipped by then may be shipped again.
    """
    shipped = 0
    for page in _pages(store, tenant, since, subject_id):
        records = [record for record in page if since <= record.at < until]
        ship(records)
        shipped += len(records)
    return shipped


def _pages(store: Store, tenant: str, since: datetime, subject_id: str | None) -> Iterator[list[Record]]:
    """Newest first, up to the first page that ends before `since`."""
    after: str | None = None
    while True:
        page = store.records(tenant, first=_PAGE, after=after, subject_id=subject_id)
        yield page.nodes
        if not page.has_next or page.nodes[-1].at < since:
            return
        after = page.cursors[-1]
