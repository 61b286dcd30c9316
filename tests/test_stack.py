"""What is deployed: the zips of the functions, and the template that osls makes of serverless.yml and infra/."""

import importlib.util
import json
import re
import secrets
import struct
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from certwright import items
from certwright.aws.app import utc_now
from certwright.aws.bridge import entry
from certwright.aws.dynamo_item import encode_item
from certwright.aws.observability import put_measures
from certwright.config import SETTINGS
from certwright.events import (
    Event,
    OperationDenied,
    OrderCreated,
    OrderDelayed,
    OrderFailed,
    OrderFulfilled,
    Record,
    record,
)
from certwright.ids import Ulids
from certwright.model import Account, AccountStatus, system
from certwright.table import Item, Put
from tests.support.browser import require_console
from tests.support.ministack import NATIVE, ROOT, STAGE, missing_for_deploy, package, zips
from tests.test_cost_document import table
from tests.test_documentation import rows as rows_of
from tests.test_documentation import section

PLATFORMS = ["x86_64", "arm64"]
[OTHER] = [platform for platform in PLATFORMS if platform != NATIVE]
FUNCTIONS = ["http", "websocket", "stream", "worker", "watch"]
HASH_BASED_UNCHECKED = 0b01  # PEP 552
ELF_MACHINES = {"x86_64": 62, "arm64": 183}
LAMBDA_LIMIT = 250 * 2**20
EVERYTHING = {
    "auditLockDays": "3650",
    "cognito": "true",
    "tracing": "true",
    "alarmEmail": "ops@example.com",
    "acmeServers": "https://ca.example/directory",
    "oidcIssuer": "https://login.example",
}

EXPLAINED = {
    "W3005": "osls writes a DependsOn beside a reference that says the same",
    "W8003": "osls fills parameters in, so that each condition is decided when the template is made",
}
"""Warnings of cfn-lint that are meant to be there."""


@pytest.fixture(scope="module", params=PLATFORMS)
def architecture(request: pytest.FixtureRequest) -> str:
    """Each of the two is packaged with other parameters: with the usual ones, and with all that can be asked for."""
    if reason := missing_for_deploy():
        pytest.skip(reason)
    name: str = request.param
    package() if name == NATIVE else package(name, **EVERYTHING)
    return name


@pytest.fixture(scope="module")
def template(architecture: str) -> dict[str, Any]:
    return package() if architecture == NATIVE else package(architecture, **EVERYTHING)


def resources(template: dict[str, Any], type: str) -> dict[str, dict[str, Any]]:
    return {name: r["Properties"] for name, r in template["Resources"].items() if r["Type"] == type}


# The zips


@pytest.fixture(params=FUNCTIONS)
def archive(request: pytest.FixtureRequest, architecture: str) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(zips(architecture) / f"{request.param}.zip") as archive:
        yield archive


def test_bytecode_is_taken_by_lambda_without_a_look_at_the_source(archive: zipfile.ZipFile) -> None:
    sources = [name for name in archive.namelist() if name.endswith(".py")]
    assert len(sources) > 100
    for source in sources:
        bytecode = archive.read(importlib.util.cache_from_source(source))
        assert bytecode[:4] == importlib.util.MAGIC_NUMBER
        assert struct.unpack("<I", bytecode[4:8]) == (HASH_BASED_UNCHECKED,)


def test_binaries_are_of_the_architecture(archive: zipfile.ZipFile, architecture: str) -> None:
    binaries = [name for name in archive.namelist() if re.search(r"\.so(\.|$)", name)]
    machines = {struct.unpack("<H", archive.read(name)[18:20])[0] for name in binaries}
    assert machines <= {ELF_MACHINES[architecture]}


def test_zip_fits_into_lambda_and_holds_nothing_that_is_not_needed(archive: zipfile.ZipFile) -> None:
    assert sum(entry.file_size for entry in archive.infolist()) < LAMBDA_LIMIT / 4
    tops = {name.partition("/")[0] for name in archive.namelist()}
    assert not tops & {"pip", "setuptools", "uvicorn", "websockets", "boto3", "moto", "pytest", "bin"}
    described = {m[1] for name in archive.namelist() if (m := re.match(r"botocore/data/([^/]+)/", name))}
    ours = {"dynamodb", "kms", "sqs", "logs", "firehose", "events", "apigatewaymanagementapi", "route53", "sts"}
    assert described <= ours
    assert "certwright/local/app.py" not in archive.namelist()
    assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_descriptions_of_services_hold_only_what_their_clients_read(archive: zipfile.ZipFile) -> None:
    """Every process reads them before its first call."""
    endpoints = json.loads(archive.read("botocore/data/endpoints.json"))
    assert all(len(partition["services"]) < 12 for partition in endpoints["partitions"])
    models = [name for name in archive.namelist() if name.endswith("service-2.json")]
    assert models
    for name in models:
        assert not re.search(rb'"documentation":"', archive.read(name))


