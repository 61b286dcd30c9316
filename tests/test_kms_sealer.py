"""The Sealer on KMS, against moto's: the same promises as LocalSealer's, and what KMS adds."""

import base64
import re
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moto import mock_aws

from certwright.authorities import seal_context
from certwright.aws.kms_sealer import KmsKeyRefused, KmsSealer
from certwright.errors import Unavailable
from certwright.sealer import SealBroken

CONTEXT = seal_context("default", "01J")


def kms_client(endpoint_url: str | None = None) -> Any:
    return boto3.client(
        "kms",
        region_name="eu-central-1",
        endpoint_url=endpoint_url,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=1),
    )


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with mock_aws():
        yield kms_client()


@pytest.fixture(scope="module")
def key(client: Any) -> str:
    arn: str = client.create_key()["KeyMetadata"]["Arn"]
    return arn


@pytest.fixture
def sealer(client: Any, key: str) -> KmsSealer:
    return KmsSealer(lambda: client, key)


names = st.text(min_size=1, max_size=9)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(plaintext=st.binary(max_size=300), context=st.dictionaries(names, names, max_size=3))
def test_sealed_text_opens_to_what_was_sealed(
    client: Any, sealer: KmsSealer, key: str, plaintext: bytes, context: dict[str, str]
) -> None:
    sealed = sealer.seal(plaintext, context)
    assert re.fullmatch(r"kms:v1:[A-Za-z0-9_=-]+:[A-Za-z0-9_=-]+", sealed)
    assert KmsSealer(lambda: client, key).open(sealed, dict(reversed(context.items()))) == plaintext


def test_sealed_text_does_not_open_for_another_entity(sealer: KmsSealer) -> None:
    sealed = sealer.seal(b"secret", CONTEXT)
    for context in ({}, CONTEXT | {"tenant": "other"}, CONTEXT | {"entity": "01K"}, {"tenant": "default"}):
        with pytest.raises(SealBroken, match="another entity"):
            sealer.open(sealed, context)


def test_no_altered_sealed_text_opens(sealer: KmsSealer) -> None:
    sealed = sealer.seal(b"secret", CONTEXT)
    _, _, wrapped, body = sealed.split(":")
    octets = base64.urlsafe_b64decode(body)
    flipped = [octets[:i] + bytes([octets[i] ^ 1]) + octets[i + 1 :] for i in range(len(octets))]
    altered = [f"kms:v1:{wrapped}:{base64.urlsafe_b64encode(data).decode()}" for data in [*flipped, octets[:20]]]
    altered += [f"kms:v1:{wrapped}:", f"kms:v1::{body}", f"kms:v1:{wrapped[:-8]}:{body}", f"kms:v1:!:{body}", "kms:v1:"]
    altered += [body, "", "kms:v2" + sealed[6:], "local:v1:0:" + body, "\ud800", f"{sealed}:{body}"]
    for text in altered:
        with pytest.raises(SealBroken):
            sealer.open(text, CONTEXT)


def test_data_key_of_another_secret_does_not_open_this_one(sealer: KmsSealer) -> None:
    first, second = (sealer.seal(b"secret", CONTEXT).split(":") for _ in range(2))
    with pytest.raises(SealBroken):
        sealer.open(":".join([*first[:3], second[3]]), CONTEXT)


def test_every_secret_has_a_data_key_of_its_own(sealer: KmsSealer) -> None:
    assert len({sealer.seal(b"secret", CONTEXT).split(":")[2] for _ in range(20)}) == 20


def answering(method: str, code: str) -> KmsSealer:
    """A sealer whose KMS answers with an error, whatever the request."""
    client = kms_client()
    stubber = Stubber(client)
    stubber.add_client_error(method, code)
    stubber.activate()
    return KmsSealer(lambda: client, "arn:aws:kms:eu-central-1:123456789012:key/k")


def test_kms_is_told_which_tenant_and_entity_a_secret_is_for() -> None:
    client = kms_client()
    request = {"KeyId": "k", "KeySpec": "AES_256", "EncryptionContext": {"tenant": "default", "entity": "01J"}}
    with Stubber(client) as stubber:
        stubber.add_response("generate_data_key", {"Plaintext": b"k" * 32, "CiphertextBlob": b"wrapped"}, request)
        sealed = KmsSealer(lambda: client, "k").seal(b"secret", CONTEXT)
        asked = {"KeyId": "k", "CiphertextBlob": b"wrapped", "EncryptionContext": request["EncryptionContext"]}
        stubber.add_response("decrypt", {"Plaintext": b"k" * 32}, asked)
        assert KmsSealer(lambda: client, "k").open(sealed, CONTEXT) == b"secret"


@pytest.mark.parametrize("code", ["IncorrectKeyException", "InvalidCiphertextException"])
def test_secret_that_kms_does_not_open_with_this_key_is_broken(sealer: KmsSealer, code: str) -> None:
    with pytest.raises(SealBroken):
        answering("decrypt", code).open(sealer.seal(b"secret", CONTEXT), CONTEXT)


@pytest.mark.parametrize("code", ["ThrottlingException", "KMSInternalException", "DependencyTimeoutException"])
def test_kms_that_is_busy_is_asked_again_later(code: str) -> None:
    with pytest.raises(Unavailable):
        answering("generate_data_key", code).seal(b"secret", CONTEXT)


def test_kms_that_does_not_answer_is_asked_again_later() -> None:
    with pytest.raises(Unavailable):
        KmsSealer(lambda: kms_client("http://127.0.0.1:1"), "k").seal(b"secret", CONTEXT)


@pytest.mark.parametrize("code", ["AccessDeniedException", "DisabledException", "NotFoundException"])
def test_key_that_may_not_be_used_is_named(code: str) -> None:
    with pytest.raises(KmsKeyRefused, match=rf"key/k \({code}\)"):
        answering("generate_data_key", code).seal(b"secret", CONTEXT)


def test_function_without_a_key_seals_and_opens_nothing(client: Any, sealer: KmsSealer) -> None:
    keyless = KmsSealer(lambda: client, "")
    with pytest.raises(KmsKeyRefused, match="STACK_KEY"):
        keyless.seal(b"secret", CONTEXT)
    with pytest.raises(KmsKeyRefused, match="STACK_KEY"):
        keyless.open(sealer.seal(b"secret", CONTEXT), CONTEXT)


def test_repr_and_refusals_hold_no_secret(sealer: KmsSealer) -> None:
    sealed = sealer.seal(b"swordfish", CONTEXT)
    with pytest.raises(SealBroken) as caught:
        sealer.open(sealed, {})
    for text in (repr(sealer), str(caught.value), repr(caught.value.__context__), sealed):
        assert "swordfish" not in text


def test_client_is_made_for_the_first_secret_only(client: Any, key: str) -> None:
    made = []

    def connect() -> Any:
        made.append(client)
        return client

    sealer = KmsSealer(connect, key)
    assert made == []
    sealer.open(sealer.seal(b"secret", CONTEXT), CONTEXT)
    assert len(made) == 1
