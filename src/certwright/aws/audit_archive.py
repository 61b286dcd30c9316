"""Audit records outside of the table: as lines in CloudWatch Logs, to be searched, and in S3, to be kept.

A line is one record as a JSON object with all that its hash covers, so that chains can be proved from the bucket alone.
Both get every record at least once; some come twice, when a batch of the stream was tried again.
"""

import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from certwright.codec import microseconds
from certwright.errors import InvalidInput, NotFound, Unavailable
from certwright.events import Outcome, Record

LOG_STREAM = "events"
PREFIX = "audit/"
"""Where infra/audit.yml has Firehose put them."""

_MOST_OCTETS = 900_000
_MOST_EVENTS = 10_000
_EVENT_OVERHEAD = 26
_MOST_MILLISECONDS = 23 * 3_600_000
# PutLogEvents takes 10,000 events of no more than 24 hours, and 1,048,576 octets, each event counted with 26 more; a
# Firehose record may have 1,000 KiB, and is paid for in steps of 5 KiB: many lines in one cost less than a record each.


def line(record: Record) -> str:
    """A record as JSON, without a line end."""
    content = {f.name: getattr(record, f.name) for f in dataclasses.fields(record)}
    content["at"] = record.at.isoformat()
    return json.dumps(content, separators=(",", ":"))


def parse(text: str) -> Record:
    """The record in a line. Raises ValueError for a line that holds none."""
    try:
        content = json.loads(text)
        at, outcome = datetime.fromisoformat(content["at"]), Outcome(content["outcome"])
        return Record(**{**content, "at": at, "outcome": outcome})
    except (TypeError, KeyError) as error:
        raise ValueError(f"this line holds no record: {error}") from None


class Archive:
    """Ships records to the log group `log_group` and the Firehose stream `delivery_stream`, by clients of "logs" and
    "firehose"."""

    def __init__(self, logs: Any, firehose: Any, log_group: str, delivery_stream: str) -> None:
        self._logs = logs
        self._firehose = firehose
        self._log_group = log_group
        self._delivery_stream = delivery_stream

    def ship(self, records: Sequence[Record]) -> None:
        """Returns when both have taken every record. Raises Unavailable; the records are to be shipped again then."""
        try:
            for batch in _batches(records):
                data = "".join(f"{line}\n" for _, line in batch).encode()
                self._firehose.put_record(DeliveryStreamName=self._delivery_stream, Record={"Data": data})
                self._log([{"timestamp": at, "message": line} for at, line in batch])
        except (BotoCoreError, ClientError) as error:
            raise Unavailable(f"the audit archive did not take {len(records)} records: {error}") from error

    def _log(self, events: list[dict[str, Any]]) -> None:
        where = {"logGroupName": self._log_group, "logStreamName": LOG_STREAM}
        try:
            self._logs.put_log_events(**where, logEvents=events)
        except self._logs.exceptions.ResourceNotFoundException:
            self._make_log_stream(where)
            self._logs.put_log_events(**where, logEvents=events)

    def _make_log_stream(self, where: dict[str, str]) -> None:
        try:
            self._logs.create_log_stream(**where)
        except self._logs.exceptions.ResourceAlreadyExistsException:
            return  # Another process was first.


def _batches(records: Iterable[Record]) -> Iterator[list[tuple[int, str]]]:
    """Lines with their times (ms since the epoch), as many at once as both take; oldest first."""
    batch: list[tuple[int, str]] = []
    octets = 0
    for at, text in sorted((microseconds(record.at) // 1000, line(record)) for record in records):
        size = len(text) + _EVENT_OVERHEAD  # json.dumps writes ASCII.
        full = octets + size > _MOST_OCTETS or len(batch) == _MOST_EVENTS
        if batch and (full or at - batch[0][0] > _MOST_MILLISECONDS):
            yield batch
            batch, octets = [], 0
        batch.append((at, text))
        octets += size
    if batch:
        yield batch


def read_bucket(connect: Callable[[str], Any], url: str) -> Iterator[Record]:
    """The records in every object below `s3://bucket/prefix` (by itself PREFIX), in no order; `connect("s3")` is a
    boto3 client.

    Raises InvalidInput for another url, for an object that is no archive, and for a line that holds no record;
    NotFound where there is no such bucket or nothing in it; Unavailable where S3 does not answer.
    """
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise InvalidInput(f"{url!r} is no place of an archive; give s3://BUCKET or s3://BUCKET/PREFIX")
    client, found = connect("s3"), False
    try:
        for key in _keys(client, bucket, prefix or PREFIX):
            found = True
            body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            yield from _records(body, f"s3://{bucket}/{key}")
    except ClientError as error:
        raise NotFound(f"{url} cannot be read: {error.response['Error'].get('Message')}") from error
    except BotoCoreError as error:
        raise Unavailable(f"{url} cannot be read: {error}") from error
    if not found:
        raise NotFound(f"{url} holds nothing yet, so there is nothing to verify; is it the right one?")


def _keys(client: Any, bucket: str, prefix: str) -> Iterator[str]:
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (entry["Key"] for entry in page.get("Contents", ()))


def _records(body: bytes, place: str) -> Iterator[Record]:
    try:
        text = (gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise InvalidInput(f"{place} is no part of the archive: {error}") from None
    for number, written in enumerate(text.splitlines(), start=1):
        try:
            yield parse(written)
        except ValueError as error:
            raise InvalidInput(f"{place}, line {number}: {error}") from None
