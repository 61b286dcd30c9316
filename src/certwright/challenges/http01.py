"""The kind of provider that needs nobody else: http-01 requests for its zones arrive at this service.

What they ask for is stored together with the order, and served at the well-known path (RFC 8555 §8.3): so there is
nothing to put in place, and nothing to take away.
"""

from collections.abc import Mapping

from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.solver import Kind, Solver


class WellKnownPath:
    """Its answers come and go with the order's item in the store."""

    def present(self, prepared: DnsRecord | HttpFile) -> None:
        """Nothing: the answer was stored when the challenge was first seen."""

    def clean_up(self, prepared: DnsRecord | HttpFile) -> None:
        """Nothing: the answer expires with the order."""


def _make(_: Mapping[str, str]) -> Solver:
    return WellKnownPath()


HTTP01 = Kind(
    name="http-01",
    title="Certwright itself: requests to the well-known path of these zones arrive here",
    challenge_type="http-01",
    settings=(),
    make=_make,
)
