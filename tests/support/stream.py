"""A table's stream, read as Lambda's event source mapping reads it."""

import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import boto3

Handler = Callable[[dict[str, Any], Any], Mapping[str, list[dict[str, str]]]]


class Stream:
    """The stream of `table_name` in the DynamoDB that the boto3 client `client` talks to, from its beginning."""

    def __init__(self, client: Any, table_name: str) -> None:
        self._client = boto3.client(
            "dynamodbstreams",
            region_name=client.meta.region_name,
            endpoint_url=client.meta.endpoint_url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self._arn = client.describe_table(TableName=table_name)["Table"]["LatestStreamArn"]
        self._iterators: dict[str, str | None] = {}

    def read(self) -> list[dict[str, Any]]:
        """The records since the last call, as a Lambda event holds them."""
        shards = self._client.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        found: list[dict[str, Any]] = []
        for shard in shards:
            id = shard["ShardId"]
            if id not in self._iterators:
                request = {"StreamArn": self._arn, "ShardId": id, "ShardIteratorType": "TRIM_HORIZON"}
                self._iterators[id] = self._client.get_shard_iterator(**request)["ShardIterator"]
            while iterator := self._iterators[id]:
                answer = self._client.get_records(ShardIterator=iterator)
                self._iterators[id] = answer.get("NextShardIterator")
                found += answer["Records"]
                if not answer["Records"]:
                    break
        return found

    def close(self) -> None:
        self._client.close()


class EventSourceMapping:
    """Gives a stream's batches to a function while it is entered, with retries from the first record that failed.

    A record that failed `attempts` times alone goes to `failed`, the failure destination.
    """

    def __init__(self, stream: Stream, handler: Handler, *, most: int = 100, attempts: int = 3) -> None:
        self._stream = stream
        self._handler = handler
        self._most = most
        self._attempts = attempts
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.failed: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stopped.set()
        self._thread.join(30)
        self._stream.close()
        assert not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped.is_set():
            records = self._stream.read()
            for start in range(0, len(records), self._most):
                self.take(records[start : start + self._most])
            if not records:
                time.sleep(0.02)

    def take(self, records: list[dict[str, Any]]) -> None:
        """Until each is dealt with: bisected where it fails, as BisectBatchOnFunctionError does."""
        for _ in range(self._attempts):
            try:
                answer = self._handler({"Records": records}, None)
            except Exception:  # noqa: BLE001  As Lambda does it.
                failures = {record["dynamodb"]["SequenceNumber"] for record in records}
            else:
                failures = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            first = next((n for n, r in enumerate(records) if r["dynamodb"]["SequenceNumber"] in failures), None)
            if first is None:
                return
            records = records[first:]
            if len(records) > 1:
                self.take(records[: len(records) // 2])
                records = records[len(records) // 2 :]
        self.failed += records[:1]
        if records[1:]:
            self.take(records[1:])
