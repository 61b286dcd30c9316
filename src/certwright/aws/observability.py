"""What the functions tell of themselves: log lines as JSON, and metrics among them (the embedded metric format)."""

import functools
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from certwright.config import TALKATIVE
from certwright.events import Outcome, Record

NAMESPACE = "Certwright"

_ANSWERS = frozenset({"AccountRegistered", "OrderPlaced", "OrderFinalized", "OrderFulfilled"})
_ERRORS = frozenset({"AccountDelayed", "AccountRefused", "OrderDelayed"})


class Log:
    """The root logger of a function's process, each line one JSON object with the id of the request that it is about.

    Whatever handler Lambda has put there is taken away: a line is written once.
    """

    def __init__(self, service: str, level: str) -> None:
        self._lines = _Lines(service)
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(self._lines)
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(level.upper())
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)

    def begin(self, request_id: str) -> None:
        self._lines.request_id = request_id


class _Lines(logging.Formatter):
    """Powertools are imported for the first line: when all goes well, most functions write none."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self.request_id = ""

    @functools.cached_property
    def _json(self) -> logging.Formatter:
        from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

        return LambdaPowertoolsFormatter(service=self._service, use_rfc3339=True, utc=True)

    def format(self, record: logging.LogRecord) -> str:
        if self.request_id:
            record.function_request_id = self.request_id
        return self._json.format(record)


def put_metrics(service: str, counts: Mapping[str, float]) -> None:
    """Write metrics of NAMESPACE, by the dimension `service`, to standard output."""
    from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

    if counts:
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=service)
        for name, value in counts.items():
            metrics.add_metric(name, MetricUnit.Count, value)
        metrics.flush_metrics()


def put_measures(records: Sequence[Record]) -> None:
    """Write the metrics that events make."""
    put_metrics("stream", measure(records))


def measure(records: Sequence[Record]) -> Counter[str]:
    """What events say of the service's health: certificates, failed orders, refusals, and a CA's answers and errors."""
    counts: Counter[str] = Counter()
    for record in records:
        if record.type in _ANSWERS:
            counts["CaAnswers"] += 1
        elif record.type in _ERRORS:
            counts["CaErrors"] += 1
        if record.type == "OrderFulfilled":
            counts["CertificatesIssued"] += 1
        elif record.type == "OrderFailed":
            counts["OrdersFailed"] += 1
        if record.outcome is Outcome.DENIED:
            counts["Denials"] += 1
    return counts
