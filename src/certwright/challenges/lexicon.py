"""dns-01 by the some eighty providers that dns-lexicon knows: an optional extra, `certwright[lexicon]`.

Its own client would guess a name's zone with a list that it loads from the internet. So its providers are called
directly, with the zone that holds the record. They ask whatever address their options name, and without time-outs of
their own: where Certwright has this extra, those who may configure providers are to be trusted with that.
"""

import argparse
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from lexicon._private.discovery import find_providers, load_provider_module
from lexicon.config import ConfigResolver

from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.solver import SolverFailed, dns_record
from certwright.errors import InvalidInput

SECONDS = 60
"""What a provider has for all the requests that one record takes."""

_ELSEWHERE = {
    "ddns": "use the kind rfc2136",
    "route53": "use the kind route53",
    "auto": "name the provider itself",
    "localzone": "it writes to a file of this machine",
}
_MAX_REASON = 200


def parse_options(provider: str, text: str) -> dict[str, str]:
    """The options of a provider, from lines (or words) NAME=VALUE; names as lexicon's command line has them.

    Raises InvalidInput for an unknown provider (field `provider`), and for unknown options or values that name a file
    of this machine (field `options`).
    """
    known = _known_options(provider)
    options: dict[str, str] = {}
    for part in text.split("\n") if "\n" in text.strip() else text.split():
        name, equals, value = part.strip().partition("=")
        key = name.strip().removeprefix("--").replace("-", "_")
        if not part.strip():
            continue
        if not equals or key not in known:
            listed = ", ".join(f"{option.replace('_', '-')}=…" for option in known)
            raise InvalidInput(f"{provider} has no option that begins so: give {listed}", field="options")
        if value.startswith("file::") or (value and os.path.exists(value)):
            raise InvalidInput(f"the option {name} names a file: give its content itself", field="options")
        options[key] = value.strip()
    return options


def _known_options(provider: str) -> list[str]:
    available = find_providers()
    if provider in _ELSEWHERE:
        raise InvalidInput(f"the provider {provider} is not for this: {_ELSEWHERE[provider]}", field="provider")
    if provider not in available:
        names = ", ".join(name for name in available if name not in _ELSEWHERE)
        raise InvalidInput(f"lexicon knows no provider {provider[:80]!r}; it knows {names}", field="provider")
    if not available[provider]:
        raise InvalidInput(
            f"the provider {provider} needs packages that are not installed: dns-lexicon[{provider}]", field="provider"
        )
    parser = argparse.ArgumentParser(add_help=False)
    load_provider_module(provider).Provider.configure_parser(parser)
    return [action.dest for action in parser._actions]


class Lexicon:
    """One provider with its options; `zone_of` tells the zone of a record, where `zone` does not."""

    def __init__(self, provider: str, options: Mapping[str, str], zone: str, zone_of: Callable[[str], str]) -> None:
        self._provider = provider
        self._options = dict(options)
        self._zone = zone
        self._zone_of = zone_of

    def present(self, prepared: DnsRecord | HttpFile) -> None:
        record = dns_record(prepared)
        name, value = record.name, record.value
        self._run(record, lambda provider: provider.create_record("TXT", name, value))

    def clean_up(self, prepared: DnsRecord | HttpFile) -> None:
        record = dns_record(prepared)
        name, value = record.name, record.value
        self._run(record, lambda provider: provider.delete_record(None, "TXT", name, value))

    def _run(self, record: DnsRecord, act: Callable[[Any], object]) -> None:
        zone = self._zone or self._zone_of(record.name)
        if not f".{record.name}".endswith(f".{zone}"):
            raise SolverFailed(f"{record.name} is not in the zone {zone}", lasting=True)
        failures: list[Exception] = []
        # A thread of its own, as a provider that hangs cannot be ended otherwise; it must not keep us from ending.
        thread = threading.Thread(target=self._act, args=(zone, record, act, failures), daemon=True)
        thread.start()
        thread.join(SECONDS)
        if thread.is_alive():
            raise SolverFailed(f"{self._provider} did not end within {SECONDS} s")
        if failures:
            raise SolverFailed(self._reason(failures[0]), lasting=_status(failures[0]) in (401, 403)) from None

    def _act(self, zone: str, record: DnsRecord, act: Callable[[Any], object], failures: list[Exception]) -> None:
        settings = {
            "provider_name": self._provider,
            "domain": zone,
            "type": "TXT",
            "name": record.name,
            "content": record.value,
            "ttl": record.ttl,
            self._provider: self._options,
        }
        try:
            config = ConfigResolver().with_dict(settings)  # type: ignore[no-untyped-call]  # lexicon left it out
            provider = load_provider_module(self._provider).Provider(config)
            provider.authenticate()
            try:
                if act(provider) is False:
                    raise RuntimeError("it said no, without a reason")
            finally:
                provider.cleanup()
        except Exception as error:  # noqa: BLE001  ninety modules by as many hands: they raise whatever they like
            failures.append(error)

    def _reason(self, error: Exception) -> str:
        """What went wrong, without what the options hold; of an HTTP error the status alone, as its text has URLs."""
        status = _status(error)
        if status is not None:
            return f"{self._provider} answered with status {status}"
        told = str(error)
        for secret in self._secrets():
            told = told.replace(secret, "…")
        if type(error).__module__.startswith(("requests", "urllib3")):
            told = ""
        told = "".join(c for c in told if c.isprintable())[:_MAX_REASON]
        return f"{self._provider} failed: {told or type(error).__name__}"

    def _secrets(self) -> Iterator[str]:
        for value in self._options.values():
            if value:
                yield value
                yield quote(value, safe="")


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None
