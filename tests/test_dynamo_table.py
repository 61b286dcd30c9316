"""What only DynamoDB does: partial answers, conflicts, throttling, lagging indexes, and the table's own definition."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from certwright.aws.dynamo_item import SHARDS, decode_item, encode_item, encode_key, shard_of
from certwright.aws.dynamo_table import ATTEMPTS, LONGEST_PAUSE_SECONDS, DynamoTable
from certwright.errors import Unavailable
from certwright.table import Add, Delete, ExpectationFailed, Item, Put, Require
from tests.support.dynamo import create_table, dynamodb_client, moto_client, throttling

NOW = 1_800_000_000
TWO = [Put(Item("p", "a")), Put(Item("p", "b"))]


class Recorded:
    """Equal to anything; remembers what it was compared with (here: what a request held in this place)."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return True

    __hash__ = None  # type: ignore[assignment]  # it equals everything


class Scripted:
    """A DynamoTable whose DynamoDB gives the scripted answers, in order and no others."""

    def __init__(self) -> None:
        client = dynamodb_client("http://127.0.0.1:9")
        self.stub = Stubber(client)
        self.pauses: list[float] = []
        self.tokens = Recorded()
        self.transactions = Recorded()
        self.table = DynamoTable(client, "table", lambda: NOW, sleep=self.pauses.append, jitter=lambda: 1.0)

    def written(self) -> None:
        self.stub.add_response("transact_write_items", {}, self.transaction)

    def cancelled(self, *codes: str) -> None:
        reasons = [{"Code": code} for code in codes]
        self.refused("TransactionCanceledException", modeled_fields={"CancellationReasons": reasons})

    def refused(self, code: str, method: str = "transact_write_items", **options: Any) -> None:
        expected = self.transaction if method == "transact_write_items" else None
        self.stub.add_client_error(method, code, expected_params=expected, **options)

    @property
    def transaction(self) -> dict[str, Any]:
        return {"TransactItems": self.transactions, "ClientRequestToken": self.tokens}


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    script = Scripted()
    with script.stub:
        yield script
        script.stub.assert_no_pending_responses()


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with moto_client() as client:
        create_table(client, "table")
        yield client


@contextmanager
def lost_answer(client: Any) -> Iterator[None]:
    """moto does what the first request asks for, and the client is told of something else."""
    answers = iter([throttling("https://dynamodb.example/")])

    def lose(**_: Any) -> AWSResponse | None:
        return next(answers, None)

    client.meta.events.register_first("before-send.dynamodb", lose)
    try:
        yield
    finally:
        client.meta.events.unregister("before-send.dynamodb", lose)
        assert not list(answers)


