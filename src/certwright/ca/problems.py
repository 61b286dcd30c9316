"""What can go wrong with a certificate authority.

    CaError
    ├── CaProblem       the CA answered with a problem document (RFC 7807, RFC 8555 §6.7)
    └── CaUnavailable   no usable answer: DNS, connection, TLS, time-out, 5xx without a document, garbage

Both carry a `model.Problem` that can be shown, so whoever shows one need not ask which of the two it is.
"""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import requests
from requests.utils import parse_header_links

from certwright.model import Problem

ACME_ERROR = "urn:ietf:params:acme:error:"
UNAVAILABLE = "urn:certwright:unavailable"
"""The type of a problem that we write because the CA could not be reached or had no answer."""
MALFORMED_ANSWER = "urn:certwright:malformed-answer"
"""The type of a problem that we write because the CA's answer makes no sense."""
FOREIGN_URL = "urn:certwright:foreign-url"
"""The type of a problem that we write because the CA sent us to a URL that is not its own."""

NOT_OFFERED = "urn:certwright:not-offered"
"""The type of a problem that we write because the CA's directory lacks what was asked for."""

MAX_RETRY_AFTER = timedelta(days=1)
TRANSIENT_CODES = frozenset({"badNonce", "rateLimited", "serverInternal"})


class CaError(Exception):
    """The root. `problem` tells a person what happened; `retry_after` is when the CA wants to be asked again."""

    def __init__(self, problem: Problem, *, retry_after: datetime | None = None) -> None:
        super().__init__(problem.detail or problem.type)
        self.problem = problem
        self.retry_after = retry_after

    @property
    def is_transient(self) -> bool:
        """Whether the same request may well succeed later."""
        raise NotImplementedError


class CaProblem(CaError):
    """The CA refused, and said why.

    `status` is the HTTP status (the document's own may be missing), `code` the problem's type without ACME's prefix.
    `terms_of_service` is the URL to agree to after userActionRequired (RFC 8555 §7.3.3). `nonce` came with the answer.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        status: int,
        retry_after: datetime | None = None,
        terms_of_service: str | None = None,
        nonce: str | None = None,
    ) -> None:
        super().__init__(problem, retry_after=retry_after)
        self.status = status
        self.terms_of_service = terms_of_service
        self.nonce = nonce

    @property
    def code(self) -> str:
        return self.problem.type.removeprefix(ACME_ERROR)

    @property
    def is_pause(self) -> bool:
        """Whether the CA wants nothing more of the account until a person has followed `problem.link`."""
        return self.code == "rateLimited" and "unpause" in (self.problem.link or "")

    @property
    def is_transient(self) -> bool:
        if self.is_pause:
            return False
        failed = self.status >= 500 and self.status != 501  # What is not implemented will not be in a minute either.
        return failed or self.status == 429 or self.code in TRANSIENT_CODES


class CaUnavailable(CaError):
    """No usable answer came; `detail` says in plain words what happened, and at which host.

    `unheard`: the CA cannot have got the request. Otherwise it may have done what it was asked for.
    """

    def __init__(
        self,
        detail: str,
        *,
        type: str = UNAVAILABLE,
        status: int | None = None,
        retry_after: datetime | None = None,
        unheard: bool = False,
    ) -> None:
        document: dict[str, Any] = {"type": type, "detail": detail}
        if status is not None:
            document["status"] = status
        super().__init__(Problem(document), retry_after=retry_after)
        self.unheard = unheard

    @property
    def is_transient(self) -> bool:
        return True


def malformed_answer(url: str, what: str) -> CaUnavailable:
    """The CA answered at `url`, but not as ACME wants it: `what` says in which way."""
    return CaUnavailable(f"{url} answered garbage: {what}", type=MALFORMED_ANSWER)


def not_offered(what: str) -> CaProblem:
    """The CA's directory has no URL for something that is optional in ACME."""
    detail = f"the CA's directory names no `{what}`: it does not offer this"
    return CaProblem(Problem({"type": NOT_OFFERED, "detail": detail}), status=501)


def parse_retry_after(value: str | None, now: datetime) -> datetime | None:
    """When to ask again, by a Retry-After header in either form (RFC 9110 §10.2.3): from `now` to a day later.

    None where the header is missing or makes no sense.
    """
    if value is None:
        return None
    wait = _parse_wait(value, now)
    return None if wait is None else now + min(max(wait, timedelta()), MAX_RETRY_AFTER)


def _parse_wait(value: str, now: datetime) -> timedelta | None:
    try:
        return timedelta(seconds=min(int(value), MAX_RETRY_AFTER.total_seconds()))
    except (ValueError, OverflowError):
        pass
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)) - now
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def parse_json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object in `body`; None where it holds anything else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def absolute(base_url: str, reference: str) -> str | None:
    """A URL that the CA gave relative to another (RFC 3986 §5); None where it is none."""
    try:
        return urljoin(base_url, reference)
    except ValueError:
        return None


def links(headers: Mapping[str, str], relation: str, base_url: str) -> list[str]:
    """The absolute URLs of all Link headers of one relation (RFC 8288), in the CA's order."""
    found = parse_header_links(headers["Link"]) if "Link" in headers else []
    urls = [absolute(base_url, link["url"]) for link in found if relation in link.get("rel", "").split()]
    return [url for url in urls if url is not None]


def nonce_of(response: requests.Response) -> str | None:
    """The nonce that came with an answer; one that is not base64url must be ignored (RFC 8555 §6.5.1)."""
    nonce = response.headers.get("Replay-Nonce", "")
    return nonce if re.fullmatch(r"[A-Za-z0-9_-]+", nonce) else None


def error_of(response: requests.Response, now: datetime) -> CaError:
    """The error that a response with a status other than 2xx stands for."""
    retry_after = parse_retry_after(response.headers.get("Retry-After"), now)
    url, status = str(response.url), response.status_code
    document = parse_json_object(response.content) if status >= 400 else None
    if document is None:
        detail = f"{url} answered HTTP {status} without saying why"
        return CaUnavailable(detail, status=status, retry_after=retry_after)
    return CaProblem(
        Problem(document),
        status=status,
        retry_after=retry_after,
        terms_of_service=next(iter(links(response.headers, "terms-of-service", url)), None),
        nonce=nonce_of(response),
    )
