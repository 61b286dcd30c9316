"""Certificates look after themselves on AWS too: the same steps, taken by the worker function."""

from datetime import datetime, timedelta
from pathlib import Path

from certwright.aws.app import utc_now
from tests.support.cloud import Cloud
from tests.support.stub_ca import StubCa


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.ahead


def work(cloud: Cloud) -> None:
    while cloud.due():
        cloud.sweep()
        assert cloud.deliver(cloud.messages()) == []


def test_sweep_finds_a_certificate_whose_renewal_is_due(tmp_path: Path) -> None:
    clock = Clock()
    with StubCa(tmp_path / "stub") as stub, Cloud(stub, clock=clock) as cloud:
        stub.clock, stub.authorized = clock, True
        stub.renewal_window = (clock() + timedelta(days=40), clock() + timedelta(days=41))
        order = cloud.create_order(cloud.create_account()["id"], "a.example")["id"]
        work(cloud)
        [certificate] = cloud.app.store.renewing("default", first=10)
        assert certificate.order_id == order
        assert certificate.renewal is not None
        assert certificate.renewal.source == "ari"
        clock.ahead = timedelta(days=42)
        work(cloud)
        [successor] = cloud.app.store.renewing("default", first=10)
        assert successor.replaces == certificate.id
        assert cloud.app.store.certificate("default", certificate.id).replaced_by == successor.id
        assert stub.operations().count("finalize") == 2