class TestWrite:
    @pytest.mark.parametrize("code", ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"])
    def test_transaction_in_the_way_of_another_is_tried_again(self, scripted: Scripted, code: str) -> None:
        scripted.cancelled("None", code)
        scripted.cancelled(code, "None")
        scripted.written()
        scripted.table.write(TWO)
        assert scripted.pauses == [0.025, 0.05]

    def test_what_stays_in_the_way_makes_the_table_unavailable(self, scripted: Scripted) -> None:
        for _ in range(ATTEMPTS):
            scripted.cancelled("None", "TransactionConflict")
        with pytest.raises(Unavailable, match="too busy"):
            scripted.table.write(TWO)
        assert len(scripted.pauses) == ATTEMPTS - 1
        assert scripted.pauses == sorted(scripted.pauses)
        assert scripted.pauses[-1] == LONGEST_PAUSE_SECONDS

    def test_token_is_kept_while_the_outcome_is_unknown(self, scripted: Scripted) -> None:
        for code in ("TransactionInProgressException", "InternalServerError", "ThrottlingException"):
            scripted.refused(code)
        scripted.written()
        scripted.table.write(TWO)
        first, *others = scripted.tokens.seen
        assert others == [first] * 3

    def test_cancelled_transaction_is_sent_anew_with_another_token(self, scripted: Scripted) -> None:
        scripted.cancelled("None", "TransactionConflict")
        scripted.written()
        scripted.table.write(TWO)
        first, second = scripted.tokens.seen
        assert first != second

    def test_failed_expectation_beats_a_conflict(self, scripted: Scripted) -> None:
        scripted.cancelled("TransactionConflict", "ConditionalCheckFailed")
        with pytest.raises(ExpectationFailed) as refusal:
            scripted.table.write(TWO)
        assert refusal.value.key == ("p", "b")
        assert scripted.pauses == []

    def test_mistake_is_not_tried_again(self, scripted: Scripted) -> None:
        scripted.cancelled("ValidationError", "TransactionConflict")
        with pytest.raises(ClientError, match="TransactionCanceledException"):
            scripted.table.write(TWO)

    def test_denied_request_is_not_tried_again(self, scripted: Scripted) -> None:
        scripted.refused("AccessDeniedException")
        with pytest.raises(ClientError, match="AccessDeniedException"):
            scripted.table.write(TWO)

    def test_counter_that_expires_and_comes_back_is_added_to(self, scripted: Scripted) -> None:
        scripted.cancelled("ConditionalCheckFailed", "None")  # there is one, and it has expired
        scripted.cancelled("ConditionalCheckFailed", "None")  # there is one again, put by someone else
        scripted.written()
        scripted.table.write([Add("p", "n", {"n": 1}), Put(Item("p", "s"))])
        first_operations = [next(iter(transaction[0])) for transaction in scripted.transactions.seen]
        assert first_operations == ["Update", "Put", "Update"]

    def test_lone_operation_that_expects_nothing_needs_no_transaction(self, scripted: Scripted) -> None:
        scripted.stub.add_response("put_item", {})
        scripted.stub.add_response("delete_item", {})
        scripted.table.write([Put(Item("p", "s"), unconditional=True)])
        scripted.table.write([Delete("p", "s")])

    def test_lone_put_in_the_way_of_a_transaction_is_tried_again(self, scripted: Scripted) -> None:
        scripted.refused("TransactionConflictException", "put_item")
        scripted.stub.add_response("put_item", {})
        scripted.table.write([Put(Item("p", "s"), unconditional=True)])
        assert scripted.pauses == [0.025]

    @pytest.mark.parametrize("operation", [Delete("p", "s", 1), Require("p", "s", 1), Add("p", "s", {"n": 1})])
    def test_lone_operation_that_must_not_be_repeated_has_a_token(
        self, scripted: Scripted, operation: Delete | Require | Add
    ) -> None:
        scripted.written()
        scripted.table.write([operation])
        assert uuid.UUID(scripted.tokens.seen[0]).version == 4

    def test_refused_lone_put_that_was_sent_once_needs_no_second_look(self, scripted: Scripted) -> None:
        scripted.refused("ConditionalCheckFailedException", "put_item")
        with pytest.raises(ExpectationFailed) as refusal:
            scripted.table.write([Put(Item("p", "s"))])
        assert refusal.value.key == ("p", "s")

    @pytest.mark.parametrize("version", [0, 1])
    def test_lone_put_whose_answer_was_lost_is_known_by_its_mark(self, client: Any, version: int) -> None:
        table = DynamoTable(client, "table", lambda: NOW)
        with lost_answer(client):
            table.write([Put(Item("lost", "s", {"n": version}, version))])
        assert table.get([("lost", "s")]) == [Item("lost", "s", {"n": version}, version + 1)]

    @pytest.mark.parametrize("there", [{}, {"Item": encode_item(Item("p", "s", version=2))}])
    def test_repeated_lone_put_that_another_was_quicker_than_is_refused(
        self, scripted: Scripted, there: dict[str, Any]
    ) -> None:
        scripted.refused("InternalServerError", "put_item")
        scripted.refused("ConditionalCheckFailedException", "put_item")
        scripted.stub.add_response("get_item", there)
        with pytest.raises(ExpectationFailed):
            scripted.table.write([Put(Item("p", "s", version=1))])

    def test_what_is_left_unprocessed_of_a_batch_is_sent_again(self, scripted: Scripted) -> None:
        requests = Recorded()
        left = {"UnprocessedItems": {"table": [{"DeleteRequest": {"Key": encode_key(("p", "b"))}}]}}
        scripted.stub.add_response("batch_write_item", left, {"RequestItems": requests})
        scripted.refused("ThrottlingException", "batch_write_item")
        scripted.stub.add_response("batch_write_item", {}, {"RequestItems": requests})
        scripted.table.write([Delete("p", "a", apart=True), Delete("p", "b", apart=True)])
        assert [len(request["table"]) for request in requests.seen] == [2, 1]
        assert scripted.pauses == [0.025, 0.05]


class TestRead:
    def batch(self, script: Scripted, asked: str, answered: str, left: str) -> None:
        def request(sks: str) -> dict[str, Any]:
            return {"table": {"Keys": [encode_key(("p", sk)) for sk in sks], "ConsistentRead": True}}

        images = [encode_item(Item("p", sk, version=1)) for sk in answered]
        answer = {"Responses": {"table": images}, "UnprocessedKeys": request(left) if left else {}}
        script.stub.add_response("batch_get_item", answer, {"RequestItems": request(asked)})

    def test_keys_left_unprocessed_are_asked_for_again(self, scripted: Scripted) -> None:
        self.batch(scripted, "abcd", answered="c", left="abd")
        self.batch(scripted, "abd", answered="", left="abd")
        self.batch(scripted, "abd", answered="ba", left="")
        items = scripted.table.get([("p", sk) for sk in "abcd"])
        assert [item and item.sk for item in items] == ["a", "b", "c", None]
        assert scripted.pauses == [0.025, 0.05]

    def test_keys_left_unprocessed_for_ever_make_the_table_unavailable(self, scripted: Scripted) -> None:
        for _ in range(ATTEMPTS):
            self.batch(scripted, "ab", answered="", left="ab")
        with pytest.raises(Unavailable, match="too busy"):
            scripted.table.get([("p", "a"), ("p", "b")])

    def test_throttled_read_is_unavailable(self, scripted: Scripted) -> None:
        scripted.refused("ThrottlingException", "get_item")
        with pytest.raises(Unavailable, match="too busy"):
            scripted.table.get([("p", "s")])

    def test_missing_table_is_no_outage(self, scripted: Scripted) -> None:
        scripted.refused("ResourceNotFoundException", "query")
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            scripted.table.query("p", limit=1)

    def test_index_entry_that_its_item_has_left_is_passed_over(self, scripted: Scripted) -> None:
        moved, there = Item("p", "moved", {}, 2, ("i", "9")), Item("p", "there", {}, 1, ("i", "1"))
        stale = encode_key(moved.key) | {"ipk": {"S": "i"}, "isk": {"S": "2"}}
        entry = encode_key(there.key) | {"ipk": {"S": "i"}, "isk": {"S": "1"}}
        scripted.stub.add_response("query", {"Items": [stale], "LastEvaluatedKey": stale})
        scripted.stub.add_response("get_item", {"Item": encode_item(moved)})
        scripted.stub.add_response("query", {"Items": [entry]})
        scripted.stub.add_response("get_item", {"Item": encode_item(there)})
        assert scripted.table.query("i", limit=1, by_index=True) == [there]

    @pytest.mark.parametrize("verb", ["get", "write"])
    def test_no_answer_is_unavailable(self, verb: str) -> None:
        table = DynamoTable(dynamodb_client("http://127.0.0.1:9"), "table", lambda: NOW)
        with pytest.raises(Unavailable, match="does not answer"):
            table.get([("p", "s")]) if verb == "get" else table.write(TWO)


class TestLayout:
    def test_item_comes_back_from_its_image(self) -> None:
        item = Item("p", "s", {"n": 1, "pk": ["x"]}, 3, ("i", "1"), due=5, expires_at=NOW)
        assert decode_item(encode_item(item)) == item

    def test_due_entries_spread_over_all_shards(self) -> None:
        shards = [shard_of(("tenant", f"{n}")) for n in range(800)]
        assert all(50 < shards.count(shard) < 150 for shard in SHARDS)

    def test_shard_of_a_key_never_changes(self) -> None:
        assert [shard_of(key) for key in (("p", "s"), ("ps", ""), ("tenant", "order"))] == ["4", "7", "6"]


class TestDefinition:
    def test_table_outlives_mistakes(self, client: Any) -> None:
        backups = client.describe_continuous_backups(TableName="table")["ContinuousBackupsDescription"]
        assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
        assert client.describe_table(TableName="table")["Table"]["DeletionProtectionEnabled"] is True

    def test_table_is_encrypted_billed_on_demand_and_streamed(self, client: Any) -> None:
        table = client.describe_table(TableName="table")["Table"]
        assert table["SSEDescription"]["Status"] == "ENABLED"
        assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
        assert table["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}

    def test_expired_items_are_removed(self, client: Any) -> None:
        ttl = client.describe_time_to_live(TableName="table")["TimeToLiveDescription"]
        assert ttl == {"AttributeName": "ttl", "TimeToLiveStatus": "ENABLED"}

    def test_entries_of_a_shard_come_by_time(self, client: Any) -> None:
        table = DynamoTable(client, "table", lambda: NOW)
        table.write([Put(Item("p", f"{n}", due=100 - n)) for n in range(50)])
        entries = table.due(100, limit=100)
        assert entries == sorted(entries, key=lambda e: (shard_of((e.pk, e.sk)), e.due))
        assert len(entries) == 50
