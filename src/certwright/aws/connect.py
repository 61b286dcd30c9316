"""What is made with boto3 for the composition roots."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from certwright.aws.dynamo_table import DynamoTable

if TYPE_CHECKING:
    from botocore.config import Config

_CONNECT_SECONDS, _READ_SECONDS = 2, 10
_CONNECTIONS = 50


def client(service: str, *, config: "Config | None" = None, **options: Any) -> Any:
    """A client of an AWS service, in the region and with the credentials of the environment.

    A call that hangs is given up long before the function that waits for it is: botocore's own 60 s are longer than
    API Gateway waits. What `config` says goes before that.
    """
    with _without("urllib3.contrib.pyopenssl"):
        import boto3
        from botocore.config import Config

    usual = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    return boto3.client(service, config=usual.merge(config) if config else usual, **options)


def dynamo_table(name: str, clock: Callable[[], int]) -> DynamoTable:
    """The table `name`."""
    return DynamoTable(client("dynamodb"), name, clock)


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Have `module` seem not to be installed (a None in sys.modules says so) for those who ask for it meanwhile.

    botocore would take one class from pyOpenSSL, which is there for the ACME library, or the same class from urllib3.
    Through pyOpenSSL comes cryptography, a quarter of botocore's own time on the API's cold path.
    """
    modules = cast(Any, sys.modules)
    if module in modules:
        yield
        return
    modules[module] = None
    try:
        yield
    finally:
        del modules[module]
