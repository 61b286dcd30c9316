"""Any other way to answer challenges: a signed POST to a program of the user's. The scheme is in docs/automation.md."""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from certwright.challenges.preparation import DnsRecord, HttpFile
from certwright.challenges.solver import SolverFailed
from certwright.challenges.web import Answer, Unreached, Url, Web

SECONDS = 20
"""What a hook has for its answer."""

_LATER = (408, 425, 429)
_MAX_REASON = 200


class HttpHook:
    """Tells `url` what to put in place, and what to remove. Every 2xx is a yes; both actions must bear a repeat.

    A request is sent once: whoever called repeats it, and the receiver cannot tell a repeat from the first.
    """

    def __init__(self, url: Url, secret: str, web: Web, clock: Callable[[], datetime]) -> None:
        self._url = url
        self._secret = secret.encode()
        self._web = web
        self._clock = clock

    def present(self, prepared: DnsRecord | HttpFile) -> None:
        self._tell("present", prepared)

    def clean_up(self, prepared: DnsRecord | HttpFile) -> None:
        self._tell("clean_up", prepared)

    def _tell(self, action: str, prepared: DnsRecord | HttpFile) -> None:
        body = json.dumps({"action": action, **described(prepared)}).encode()
        timestamp = str(int(self._clock().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "Certwright-Timestamp": timestamp,
            "Certwright-Signature": "v1=" + signature(self._secret, timestamp, body),
        }
        try:
            answer = self._web.post(self._url, body, headers, seconds=SECONDS)
        except Unreached as unreached:
            raise SolverFailed(f"the hook {unreached}", lasting=unreached.lasting) from unreached
        if not 200 <= answer.status < 300:
            lasting = 300 <= answer.status < 500 and answer.status not in _LATER
            raise SolverFailed(f"the hook {self._url.place} {_refusal(answer)}", lasting=lasting)


def described(prepared: DnsRecord | HttpFile) -> dict[str, Any]:
    """What the body says besides the action: `challenge`, and the fields of the record or the file."""
    return {"challenge": "dns-01" if isinstance(prepared, DnsRecord) else "http-01", **asdict(prepared)}


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Hexadecimal HMAC-SHA256 of the timestamp, a full stop and the body."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _refusal(answer: Answer) -> str:
    """The status, and the `error` of a JSON answer: nothing else of a body is shown, as it may be anybody's."""
    if 300 <= answer.status < 400:
        return f"answered with status {answer.status}; redirects are not followed: give the final URL"
    try:
        reason = json.loads(answer.body)["error"]
    except (ValueError, LookupError, TypeError):
        reason = None
    told = f": {reason[:_MAX_REASON]}" if isinstance(reason, str) and reason.isprintable() else ""
    return f"answered with status {answer.status}{told}"
