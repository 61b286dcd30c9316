"""dns-01 by Amazon Route 53.

A record set holds all values of a name, and is only ever replaced as a whole. So each change deletes the set exactly as
it was read and creates the new one, in one batch: Route 53 refuses the batch if the set is another by then
(ChangeResourceRecordSets applies all of a batch or nothing), and it is read again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.solver import Kind, KindSetting, Solver, SolverFailed, dns_record
from certwright.errors import InvalidInput

MAX_TRIES = 8
"""How often a change is made anew because another one came first."""

_REGION = "us-east-1"
"""Route 53 is global; its endpoint, and the one of STS that is always there, are in this region."""

_SESSION = "certwright"
_CHANGED_MEANWHILE = "InvalidChangeBatch"
_BUSY = {"PriorRequestNotComplete", "Throttling", "ThrottlingException", "ServiceUnavailable", "InternalError"}
_SETTINGS = (
    KindSetting("hostedZoneId", "The hosted zone; found by the name if left out.", required=False),
    KindSetting("roleArn", "Role to take on; without it the credentials are used as they are.", required=False),
    KindSetting("externalId", "External id that the role's trust policy asks for.", secret=True, required=False),
    KindSetting("accessKeyId", "Access key; without it Certwright's own credentials are used.", required=False),
    KindSetting("secretAccessKey", "The access key's secret.", secret=True, required=False),
)


def _new_client(service: str, **options: Any) -> Any:
    from certwright.aws import connect  # It imports botocore, for which a list of kinds need not wait.

    return connect.client(service, **options)


def kind(client: Callable[..., Any] = _new_client) -> Kind:
    """`client(service, **options)` makes a client of an AWS service."""

    def make(settings: Mapping[str, str]) -> Solver:
        given = {setting.name: settings.get(setting.name, "").strip() for setting in _SETTINGS}
        return Route53(Access.read(given, client), given["hostedZoneId"].removeprefix("/hostedzone/"))

    return Kind("route53", "Amazon Route 53", "dns-01", _SETTINGS, make)


@dataclass(frozen=True)
class Access:
    """Whose zones are changed: with which credentials, and in which role."""

    client: Callable[..., Any]
    keys: Mapping[str, str] = field(repr=False)
    role: Mapping[str, str] = field(repr=False)

    @classmethod
    def read(cls, given: Mapping[str, str], client: Callable[..., Any]) -> "Access":
        """Raises InvalidInput."""
        if bool(given["accessKeyId"]) != bool(given["secretAccessKey"]):
            missing = "secretAccessKey" if given["accessKeyId"] else "accessKeyId"
            raise InvalidInput(f"{missing} is not given: an access key has two parts", field=missing)
        if given["roleArn"] and not given["roleArn"].startswith("arn:"):
            raise InvalidInput("roleArn is no ARN; one looks like arn:aws:iam::123456789012:role/dns", field="roleArn")
        if given["externalId"] and not given["roleArn"]:
            raise InvalidInput("externalId is given without a roleArn that it is for", field="roleArn")
        keys = {"aws_access_key_id": given["accessKeyId"], "aws_secret_access_key": given["secretAccessKey"]}
        external = {"ExternalId": given["externalId"]} if given["externalId"] else {}
        role = {"RoleArn": given["roleArn"], "RoleSessionName": _SESSION, **external}
        return cls(client, keys if given["accessKeyId"] else {}, role if given["roleArn"] else {})

    def route53(self) -> Any:
        """A client. A role's credentials are fetched anew each time: they end after an hour."""
        return self.client("route53", region_name=_REGION, **(self._assumed() if self.role else self.keys))

    def _assumed(self) -> dict[str, str]:
        sts = self.client("sts", region_name=_REGION, **self.keys)
        credentials = _ask(sts.assume_role, **self.role)["Credentials"]
        return {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"],
        }


