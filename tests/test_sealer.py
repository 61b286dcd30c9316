import base64
import multiprocessing
import re
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certwright.sealer import KeyFileRefused, LocalSealer, SealBroken

CONTEXT = {"tenant": "default", "account": "01J"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plaintext=st.binary(max_size=300), context=st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3))
def test_sealed_text_opens_to_what_was_sealed(tmp_path: Path, plaintext: bytes, context: dict[str, str]) -> None:
    sealer = LocalSealer(tmp_path / "key")
    sealed = sealer.seal(plaintext, context)
    assert re.fullmatch(r"local:v1:[0-9a-f]{16}:[A-Za-z0-9_=-]+", sealed)
    assert LocalSealer(tmp_path / "key").open(sealed, dict(reversed(context.items()))) == plaintext


def test_sealed_text_does_not_open_for_another_entity(tmp_path: Path) -> None:
    sealer = LocalSealer(tmp_path / "key")
    sealed = sealer.seal(b"secret", CONTEXT)
    for context in ({}, CONTEXT | {"tenant": "other"}, CONTEXT | {"account": "01K"}, {"tenant": "default"}):
        with pytest.raises(SealBroken, match="another entity"):
            sealer.open(sealed, context)


def test_no_altered_sealed_text_opens(tmp_path: Path) -> None:
    sealer = LocalSealer(tmp_path / "key")
    sealed = sealer.seal(b"secret", CONTEXT)
    header, _, body = sealed.rpartition(":")
    octets = base64.urlsafe_b64decode(body)
    flipped = [octets[:i] + bytes([octets[i] ^ 1]) + octets[i + 1 :] for i in range(len(octets))]
    altered = [f"{header}:{base64.urlsafe_b64encode(data).decode()}" for data in [*flipped, b"", octets[:20]]]
    altered += [f"{header}:!{body}", body, "", "local:v2" + sealed[8:], "local:v1:0000000000000000:" + body, "\ud800"]
    for text in altered:
        with pytest.raises(SealBroken):
            sealer.open(text, CONTEXT)


def test_same_plaintext_is_never_sealed_to_the_same_text(tmp_path: Path) -> None:
    sealer = LocalSealer(tmp_path / "key")
    assert len({sealer.seal(b"secret", CONTEXT) for _ in range(50)}) == 50


def test_key_file_is_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    LocalSealer(path).seal(b"", {})
    made = path.read_bytes()
    assert (path.stat().st_mode & 0o777, len(made)) == (0o600, 32)
    LocalSealer(path).seal(b"", {})
    assert path.read_bytes() == made
    assert list(tmp_path.iterdir()) == [path]


def test_secret_of_another_key_is_refused_by_name_of_the_file(tmp_path: Path) -> None:
    sealed = LocalSealer(tmp_path / "first").seal(b"secret", CONTEXT)
    second = LocalSealer(tmp_path / "second")
    second.seal(b"", {})
    with pytest.raises(SealBroken, match=r"was not sealed with the key in .*second"):
        second.open(sealed, CONTEXT)


def test_opening_makes_no_key_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileRefused, match="cannot be read"):
        LocalSealer(tmp_path / "key").open("local:v1:x:y", {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_key_file_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "key").write_bytes(b"k" * 32)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(KeyFileRefused, match=rf"is open to others \(mode {mode:04o}\): chmod 600"):
        LocalSealer(tmp_path / "key").seal(b"", {})


@pytest.mark.parametrize("size", [0, 31, 33, 1000])
def test_key_file_of_a_wrong_size_is_refused_without_showing_it(tmp_path: Path, size: int) -> None:
    (tmp_path / "key").write_bytes(b"k" * size)
    (tmp_path / "key").chmod(0o600)
    with pytest.raises(KeyFileRefused, match="does not hold exactly 32 octets") as caught:
        LocalSealer(tmp_path / "key").seal(b"", {})
    assert "kk" not in caught.value.message


def test_repr_and_refusals_hold_no_secret(tmp_path: Path) -> None:
    sealer = LocalSealer(tmp_path / "key")
    sealed = sealer.seal(b"swordfish", CONTEXT)
    key = (tmp_path / "key").read_bytes()
    with pytest.raises(SealBroken) as caught:
        sealer.open(sealed, {})
    for text in (repr(sealer), str(caught.value), sealed):
        assert not any(
            form in text for form in ("swordfish", key.hex(), repr(key)[2:-1], base64.b64encode(key).decode())
        )


def _seal_into(path: Path, start: Barrier, results: "multiprocessing.Queue[str]") -> None:
    start.wait(timeout=30)
    results.put(LocalSealer(path).seal(b"secret", CONTEXT))


def test_processes_that_race_for_the_key_file_share_one_key(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start, results = spawn.Barrier(3), spawn.Queue()
    racers = [spawn.Process(target=_seal_into, args=(tmp_path / "key", start, results)) for _ in range(3)]
    for racer in racers:
        racer.start()
    sealed = [results.get(timeout=30) for _ in racers]
    for racer in racers:
        racer.join(timeout=30)
        racer.close()
    assert [LocalSealer(tmp_path / "key").open(text, CONTEXT) for text in sealed] == [b"secret"] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
