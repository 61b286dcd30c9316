"""Where the console sends users to sign in: the OpenID Connect provider's endpoints, by its discovery document."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from certwright.config import Settings
from certwright.oidc import fetch

LIFETIME = timedelta(hours=1)
PAUSE = timedelta(minutes=1)


@dataclass(frozen=True)
class Provider:
    """What a public client needs for an authorization code with PKCE (RFC 7636).

    `token` is which of the provider's tokens the API takes: `id_token` or `access_token`.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    client_id: str
    scope: str
    token: str


class Discovery:
    """Asks the issuer when it is first needed, hourly, and once a minute while it does not answer. For any thread."""

    def __init__(
        self, settings: Settings, clock: Callable[[], datetime], fetch: Callable[[str], bytes] = fetch
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._fetch = fetch
        self._lock = threading.Lock()
        self._found: Provider | None = None
        self._ask_again: datetime | None = None

    def __call__(self) -> Provider | None:
        """None where no issuer or no client id is set, or the issuer never answered: tokens are taken all the same."""
        if not (self._settings.oidc_issuer and self._settings.oidc_client_id):
            return None
        with self._lock:
            now = self._clock()
            if self._ask_again is None or now >= self._ask_again:
                asked = self._ask()
                self._found = asked or self._found
                self._ask_again = now + (LIFETIME if asked else PAUSE)
            return self._found

    def _ask(self) -> Provider | None:
        """OpenID Connect Discovery 1.0 §4; None when the issuer is down or answers anything else."""
        settings = self._settings
        try:
            document = json.loads(self._fetch(settings.oidc_issuer.rstrip("/") + "/.well-known/openid-configuration"))
            if document["issuer"] != settings.oidc_issuer:
                return None
            return Provider(
                issuer=settings.oidc_issuer,
                authorization_endpoint=_url(document["authorization_endpoint"], settings.oidc_issuer),
                token_endpoint=_url(document["token_endpoint"], settings.oidc_issuer),
                client_id=settings.oidc_client_id,
                scope=settings.oidc_scope,
                # An ID token is for the client itself (OpenID Connect Core §2), an access token for another audience.
                token="id_token" if settings.oidc_audience == settings.oidc_client_id else "access_token",
            )
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None


def _url(text: object, issuer: str) -> str:
    """An https URL, or one as the issuer's on loopback. It goes into a Content-Security-Policy. Raises ValueError."""
    schemes = ("https://",) if issuer.startswith("https://") else ("https://", "http://")
    if not isinstance(text, str) or not text.startswith(schemes) or set(text) & set("; ,'\"\n\r\t"):
        raise ValueError("no URL")
    return text
