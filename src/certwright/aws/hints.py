"""Wake-ups of the worker: messages in SQS that say what is due, and when.

They are hints. One that is lost, late or doubled costs some time or some work, and never an order: the due index is
what counts, and the sweep reads it each minute.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from certwright.codec import microseconds
from certwright.table import Due, Key

logger = logging.getLogger(__name__)

LONGEST_DELAY = 60
"""Seconds. What is due later (leases are) the sweep finds in time; SQS would hold a message back for 900."""

_BATCH = 10


class Hints:
    """Sends to the queue at `queue_url` through the boto3 client `client` (of service "sqs")."""

    def __init__(self, client: Any, queue_url: str, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._queue_url = queue_url
        self._clock = clock

    def send(self, entries: Iterable[Due]) -> int:
        """Announce what is due within LONGEST_DELAY, each once and not before its time. Returns how many SQS took.

        Never raises for what SQS does: the sweep will find them.
        """
        now = microseconds(self._clock()) // 1000
        delays = {(entry.pk, entry.sk): _delay(entry, now) for entry in entries}
        near = ((key, delay) for key, delay in delays.items() if delay <= LONGEST_DELAY)
        sent = 0
        while batch := list(islice(near, _BATCH)):
            sent += self._send_batch(batch)
        return sent

    def _send_batch(self, batch: Sequence[tuple[Key, int]]) -> int:
        messages = [
            {"Id": str(place), "MessageBody": json.dumps({"pk": pk, "sk": sk}), "DelaySeconds": delay}
            for place, ((pk, sk), delay) in enumerate(batch)
        ]
        try:
            answer = self._client.send_message_batch(QueueUrl=self._queue_url, Entries=messages)
        except (BotoCoreError, ClientError) as error:
            logger.warning("%d wake-ups could not be sent: %s", len(batch), error)
            return 0
        for failed in answer.get("Failed", ()):
            logger.warning("a wake-up was not taken: %s", failed.get("Code"))
        return len(answer.get("Successful", ()))

    def waiting(self) -> int:
        """About how many messages are in the queue, delayed and taken ones included."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
        names.append("ApproximateNumberOfMessagesNotVisible")
        answer = self._client.get_queue_attributes(QueueUrl=self._queue_url, AttributeNames=names)
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)


def _delay(entry: Due, now: int) -> int:
    """Whole seconds until an entry is due: rounded up, so that the hint does not come before its time."""
    return max(0, -(-(entry.due - now) // 1000))


def read(body: str) -> Key:
    """The key in a message. Raises ValueError for a message that is none of ours."""
    message = json.loads(body)
    if not isinstance(message, dict) or not all(isinstance(message.get(part), str) for part in ("pk", "sk")):
        raise ValueError("a wake-up holds pk and sk")
    return message["pk"], message["sk"]
