"""The function that looks for certificates that are close to their end, twice a day, and reports how many there are.

Who is not told of a certificate's end finds out by an outage: CAs send no mails about it any more.
"""

import logging
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from certwright.aws.app import App, Function, Handler
from certwright.aws.observability import put_metrics
from certwright.model import Certificate, CertificateStatus
from certwright.renewal import Span
from certwright.store import Store

logger = logging.getLogger(__name__)

_PAGE = 100
_MOST_NAMED = 100


def closing(certificates: Iterable[Certificate], now: datetime) -> Iterator[Certificate]:
    """Those that are in use and past the first moment of which `CertificateExpiring` tells: they should have been
    renewed long ago. What has ended already is past watching."""
    for certificate in certificates:
        first_warning = Span.of(certificate).warnings()[0]
        if certificate.status(now) is CertificateStatus.VALID and first_warning < now:
            yield certificate


def every_certificate(store: Store, tenant: str) -> Iterator[Certificate]:
    after: str | None = None
    while True:
        page = store.certificates(tenant, first=_PAGE, after=after)
        yield from page.nodes
        if not page.has_next:
            return
        after = page.cursors[-1]


def serve(app: App) -> Handler:
    def handle(_: dict[str, Any], __: Any) -> Any:
        found = 0
        for tenant in app.store.tenants():
            for certificate in closing(every_certificate(app.store, tenant), app.clock()):
                found += 1
                if found <= _MOST_NAMED:
                    names = ", ".join(certificate.names)
                    logger.warning(
                        "%s: certificate %s (%s) ends at %s", tenant, certificate.id, names, certificate.not_after
                    )
        put_metrics("watch", {"CertificatesCloseToExpiry": found})
        return {"found": found}

    return handle


handler = Function("watch", serve)
