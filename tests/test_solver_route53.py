"""Route 53, as an emulator has it whose change batches are all or nothing, as those of AWS are."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest

from certwright.aws import route53
from certwright.challenges.preparation import DnsRecord
from certwright.challenges.solver import Solver, SolverFailed
from certwright.errors import InvalidInput
from tests.support.ministack import MiniStack
from tests.support.web_server import Response, WebServer

_numbers = itertools.count()


class Aws:
    """Hosted zones, and solvers for them."""

    def __init__(self, endpoint: str) -> None:
        made_up = {"aws_access_key_id": "123456789012", "aws_secret_access_key": "test"}
        self.clients: list[tuple[str, dict[str, str]]] = []
        self._made_up = made_up
        self._endpoint = endpoint
        self._client = self.client("route53", region_name="us-east-1")

    def client(self, service: str, **options: Any) -> Any:
        self.clients.append((service, options))
        return boto3.client(service, endpoint_url=self._endpoint, **{**self._made_up, **options})

    def solver(self, **settings: str) -> Solver:
        return route53.kind(self.client).make(settings)

    def zone(self, name: str, **options: Any) -> str:
        made = self._client.create_hosted_zone(Name=name, CallerReference=f"{name} {next(_numbers)}", **options)
        return str(made["HostedZone"]["Id"]).removeprefix("/hostedzone/")

    def values(self, zone: str, name: str) -> list[str]:
        sets = self._client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        found = [s["ResourceRecords"] for s in sets if s["Type"] == "TXT" and s["Name"] == name + "."]
        return sorted(record["Value"] for records in found for record in records)

    def put(self, zone: str, **record_set: Any) -> None:
        batch = {"Changes": [{"Action": "UPSERT", "ResourceRecordSet": record_set}]}
        self._client.change_resource_record_sets(HostedZoneId=zone, ChangeBatch=batch)

    def ttl(self, zone: str, name: str) -> int:
        sets = self._client.list_resource_record_sets(HostedZoneId=zone)["ResourceRecordSets"]
        return next(int(s["TTL"]) for s in sets if s["Type"] == "TXT" and s["Name"] == name + ".")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with MiniStack(tmp_path_factory.mktemp("ministack")) as ministack:
        yield ministack.endpoint


@pytest.fixture
def aws(endpoint: str) -> Aws:
    return Aws(endpoint)


def record(value: str, name: str) -> DnsRecord:
    return DnsRecord(name, "TXT", value, 60)


def test_a_value_is_added_beside_others_and_removed_alone(aws: Aws) -> None:
    zone, name = aws.zone("a.example"), "_acme-challenge.www.a.example"
    for _ in range(2):
        aws.solver().present(record("one", name))
        aws.solver().present(record("two", name))
        assert aws.values(zone, name) == ['"one"', '"two"']
    for _ in range(2):
        aws.solver().clean_up(record("one", name))
        assert aws.values(zone, name) == ['"two"']
    aws.solver().clean_up(record("two", name))
    assert aws.values(zone, name) == []


def test_values_of_others_and_their_ttl_stay(aws: Aws) -> None:
    zone, name = aws.zone("t.example"), "_acme-challenge.t.example"
    others = [{"Value": '"by hand"'}]
    aws.put(zone, Name=name, Type="TXT", TTL=3600, ResourceRecords=others)
    aws.solver().present(record("one", name))
    assert aws.values(zone, name) == ['"by hand"', '"one"']
    aws.solver().clean_up(record("one", name))
    assert aws.values(zone, name) == ['"by hand"']
    assert aws.ttl(zone, name) == 3600


def test_nothing_of_changes_at_the_same_time_is_lost(aws: Aws) -> None:
    zone, name = aws.zone("b.example"), "_acme-challenge.b.example"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: aws.solver().present(record(str(number), name)), range(4)))
    assert aws.values(zone, name) == ['"0"', '"1"', '"2"', '"3"']
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: aws.solver().clean_up(record(str(number), name)), range(4)))
    assert aws.values(zone, name) == []


def test_the_longest_public_zone_is_found(aws: Aws) -> None:
    vpc = {"VPCRegion": "us-east-1", "VPCId": "vpc-1"}
    aws.zone("deep.sub.c.example", VPC=vpc, HostedZoneConfig={"PrivateZone": True})
    outer, inner = aws.zone("c.example"), aws.zone("sub.c.example")
    name = "_acme-challenge.deep.sub.c.example"
    aws.solver().present(record("v", name))
    assert (aws.values(inner, name), aws.values(outer, name)) == (['"v"'], [])


def test_a_zone_that_is_set_is_used(aws: Aws) -> None:
    first, second = aws.zone("d.example"), aws.zone("d.example")
    for zone, other in ((first, second), (second, first)):
        name = f"_acme-challenge.{zone.lower()}.d.example"
        aws.solver(hostedZoneId=f"/hostedzone/{zone}").present(record("v", name))
        assert (aws.values(zone, name), aws.values(other, name)) == (['"v"'], [])


def test_a_name_without_a_zone_fails_for_good(aws: Aws) -> None:
    with pytest.raises(SolverFailed, match=r"no public hosted zone in Route 53 that holds x\.nowhere") as failed:
        aws.solver().present(record("v", "x.nowhere"))
    assert failed.value.lasting


def test_a_name_with_a_routing_policy_is_left_alone(aws: Aws) -> None:
    zone, name = aws.zone("e.example"), "_acme-challenge.e.example"
    weighted = {"SetIdentifier": "one", "Weight": 1, "ResourceRecords": [{"Value": '"x"'}]}
    aws.put(zone, Name=name, Type="TXT", TTL=60, **weighted)
    with pytest.raises(SolverFailed, match="has a routing policy"):
        aws.solver().present(record("v", name))


EMPTY = """<ListResourceRecordSetsResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><ResourceRecordSets/>
<IsTruncated>false</IsTruncated><MaxItems>1</MaxItems></ListResourceRecordSetsResponse>"""


def test_a_batch_that_is_never_taken_is_told_with_its_reason() -> None:
    error = "<Code>InvalidChangeBatch</Code><Message>[a conflicting RRSet of type CNAME exists]</Message>"
    refused: Response = (400, f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode(), {})
    with (
        WebServer(lambda request: refused if request.method == "POST" else (200, EMPTY.encode(), {})) as server,
        pytest.raises(SolverFailed, match=r"8 times: .a conflicting RRSet of type CNAME"),
    ):
        Aws(server.url).solver(hostedZoneId="Z1").present(record("v", "_acme-challenge.f.example"))
    assert len(server.requests) == 16


def test_what_aws_could_never_take_fails_for_good(aws: Aws) -> None:
    with pytest.raises(SolverFailed, match="no such hosted zone, role or external id") as failed:
        aws.solver(roleArn="arn:aws:iam::1:role/x", externalId="x").present(record("v", "_acme-challenge.f.example"))
    assert failed.value.lasting


def test_keys_are_used_as_given(aws: Aws) -> None:
    with pytest.raises(SolverFailed, match="these credentials have no public hosted zone"):
        aws.solver(accessKeyId="AKIA1", secretAccessKey="s").present(record("v", "_acme-challenge.h.example"))
    given = {"region_name": "us-east-1", "aws_access_key_id": "AKIA1", "aws_secret_access_key": "s"}
    assert aws.clients[-1] == ("route53", given)


def test_a_role_is_taken_on_for_each_change(aws: Aws) -> None:
    zone, name = aws.zone("g.example"), "_acme-challenge.g.example"
    role = "arn:aws:iam::123456789012:role/dns"
    aws.solver(roleArn=role, externalId="external").present(record("v", name))
    assert aws.values(zone, name) == ['"v"']
    (_, _), (service, options) = aws.clients[-2:]
    assert (service, set(options)) == (
        "route53",
        {"region_name", "aws_access_key_id", "aws_secret_access_key", "aws_session_token"},
    )


@pytest.mark.parametrize(
    ("code", "status", "lasting"), [("AccessDenied", 403, True), ("PriorRequestNotComplete", 400, False)]
)
def test_a_refusal_of_aws_is_told_with_its_code(code: str, status: int, lasting: bool) -> None:
    error = f"<ErrorResponse><Error><Code>{code}</Code><Message>not now</Message></Error></ErrorResponse>"
    refused = pytest.raises(SolverFailed, match=f"AWS refused: {code}: not now")
    with WebServer(lambda _: (status, error.encode(), {})) as server, refused as failed:
        Aws(server.url).solver().present(record("v", "_acme-challenge.a.example"))
    assert failed.value.lasting == lasting


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"accessKeyId": "AKIA1"}, "secretAccessKey"),
        ({"secretAccessKey": "s"}, "accessKeyId"),
        ({"roleArn": "role/dns"}, "roleArn"),
        ({"externalId": "x"}, "roleArn"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        route53.kind().make(settings)
    assert refused.value.field == field


def test_the_list_of_kinds_waits_for_no_library() -> None:
    code = """
import sys
from certwright.aws import route53
from certwright.challenges.kinds import kinds
kinds(clock=lambda: None, watch=lambda: None)
route53.kind()
print(sorted({"botocore", "certifi", "dns", "lexicon"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
