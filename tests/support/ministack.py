"""The packaged stack on MiniStack, an emulator of AWS: the zips run in processes of their own, as Lambda's would.

    with MiniStack(tmp_path) as aws:
        stack = aws.deploy(package(), {"CERTWRIGHT_ACME_SERVERS": pebble.directory_url})
        stack.output("GraphqlEndpoint")

MiniStack falls short of AWS in some places; what is changed of the template for it stands in `adapted`.
"""

import functools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import boto3
from botocore.config import Config

from certwright.local.test_ca import free_port

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
ACCOUNT = "123456789012"
STAGE = "test"
NATIVE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
"""Lambda's name for this machine's architecture: the emulator runs the zips here."""

OLDEST_NODE = 20
UNKNOWN = ("AWS::ApiGatewayV2::Deployment", "AWS::Logs::LogStream")
START_SECONDS = 60
DEPLOY_SECONDS = 120


def missing_for_deploy() -> str | None:
    """Why the stack cannot be packaged here, or None when it can."""
    if shutil.which("npx") is None:
        return "osls needs Node, which is not installed"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST_NODE:
        return f"osls needs Node {OLDEST_NODE} or newer; this one is {version}"
    if not (ROOT / "node_modules" / "osls").exists():
        return "osls is not installed: run `npm ci`"
    return None


@functools.cache
def package(architecture: str = NATIVE, **parameters: str) -> dict[str, Any]:
    """What `osls package` makes: the CloudFormation template, with the zips in `zips`. It needs no account."""
    told = [f"--param={name}={value}" for name, value in {"architecture": architecture, **parameters}.items()]
    with TemporaryDirectory() as folder:
        command = ["npx", "osls", "package", "--stage", STAGE, "--package", folder, *told]
        # Without credentials or a home: nothing of them may be needed.
        environment = {"PATH": os.environ["PATH"], "HOME": folder, "SLS_TELEMETRY_DISABLED": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads((Path(folder) / "cloudformation-template-update-stack.json").read_text()))


def zips(architecture: str = NATIVE) -> Path:
    """Where `package` leaves them."""
    return ROOT / "build" / "lambda" / architecture


def adapted(template: dict[str, Any], bucket: str, endpoint: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """The template as MiniStack can take it, with `settings` in each function that has them.

    Some resources it does not know (UNKNOWN, and alarms on more than one metric), sockets are elsewhere, and the bucket
    of the zips is made by hand.
    """
    copy: dict[str, Any] = json.loads(json.dumps(template["Resources"]))
    resources = {name: resource for name, resource in copy.items() if not _is_unknown(name, resource)}
    for resource in resources.values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::ApiGatewayV2::Stage":
            properties.pop("DeploymentId", None)
            properties["AutoDeploy"] = True
        elif resource["Type"] == "AWS::KinesisFirehose::DeliveryStream":
            del properties["ExtendedS3DestinationConfiguration"]["CloudWatchLoggingOptions"]
        elif resource["Type"] == "AWS::Lambda::Function":
            properties["Code"]["S3Bucket"] = bucket
            variables = properties["Environment"]["Variables"]
            variables |= {name: value for name, value in settings.items() if name in variables}
            if "STACK_SOCKETS" in variables:
                variables["STACK_SOCKETS"] = {"Fn::Sub": f"{endpoint}/_aws/execute-api/${{WebsocketsApi}}/{STAGE}"}
    outputs = {name: o for name, o in template["Outputs"].items() if not name.startswith("ServerlessDeploymentBucket")}
    return {**template, "Resources": resources, "Outputs": outputs}


def _is_unknown(name: str, resource: Mapping[str, Any]) -> bool:
    mathematical = resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    return mathematical or resource["Type"] in UNKNOWN or name.startswith("ServerlessDeploymentBucket")


@dataclass(frozen=True)
class Stack:
    """A deployed stack; the names of its resources by their logical ids, and its outputs."""

    name: str
    endpoint: str
    resources: Mapping[str, str]
    outputs: Mapping[str, str]

    @property
    def http_url(self) -> str:
        return f"{self.endpoint}/_aws/execute-api/{self.resources['HttpApi']}/$default"

    @property
    def ws_url(self) -> str:
        place = self.endpoint.removeprefix("http://")
        return f"ws://{place}/_aws/execute-api/{self.resources['WebsocketsApi']}/{STAGE}"


class MiniStack:
    """A running emulator, on a free port of the loopback address."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        }
        own = {
            "GATEWAY_PORT": str(self.port),
            "IOT_MTLS_ENABLED": "0",
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "TMPDIR": str(directory),
            "HOME": str(directory),
            "S3_DATA_DIR": str(directory / "s3"),
            "STATE_DIR": str(directory / "state"),
            "PATH": os.environ["PATH"],
        }
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "ministack.log"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [Path(sys.executable).with_name("ministack")],
                env={**self.environment, **own},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.endpoint}/_ministack/health", timeout=2).close()
                return
            except (OSError, urllib.error.HTTPError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                    return
                assert self._process.poll() is None, self.log.read_text()
                assert time.monotonic() < until, self.log.read_text()
                time.sleep(0.1)

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
            config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard"}),
        )

    def deploy(self, template: dict[str, Any], settings: Mapping[str, str]) -> Stack:
        """What `osls deploy` does: the zips into a bucket, and the stack from the template."""
        s3, bucket, name = self.client("s3"), "deployment", f"certwright-{STAGE}"
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::Lambda::Function":
                key = resource["Properties"]["Code"]["S3Key"]
                s3.upload_file(str(zips() / key.rpartition("/")[2]), bucket, key)
        cloudformation = self.client("cloudformation")
        body = json.dumps(adapted(template, bucket, self.endpoint, settings))
        cloudformation.create_stack(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"])
        waiter = cloudformation.get_waiter("stack_create_complete")
        waiter.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": DEPLOY_SECONDS})
        [stack] = cloudformation.describe_stacks(StackName=name)["Stacks"]
        resources = cloudformation.describe_stack_resources(StackName=name)["StackResources"]
        return Stack(
            name,
            self.endpoint,
            {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources},
            {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]},
        )

    def destroy(self, stack: Stack) -> None:
        cloudformation = self.client("cloudformation")
        cloudformation.delete_stack(StackName=stack.name)
        waiter = cloudformation.get_waiter("stack_delete_complete")
        waiter.wait(StackName=stack.name, WaiterConfig={"Delay": 1, "MaxAttempts": DEPLOY_SECONDS})

    def complaints(self) -> list[str]:
        """The lines of its log that tell of errors."""
        return [line for line in self.log.read_text().splitlines() if re.search(r"\bERROR\b|Traceback", line)]

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
