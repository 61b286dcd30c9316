"""The audit trail outside of the table: what is shipped, in what portions, and what a bucket by itself proves."""

import gzip
import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from certwright.audit import verify_archive
from certwright.auth import Tokens
from certwright.aws.audit_archive import Archive, line, parse, read_bucket
from certwright.aws.reship import reship
from certwright.config import Settings
from certwright.errors import InvalidInput, NotFound, Unavailable
from certwright.events import ChallengeFailed, OrderCreated, Record, SignInRefused, record
from certwright.local.app import open_store, open_table, utc_now
from certwright.model import Role, system
from tests.support.cloud import client

NOW = datetime(2026, 11, 23, 18, 0, 0, 123456, tzinfo=UTC)
BUCKET = "archive"


def chain(length: int, subject: str = "o1", tenant: str = "default") -> list[Record]:
    records: list[Record] = []
    for number in range(length):
        about = {"subject_id": subject, "account_id": "a1"}
        event = OrderCreated(**about, domains=("ü.example", f"n{number}.example"))
        previous = records[-1] if records else None
        at = NOW + timedelta(seconds=number)
        records.append(record(event, system(tenant), id=f"{subject}-{number}", at=at, previous=previous))
    return records


def test_line_holds_all_that_the_hash_covers() -> None:
    about: dict[str, Any] = {"subject_id": "o", "account_id": "a", "challenge_id": "o-0", "identifier": "é.example"}
    event = ChallengeFailed(**about, challenge_type="dns-01", problem="line\nbreak")
    written = record(event, system("default"), id="r", at=NOW, previous=None)
    assert "\n" not in line(written)
    assert parse(line(written)) == written
    assert json.loads(line(written))["at"] == "2026-11-23T18:00:00.123456+00:00"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"at": 1}', '{"at": "2026-11-23T18:00:00"}'])
def test_line_that_holds_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  Any of its kinds.
        parse(text)


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        bucket = {"LocationConstraint": "eu-central-1"}
        client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=bucket)
        client("logs").create_log_group(logGroupName="audit")
        delivery = {"BucketARN": f"arn:aws:s3:::{BUCKET}", "RoleARN": "arn:aws:iam::123456789012:role/r"}
        delivery["Prefix"] = "audit/"
        client("firehose").create_delivery_stream(
            DeliveryStreamName="audit", ExtendedS3DestinationConfiguration=delivery
        )
        yield


def archive(log_group: str = "audit", delivery_stream: str = "audit") -> Archive:
    return Archive(client("logs"), client("firehose"), log_group, delivery_stream)


@pytest.mark.usefixtures("aws")
def test_shipped_records_are_in_the_log_group_and_prove_the_trail_in_s3() -> None:
    records = [*chain(3), *chain(2, "o2", "other")]
    archive().ship(records[:4])
    archive().ship(records[3:])  # The fourth comes twice.
    verdict = verify_archive(read_bucket(client, f"s3://{BUCKET}"))
    assert (verdict.records, verdict.chains, verdict.faults) == (5, 2, [])
    found = client("logs").filter_log_events(logGroupName="audit")["events"]
    assert {event["message"] for event in found} == {line(record) for record in records}
    assert {event["timestamp"] for event in found} >= {int(NOW.timestamp() * 1000)}


class Noted:
    """Clients of "logs" and "firehose" that note the size of what they are given."""

    def __init__(self) -> None:
        self.octets: list[int] = []
        self.events: list[int] = []
        self.exceptions = client("logs").exceptions

    def put_record(self, DeliveryStreamName: str, Record: dict[str, bytes]) -> None:  # noqa: ARG002, N803
        self.octets.append(len(Record["Data"]))

    def put_log_events(self, logEvents: list[dict[str, Any]], **_: str) -> None:  # noqa: N803
        times = [event["timestamp"] for event in logEvents]
        assert times == sorted(times)
        self.events.append(len(logEvents))


def test_no_portion_is_larger_than_what_logs_and_firehose_take() -> None:
    noted = Noted()
    huge = [replace(written, detail="x" * 200_000) for written in reversed(chain(9))]
    Archive(noted, noted, "audit", "audit").ship(huge)
    assert (noted.events, max(noted.octets) < 1_000_000) == ([4, 4, 1], True)
    noted = Noted()
    Archive(noted, noted, "audit", "audit").ship(chain(1) * 10_001)
    assert sum(noted.events) == 10_001
    assert max(noted.events) <= 10_000


def test_no_portion_is_of_more_than_a_day() -> None:
    noted = Noted()
    first, *_ = chain(1)
    Archive(noted, noted, "audit", "audit").ship([replace(first, at=NOW + timedelta(hours=12 * n)) for n in range(5)])
    assert noted.events == [2, 2, 1]


