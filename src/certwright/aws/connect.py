"""What is made with botocore for the composition roots.

Not with boto3: what that adds to botocore, its resources and transfers, nobody here uses, and all functions would wait
for when they start.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from certwright.aws.dynamo_table import DynamoTable

if TYPE_CHECKING:
    from botocore.config import Config
    from botocore.session import Session

_CONNECT_SECONDS, _READ_SECONDS = 2, 10
_CONNECTIONS = 50


class Clients:
    """Makes clients of AWS services, in the region and with the credentials of the environment. Safe from any thread.

    What botocore knows of all services it reads once. A call that hangs is given up long before the function that waits
    for it is: botocore's own 60 s are longer than API Gateway waits.
    """

    def __init__(self) -> None:
        self._session: Session | None = None
        self._lock = threading.Lock()  # A session makes one client at a time.

    def __call__(self, service: str, *, config: "Config | None" = None, **options: Any) -> Any:
        """What `config` says goes before the usual; `options` are those of botocore's create_client."""
        with self._lock, _without("urllib3.contrib.pyopenssl"):
            from botocore.config import Config
            from botocore.session import get_session

            usual = Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                max_pool_connections=_CONNECTIONS,
                retries={"mode": "standard", "total_max_attempts": 3},
            )
            self._session = self._session or get_session()
            return self._session.create_client(service, config=usual.merge(config) if config else usual, **options)


def client(service: str, **options: Any) -> Any:
    """A client by itself, as `Clients` make it."""
    return Clients()(service, **options)


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