def test_functions_hold_what_is_their_own() -> None:
    def holds(function: str, package: str) -> bool:
        with zipfile.ZipFile(zips() / f"{function}.zip") as archive:
            return any(name.startswith(f"{package}/") for name in archive.namelist())

    package()
    without = {
        "cryptography": {"stream", "watch"},
        "acme": {"stream", "watch"},
        "strawberry": {"worker", "watch"},
        "mangum": {"websocket", "stream", "worker", "watch"},
    }
    for library, functions in without.items():
        assert {function for function in FUNCTIONS if not holds(function, library)} == functions, library


def test_size_of_each_zip_is_printed() -> None:
    if reason := missing_for_deploy():
        pytest.skip(reason)
    package()
    command = [sys.executable, str(ROOT / "tools" / "package.py"), "--architecture", NATIVE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    packed = {name: (zips() / f"{name}.zip").stat().st_size for name in FUNCTIONS}
    told = dict(re.findall(rf"(\w+) +{NATIVE} +([\d.]+ MB) +[\d.]+ MB", done.stdout))
    assert told == {name: f"{size / 1e6:.1f} MB" for name, size in packed.items()}


IMPORT_ALL = """
import importlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root))
for path in sorted((root / "certwright").rglob("*.py")):
    importlib.import_module(".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"))
"""


@pytest.mark.parametrize("function", FUNCTIONS)
def test_all_that_a_zip_holds_of_ours_can_be_imported_from_it_alone(tmp_path: Path, function: str) -> None:
    if reason := missing_for_deploy():
        pytest.skip(reason)
    package()
    with zipfile.ZipFile(zips() / f"{function}.zip") as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-I", "-S", "-c", IMPORT_ALL, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# The template


def test_cfn_lint_finds_no_errors_and_only_warnings_that_are_explained(
    template: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "template.json"
    path.write_text(json.dumps(template))
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        str(path),
        "--format",
        "json",
        "--regions",
        "eu-central-1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    found = {match["Rule"]["Id"]: match["Message"] for match in json.loads(done.stdout)}
    assert {code: message for code, message in found.items() if code not in EXPLAINED} == {}
    assert set(found) == set(EXPLAINED), "what does not come any more needs no explanation"


def test_http_comes_by_payload_2_at_the_default_stage_and_sockets_by_three_routes(template: dict[str, Any]) -> None:
    apis = {name: api["ProtocolType"] for name, api in resources(template, "AWS::ApiGatewayV2::Api").items()}
    assert apis == {"HttpApi": "HTTP", "WebsocketsApi": "WEBSOCKET"}
    stages = resources(template, "AWS::ApiGatewayV2::Stage").values()
    assert {stage["ApiId"]["Ref"]: stage["StageName"] for stage in stages} == {
        "HttpApi": "$default",
        "WebsocketsApi": STAGE,
    }
    integrations = resources(template, "AWS::ApiGatewayV2::Integration")
    assert integrations["HttpApiIntegrationHttp"]["PayloadFormatVersion"] == "2.0"
    routes = resources(template, "AWS::ApiGatewayV2::Route").values()
    assert sorted(route["RouteKey"] for route in routes if route["ApiId"]["Ref"] == "WebsocketsApi") == [
        "$connect",
        "$default",
        "$disconnect",
    ]


def test_both_endpoints_are_told(template: dict[str, Any]) -> None:
    told = {name: output["Value"] for name, output in template["Outputs"].items()}
    host = "execute-api.${AWS::Region}.${AWS::URLSuffix}"
    assert told["GraphqlEndpoint"] == {"Fn::Sub": f"https://${{HttpApi}}.{host}/graphql"}
    assert told["SocketEndpoint"] == {"Fn::Sub": f"wss://${{WebsocketsApi}}.{host}/{STAGE}"}
    assert {"TableName", "AuditBucketName", "AuditLogName", "EventBusName", "AlarmTopicArn"} <= set(told)


def statements(template: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, role in resources(template, "AWS::IAM::Role").items():
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                yield name, statement["Fn::If"][1] if "Fn::If" in statement else statement


def test_each_function_has_a_role_of_its_own_and_no_right_to_everything(template: dict[str, Any]) -> None:
    functions = resources(template, "AWS::Lambda::Function")
    roles = [json.dumps(properties["Role"]) for properties in functions.values()]
    assert len(set(roles)) == len(functions) == len(FUNCTIONS)
    for role, statement in statements(template):
        assert not any("*" in action for action in statement["Action"]), role
        if statement["Resource"] == "*":
            assert all(action.startswith("xray:") for action in statement["Action"]), role
        assert "dynamodb:Scan" not in statement["Action"]


def may(template: dict[str, Any], action: str) -> set[str]:
    return {
        role.removesuffix("Role").lower() for role, statement in statements(template) if action in statement["Action"]
    }


def test_rights_are_where_they_are_needed_alone(template: dict[str, Any]) -> None:
    assert may(template, "kms:Decrypt") == {"http", "websocket", "worker"}
    assert may(template, "kms:GenerateDataKey") == {"http", "websocket"}
    assert may(template, "execute-api:ManageConnections") == {"websocket", "stream"}
    assert may(template, "firehose:PutRecord") == {"stream"}
    assert may(template, "sts:AssumeRole") == {"http", "websocket", "worker"}
    assert may(template, "s3:PutObject") == {"auditstream"}
    assert may(template, "sqs:SendMessage") == {"stream", "worker"}
    assert may(template, "dynamodb:PutItem") == {"http", "websocket", "stream", "worker"}
    assert may(template, "dynamodb:BatchWriteItem") == {"http", "websocket", "stream", "worker"}


def test_each_statement_of_the_roles_has_its_reason_before_it() -> None:
    lines = (ROOT / "infra" / "roles.yml").read_text().splitlines()
    starts = [n for n, line in enumerate(lines) if re.match(r"\s{14}- (Effect|!If)", line)]
    shared = [n for n in starts if not lines[n - 1].strip().startswith("#")]
    assert len(starts) > 20
    assert {lines[n + 1].strip() for n in shared} <= {
        "Action: [firehose:PutRecord]",
        "Action: [s3:GetBucketLocation, s3:ListBucket, s3:ListBucketMultipartUploads]",
    }


def test_keys_open_only_with_the_context_of_a_tenant_and_an_entity(template: dict[str, Any]) -> None:
    for _, statement in statements(template):
        if any(action.startswith("kms:") for action in statement["Action"]):
            wanted = {f"kms:EncryptionContext:{part}": "false" for part in ("tenant", "entity")}
            assert statement["Condition"] == {"Null": wanted}


def test_environment_holds_known_settings_and_no_secrets(template: dict[str, Any]) -> None:
    for name, properties in resources(template, "AWS::Lambda::Function").items():
        variables = properties["Environment"]["Variables"]
        assert {v for v in variables if not v.startswith("STACK_")} <= set(SETTINGS), name
        assert not re.search(r"secret|password|token", " ".join(variables), re.IGNORECASE)


def test_what_must_not_be_lost_outlives_the_stack(template: dict[str, Any]) -> None:
    kept = {name for name, r in template["Resources"].items() if r.get("DeletionPolicy") == "Retain"}
    assert kept >= {"Table", "Key", "AuditBucket", "AuditLog", "UserPool"}
    table = template["Resources"]["Table"]["Properties"]
    assert table["DeletionProtectionEnabled"]
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["StreamSpecification"] == {"StreamViewType": "NEW_AND_OLD_IMAGES"}


def test_audit_bucket_is_private_versioned_and_encrypted(template: dict[str, Any]) -> None:
    bucket = template["Resources"]["AuditBucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["BucketEncryption"]
    [plain] = template["Resources"]["AuditBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (plain["Effect"], plain["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    stream = template["Resources"]["AuditStream"]["Properties"]["ExtendedS3DestinationConfiguration"]
    assert stream["Prefix"] == "audit/day=!{timestamp:yyyy-MM-dd}/"
    assert stream["CompressionFormat"] == "GZIP"


def test_object_lock_cognito_and_tracing_are_there_when_they_are_asked_for() -> None:
    if reason := missing_for_deploy():
        pytest.skip(reason)
    for template, asked in ((package(), "false"), (package(OTHER, **EVERYTHING), "true")):
        conditions = template["Conditions"]
        assert conditions["HasCognito"] == {"Fn::Equals": [asked, "true"]}
        assert conditions["HasTracing"] == {"Fn::Equals": [asked, "true"]}
        [http] = [p for n, p in resources(template, "AWS::Lambda::Function").items() if n.startswith("Http")]
        assert http.get("TracingConfig", {}).get("Mode", "").lower() == ("active" if asked == "true" else "")
    lock = template["Resources"]["AuditBucket"]["Properties"]["ObjectLockConfiguration"]["Fn::If"][1]
    assert str(lock["Rule"]["DefaultRetention"]["Days"]) == "3650"


def test_issuer_is_any_by_parameter_or_a_pool_whose_users_cannot_choose_their_tenant() -> None:
    if reason := missing_for_deploy():
        pytest.skip(reason)
    template = package(OTHER, **EVERYTHING)
    for function in ("Http", "Websocket"):
        variables = template["Resources"][f"{function}LambdaFunction"]["Properties"]["Environment"]["Variables"]
        pool = {"Fn::Sub": "https://cognito-idp.${AWS::Region}.amazonaws.com/${UserPool}"}
        assert variables["CERTWRIGHT_OIDC_ISSUER"] == {"Fn::If": ["HasCognito", pool, "https://login.example"]}
    fragment = [r for r in template["Resources"].values() if r["Type"].startswith("AWS::Cognito::")]
    assert [r for r in fragment if r.get("Condition") != "HasCognito"] == []
    [client] = resources(template, "AWS::Cognito::UserPoolClient").values()
    assert (client["WriteAttributes"], client["GenerateSecret"]) == (["email"], False)
    [users] = resources(template, "AWS::Cognito::UserPool").values()
    assert users["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}


def test_logs_are_kept_for_a_time_and_not_for_ever(template: dict[str, Any]) -> None:
    groups = resources(template, "AWS::Logs::LogGroup")
    assert len(groups) == len(FUNCTIONS) + 3
    assert all(properties["RetentionInDays"] for properties in groups.values())


def test_failures_go_somewhere_and_raise_an_alarm(template: dict[str, Any]) -> None:
    [stream] = [m for m in resources(template, "AWS::Lambda::EventSourceMapping").values() if "StartingPosition" in m]
    assert stream["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert stream["BisectBatchOnFunctionError"]
    assert stream["MaximumRetryAttempts"] > 0
    assert "StreamDeadLetters" in json.dumps(stream["DestinationConfig"])
    assert "WakeDeadLetters" in json.dumps(template["Resources"]["WakeQueue"]["Properties"]["RedrivePolicy"])
    alarms = resources(template, "AWS::CloudWatch::Alarm")
    assert all(alarm["AlarmActions"] == [{"Ref": "AlarmTopic"}] for alarm in alarms.values())
    told = json.dumps(alarms)
    for wanted in ("IteratorAge", "StreamDeadLetters", "WakeDeadLetters", "CertificatesCloseToExpiry", "CaErrors"):
        assert wanted in told


Metric = tuple[str, str, str]
"""A metric's namespace and name, and the value of its one dimension."""


def alarmed(alarm: dict[str, Any]) -> list[Metric]:
    """The metrics of an alarm."""
    metrics = [m["MetricStat"]["Metric"] for m in alarm.get("Metrics", ()) if "MetricStat" in m] or [alarm]
    return [(m["Namespace"], m["MetricName"], flat(m["Dimensions"][0]["Value"])) for m in metrics]


def flat(value: Any) -> str:
    """What a reference to a resource, or to an attribute of it, is in Fn::Sub."""
    if isinstance(value, str):
        return value
    path = ".".join(value["Fn::GetAtt"]) if "Fn::GetAtt" in value else value["Ref"]
    return f"${{{path}}}"


def shown(template: dict[str, Any]) -> Iterator[Metric]:
    """The metrics of the dashboard, in whose rows `.` and `...` stand for what the row before them has."""
    body = json.loads(template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
    for widget in body["widgets"]:
        before: list[str] = []
        for row in widget["properties"]["metrics"]:
            cells = [cell for cell in row if isinstance(cell, str)]
            cells = [*before[: 1 - len(cells)], *cells[1:]] if cells[0] == "..." else cells
            before = [before[place] if cell == "." else cell for place, cell in enumerate(cells)]
            yield before[0], before[1], before[-1]


def happened() -> list[Record]:
    """Two records of what failed, one of a success, and one of a denial."""
    about = {"subject_id": "o", "account_id": "a"}
    events: list[Event] = [
        OrderFailed(**about, problem="p"),
        OrderDelayed(**about, problem="p", until="u"),
        OrderFulfilled(**about, certificate_id="c"),
        OperationDenied(operation="o", reason="r"),
    ]
    return [record(event, system("default"), id="r", at=utc_now(), previous=None) for event in events]


def emitted(capsys: pytest.CaptureFixture[str]) -> set[Metric]:
    """The metrics of ours; tests/test_aws_operations.py has that of watch."""
    capsys.readouterr()
    put_measures(happened())
    told = json.loads(capsys.readouterr().out)
    [directive] = told["_aws"]["CloudWatchMetrics"]
    names = {metric["Name"] for metric in directive["Metrics"]}
    return {(directive["Namespace"], name, told["service"]) for name in names} | {
        ("Certwright", "CertificatesCloseToExpiry", "watch")
    }


def test_alarms_and_dashboard_show_metrics_that_there_are(
    template: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    alarms = resources(template, "AWS::CloudWatch::Alarm")
    watched = {name: alarmed(alarm) for name, alarm in alarms.items()}
    assert watched["StreamLagAlarm"] == [("AWS/Lambda", "IteratorAge", "${StreamLambdaFunction}")]
    assert watched["WatchAlarm"] == [("AWS/Lambda", "Errors", "${WatchLambdaFunction}")]
    for queue in ("StreamDeadLetters", "WakeDeadLetters"):
        metric = ("AWS/SQS", "ApproximateNumberOfMessagesVisible", f"${{{queue}.QueueName}}")
        assert watched[f"{queue}Alarm"] == [metric]
        assert metric in set(shown(template))
    all_of_them = {*shown(template), *(metric for metrics in watched.values() for metric in metrics)}
    ours = {metric for metric in all_of_them if metric[0] == "Certwright"}
    assert ours == emitted(capsys)
    assert ("AWS/Lambda", "IteratorAge", "${StreamLambdaFunction}") in set(shown(template))


def test_documents_have_each_alarm_and_what_it_costs(
    template: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    alarms = resources(template, "AWS::CloudWatch::Alarm")
    told = (ROOT / "docs" / "aws.md").read_text().partition("| Alarm |")[2].partition("\n\n")[0]
    assert {f"{name}Alarm" for name in re.findall(r"^\| (\w+) \|", told, re.MULTILINE)} == set(alarms)
    amounts = {row[0]: row[3] for row in table("Use")}
    assert amounts["CloudWatch, metric of an alarm for a month"] == str(
        sum(len(alarmed(alarm)) for alarm in alarms.values())
    )
    assert amounts["CloudWatch, metric for a month"] == str(len(emitted(capsys)))


def test_example_rule_keeps_what_failed_in_a_log_group_that_eventbridge_may_write_to(template: dict[str, Any]) -> None:
    rule, group = (template["Resources"][name]["Properties"] for name in ("FailuresRule", "FailuresLog"))
    pattern = rule["EventPattern"]

    def is_caught(happening: Record) -> bool:
        put = entry(happening)
        outcome = json.loads(put["Detail"])["outcome"]
        return put["Source"] in pattern["source"] and outcome in pattern["detail"]["outcome"]

    assert [is_caught(happening) for happening in happened()] == [True, True, False, False]
    assert group["LogGroupName"].startswith("/aws/events/")
    assert rule["Targets"][0]["Arn"]["Fn::Sub"].endswith(":log-group:${FailuresLog}")
    policy = template["Resources"]["FailuresLogPolicy"]["Properties"]["PolicyDocument"]["Fn::Sub"]
    create, put = json.loads(policy)["Statement"]
    assert (create["Action"], "Condition" in create) == ("logs:CreateLogStream", False)
    assert put["Condition"] == {"ArnEquals": {"aws:SourceArn": "${FailuresRule.Arn}"}}


def test_worker_is_bounded_and_sweeps_each_minute(template: dict[str, Any]) -> None:
    [queue] = [m for m in resources(template, "AWS::Lambda::EventSourceMapping").values() if "ScalingConfig" in m]
    assert queue["ScalingConfig"] == {"MaximumConcurrency": 20}
    schedules = resources(template, "AWS::Events::Rule")
    assert schedules["WorkerEventsRuleSchedule1"]["ScheduleExpression"] == "rate(1 minute)"
    worker = template["Resources"]["WorkerLambdaFunction"]["Properties"]
    assert template["Resources"]["WakeQueue"]["Properties"]["VisibilityTimeout"] >= 6 * worker["Timeout"]


def test_stage_is_in_the_names() -> None:
    if reason := missing_for_deploy():
        pytest.skip(reason)
    names = {p["FunctionName"] for p in resources(package(), "AWS::Lambda::Function").values()}
    assert names == {f"certwright-{STAGE}-{function}" for function in FUNCTIONS}


def test_documentation_has_each_parameter_and_variable() -> None:
    told = (ROOT / "docs" / "aws.md").read_text()
    stack = (ROOT / "serverless.yml").read_text()
    parameters = set(yaml.safe_load(re.sub(r"!\w+", "", stack))["params"]["default"])
    named = "\n".join(row[0] for row in rows_of(section("On AWS")))
    assert (
        {"alarmEmail", "cognito", "oidcIssuer"} <= set(re.findall(r"`([a-z]+[A-Z]\w+|cognito)`", named)) <= parameters
    )
    rows = "\n".join(line.split("|")[1] for line in told.splitlines() if line.startswith("|"))
    assert parameters | set(re.findall(r"STACK_\w+", stack)) <= set(re.findall(r"`(\w+)`", rows))


def matches(pattern: Any, value: Any) -> bool:
    """Whether a filter pattern of an event source mapping lets something through; as far as ours go."""
    if isinstance(pattern, list):
        return pattern == [{"exists": True}] and value is not None and not isinstance(value, dict)
    return isinstance(value, dict) and all(matches(inner, value.get(key)) for key, inner in pattern.items())


def test_stream_brings_events_and_their_entities_and_nothing_else(template: dict[str, Any]) -> None:
    [mapping] = [m for m in resources(template, "AWS::Lambda::EventSourceMapping").values() if "FilterCriteria" in m]
    patterns = [json.loads(entry["Pattern"]) for entry in mapping["FilterCriteria"]["Filters"]]
    now, new_id = utc_now(), Ulids(utc_now, secrets.randbits)
    account = Account(
        id=new_id(),
        tenant="default",
        email="a@example.com",
        contact=(),
        acme_server="https://ca.example/directory",
        status=AccountStatus.VALID,
        sealed_key="kms:v1:",
        key_thumbprint="t",
        created_at=now,
        updated_at=now,
        covered=1,
    )
    event = OrderCreated(subject_id=new_id(), account_id=account.id, domains=("a.example",))
    written = record(event, system("default"), id=new_id(), at=now, previous=None)
    puts = [*items.record_puts([written], {}), items.response("token", "content", now + timedelta(days=1))]
    [event_item, response] = [put.item for put in puts if isinstance(put, Put)]
    others = [
        response,
        Item("default#order-in#open", "1"),
        Item("default#counts", "0", {"orders": 1}),
        Item("default#connection", "c", {"acknowledged": True}, expires_at=1),
    ]
    let_through = [
        any(matches(pattern, {"dynamodb": {"NewImage": encode_item(item)}}) for pattern in patterns)
        for item in (event_item, items.item(account), *others)
    ]
    assert let_through == [True, True, False, False, False, False]


def test_http_function_alone_holds_the_console() -> None:
    require_console()
    package()
    for function in FUNCTIONS:
        with zipfile.ZipFile(zips() / f"{function}.zip") as archive:
            held = {name for name in archive.namelist() if name.startswith("certwright/console/")}
        assert ("certwright/console/dist/index.html" in held) == (function == "http")
        assert all(name.startswith("certwright/console/dist/") for name in held)


def test_sockets_of_the_console_are_allowed_from_where_it_is_served(template: dict[str, Any]) -> None:
    functions = resources(template, "AWS::Lambda::Function")
    variables = {name: properties["Environment"]["Variables"] for name, properties in functions.items()}
    allowed = variables["WebsocketLambdaFunction"]["CERTWRIGHT_ALLOWED_ORIGINS"]["Fn::Sub"]
    assert allowed.endswith("https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}")
    assert variables["HttpLambdaFunction"]["CERTWRIGHT_SOCKET_URL"]["Fn::Sub"].startswith("wss://${WebsocketsApi}.")
