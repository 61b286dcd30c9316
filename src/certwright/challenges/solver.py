"""What answers challenges: two verbs, and the settings that each kind of solver wants."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.errors import CertwrightError


class Solver(Protocol):
    """Puts in place what a challenge asks for. Both verbs may be repeated, and raise SolverFailed.

    A DnsRecord is added and removed by its value: other values of the same name stay (RFC 8555 §8.4). Its `name` is
    where it is written: delegation by CNAME was followed before.
    """

    def present(self, prepared: DnsRecord | HttpFile) -> None: ...

    def clean_up(self, prepared: DnsRecord | HttpFile) -> None: ...


class SolverFailed(CertwrightError):
    """A provider refused, or could not be reached. The message holds no secret; `lasting` where a repeat is in vain."""

    code = "PROVIDER_ERROR"

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


def dns_record(prepared: DnsRecord | HttpFile) -> DnsRecord:
    """What a solver of dns-01 was given. Raises SolverFailed for a file: it cannot do with one."""
    if not isinstance(prepared, DnsRecord):
        raise SolverFailed("this provider answers dns-01 only, and was given an http-01 file", lasting=True)
    return prepared


@dataclass(frozen=True)
class KindSetting:
    """One setting of a kind of solver. A `secret` is never shown again; a `multiline` one may have several lines."""

    name: str
    meaning: str
    secret: bool = False
    required: bool = True
    default: str = ""
    multiline: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind of solver: the challenge type that it answers, its settings, and how one is made of them.

    `make` raises InvalidInput, naming the setting, for what cannot be meant. It does not reach out to anybody.
    """

    name: str
    title: str
    challenge_type: str
    settings: tuple[KindSetting, ...]
    make: Callable[[Mapping[str, str]], Solver]