@pytest.mark.usefixtures("aws")
def test_reshipped_events_make_the_archive_whole_and_may_be_there_twice(tmp_path: Path) -> None:
    now = iter(NOW + timedelta(hours=hour) for hour in itertools.count())
    store = open_store(open_table(Settings.read({}, tmp_path), utc_now), lambda: next(now))
    tokens = Tokens(store, lambda: NOW)
    for name in ("one", "two", "three"):
        tokens.create(name, Role.VIEWER, system("default"))
    records = store.records("default", first=9, after=None).nodes
    archive().ship([records[0], records[2]])
    span: dict[str, Any] = {"tenant": "default", "since": records[1].at, "until": records[0].at}
    for _ in range(2):
        assert reship(store, archive().ship, **span) == 1
    assert reship(store, archive().ship, **span, subject_id=records[1].subject_id) == 1
    assert reship(store, archive().ship, **span, subject_id=records[2].subject_id) == 0
    verdict = verify_archive(read_bucket(client, f"s3://{BUCKET}"))
    assert (verdict.records, verdict.faults) == (3, [])


def test_reshipping_reads_every_page_up_to_its_beginning(tmp_path: Path) -> None:
    store = open_store(open_table(Settings.read({}, tmp_path), utc_now), utc_now)
    for _ in range(6):
        refused = [SignInRefused(reason="no", suppressed=0)] * 100
        store.commit(events=refused, actor=system("default"))
    shipped: list[Record] = []
    span: dict[str, Any] = {"tenant": "default", "since": NOW - timedelta(days=9999), "until": utc_now()}
    assert reship(store, shipped.extend, **span) == 600
    assert [record.sequence for record in shipped] == list(range(600, 0, -1))


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("missing", [{"log_group": "gone"}, {"delivery_stream": "gone"}])
def test_archive_that_does_not_take_records_says_so(missing: dict[str, str]) -> None:
    with pytest.raises(Unavailable, match="did not take 1 records"):
        archive(**missing).ship(chain(1))


def stored(*lines: str, key: str = "audit/x.gz", packed: bool = True) -> None:
    body = "".join(f"{text}\n" for text in lines).encode()
    client("s3").put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(body) if packed else body)


def faults() -> list[str]:
    return verify_archive(read_bucket(client, f"s3://{BUCKET}")).faults


@pytest.mark.usefixtures("aws")
def test_order_of_lines_and_objects_does_not_matter() -> None:
    first, second, third = map(line, chain(3))
    stored(third, first)
    stored(second, key="audit/a", packed=False)
    assert faults() == []


@pytest.mark.usefixtures("aws")
def test_record_that_is_missing_changed_or_doubled_is_found() -> None:
    first, second, third = chain(3)
    stored(line(first), line(third))
    assert faults() == ["default: record 3 (OrderCreated) about o1: records 2 to 2 are missing"]
    stored(line(first), line(replace(second, actor="nobody")), line(third))
    assert faults() == ["default: record 2 (OrderCreated) about o1: was changed after it was written"]
    stored(line(first), line(second), line(third), line(replace(second, hash="0")))
    assert faults() == ["default: record 2 (OrderCreated) about o1: is there twice, with different contents"]


@pytest.mark.usefixtures("aws")
def test_chain_that_was_forged_from_some_record_on_does_not_follow() -> None:
    first, *_ = chain(3)
    other = chain(3, "o1", "default")[0]
    forged = record(
        OrderCreated(subject_id="o1", account_id="a2", domains=("x",)),
        system("default"),
        id="f",
        at=NOW,
        previous=replace(other, hash="f" * 64),
    )
    stored(line(first), line(forged))
    assert faults() == ["default: record 2 (OrderCreated) about o1: does not follow from the record before it"]


@pytest.mark.usefixtures("aws")
def test_what_is_beside_the_archive_in_the_bucket_is_not_read() -> None:
    stored(*map(line, chain(1)))
    stored("no record", key="errors/processing-failed/x")
    assert faults() == []


@pytest.mark.usefixtures("aws")
def test_place_that_cannot_be_read_is_named() -> None:
    stored("no record", key="audit/bad")
    client("s3").put_object(Bucket=BUCKET, Key="broken/x", Body=b"\x1f\x8b no gzip")
    for url, error, told in (
        (f"s3://{BUCKET}", InvalidInput, "audit/bad, line 1"),
        (f"s3://{BUCKET}/broken", InvalidInput, "broken/x is no part of the archive"),
        (f"s3://{BUCKET}/empty", NotFound, "holds nothing yet"),
        ("s3://nothere", NotFound, "s3://nothere cannot be read"),
        ("https://example", InvalidInput, "is no place of an archive"),
    ):
        with pytest.raises(error, match=told):
            list(read_bucket(client, url))
