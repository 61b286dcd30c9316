"""An OpenID Connect provider on loopback that signs everybody in: authorization code with PKCE (RFC 7636), and CORS."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.issuer import Issuer, base64url, jwk

CODE = "the-code"


class Provider(Issuer):
    """`client_id` is its public client; `role` what its tokens give, and `lifetime` seconds how long."""

    client_id = "certwright-console"

    def __init__(self, role: str = "admin", lifetime: int = 600) -> None:
        super().__init__()
        self.role = role
        self.lifetime = lifetime
        self.refuses = False
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.keys = [jwk(self._key)]
        self._asked: dict[str, str] = {}
        endpoints = {"authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token"}
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **endpoints}
        self.answers["/.well-known/openid-configuration"] = self.answer_of(document)

    @staticmethod
    def answer_of(document: object) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, json.dumps(document).encode()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        if not path.startswith("/authorize?"):
            return super().answer(path)
        self._asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        outcome = {"error": "access_denied"} if self.refuses else {"code": CODE}
        back = f"{self._asked['redirect_uri']}?{urlencode(outcome | {'state': self._asked['state']})}"
        return 302, {"Location": back}, b""

    def take(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """The token endpoint; whoever does not know the verifier of the code's challenge gets nothing."""
        given = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        expected = {"code": CODE, "client_id": self.client_id, "grant_type": "authorization_code"}
        proof = base64url(hashlib.sha256(given.get("code_verifier", "").encode()).digest())
        is_proved = proof == self._asked.get("code_challenge") and self._asked["code_challenge_method"] == "S256"
        is_right = path == "/token" and is_proved and all(given.get(name) == value for name, value in expected.items())
        cors = {"Access-Control-Allow-Origin": "*", "Content-Type": "application/json"}
        if not is_right:
            return 400, cors, b'{"error": "invalid_grant"}'
        now = int(datetime.now(UTC).timestamp())
        claims: dict[str, Any] = {"iat": now, "exp": now + self.lifetime, "aud": self.client_id, "role": self.role}
        token = self.token(self._key, "ES256", **claims, tenant="default", email="jo@example.com")
        return 200, cors, json.dumps({"id_token": token, "token_type": "Bearer"}).encode()