class Route53:
    """Adds and removes single values. Whether all name servers have them is for Propagation to see."""

    def __init__(self, access: Access, hosted_zone_id: str) -> None:
        self._access = access
        self._hosted_zone_id = hosted_zone_id

    def present(self, prepared: DnsRecord | HttpFile) -> None:
        self._change(dns_record(prepared), lambda values, value: values if value in values else [*values, value])

    def clean_up(self, prepared: DnsRecord | HttpFile) -> None:
        self._change(dns_record(prepared), lambda values, value: [other for other in values if other != value])

    def _change(self, record: DnsRecord, changed: Callable[[list[str], str], list[str]]) -> None:
        client = self._access.route53()
        zone = self._hosted_zone_id or _find_zone(client, record.name)
        reason = ""
        for _ in range(MAX_TRIES):
            present = _read(client, zone, record)
            values = [entry["Value"] for entry in present["ResourceRecords"]] if present else []
            wanted = changed(values, f'"{record.value}"')
            if wanted == values:
                return
            before = [{"Action": "DELETE", "ResourceRecordSet": present}] if present else []
            ttl = present["TTL"] if present else record.ttl
            after = [{"Action": "CREATE", "ResourceRecordSet": _record_set(record.name, ttl, wanted)}] if wanted else []
            try:
                _ask(client.change_resource_record_sets, HostedZoneId=zone, ChangeBatch={"Changes": [*before, *after]})
            except _ChangedMeanwhile as refused:
                reason = str(refused)
                continue
            return
        raise SolverFailed(f"Route 53 did not take the change of {record.name}, {MAX_TRIES} times: {reason}")


def _record_set(name: str, ttl: int, values: list[str]) -> dict[str, Any]:
    records = [{"Value": value} for value in values]
    return {"Name": name + ".", "Type": "TXT", "TTL": ttl, "ResourceRecords": records}


def _read(client: Any, zone: str, record: DnsRecord) -> dict[str, Any] | None:
    """The record set as it is now; None where there is none."""
    name = record.name + "."
    answer = _ask(
        client.list_resource_record_sets,
        HostedZoneId=zone,
        StartRecordName=name,
        StartRecordType="TXT",
        MaxItems="1",
    )
    found = [dict(s) for s in answer["ResourceRecordSets"] if s["Type"] == "TXT" and s["Name"].lower() == name.lower()]
    if found and ("ResourceRecords" not in found[0] or "SetIdentifier" in found[0]):
        raise SolverFailed(f"{record.name} is an alias or has a routing policy in Route 53: remove it", lasting=True)
    return found[0] if found else None


def _find_zone(client: Any, record: str) -> str:
    """The public hosted zone with the longest name that holds a record."""
    for name in _ancestors(record):
        answer = _ask(client.list_hosted_zones_by_name, DNSName=name, MaxItems="10")
        for zone in answer["HostedZones"]:
            if zone["Name"].lower() == name + "." and not zone["Config"].get("PrivateZone"):
                return str(zone["Id"]).removeprefix("/hostedzone/")
    raise SolverFailed(f"these credentials have no public hosted zone in Route 53 that holds {record}", lasting=True)


def _ancestors(name: str) -> Iterator[str]:
    """The name and those above it, but for the topmost."""
    while "." in name:
        yield name
        name = name.partition(".")[2]


class _ChangedMeanwhile(Exception):
    pass


def _ask(call: Callable[..., Any], **request: Any) -> Any:
    """Raises SolverFailed with AWS's code; its messages name accounts and roles, but no secret."""
    from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

    try:
        return call(**request)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        message = str(error.response["Error"].get("Message", ""))[:300]
        if code == _CHANGED_MEANWHILE:
            raise _ChangedMeanwhile(message) from error
        raise SolverFailed(f"AWS refused: {code}: {message}", lasting=code not in _BUSY) from error
    except ParamValidationError as error:
        raise SolverFailed("AWS takes no such hosted zone, role or external id", lasting=True) from error
    except BotoCoreError as error:
        raise SolverFailed(f"AWS could not be asked: {type(error).__name__}") from error
