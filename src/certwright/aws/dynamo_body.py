"""The attributes of an item as one binary: what DynamoDB charges for is the size, and most of ours would be names.

JSON, deflated (RFC 1951) with a preset dictionary of what nearly every item of ours holds. The first octet names the
dictionary. One that anything was ever stored with stays as it is: what was deflated with it opens with no other.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

from certwright.table import Value

_FORMAT = b"\x01"
_RAW = -15
"""`wbits` of a stream without header and checksum; DynamoDB checks what it stores."""

DICTIONARIES = {
    _FORMAT: (
        # What deflate finds near the end costs the least: rare things first, the shapes of items last.
        b'"sealed_binding":"sealed_next_key":"terms_of_service_agreed":true,"attempts":"due":"key_type":"rsa-2048","'
        b'ec-p384","profile":"tlsserver","shortlived","classic","error":"{\\"type\\":\\"urn:ietf:params:acme:error:'
        b'unauthorized\\",\\"detail\\":\\"\\",\\"status\\":403,\\"subproblems\\":\\"identifier\\":"rateLimited"dns'
        b'"connection""malformed""incorrectResponse","until":"problem":"reason":"operation":"code":"OperationFailed"'
        b'"OperationDenied""SignInRefused""TokenCreated""TokenRevoked""PrivateKeyExported""AccountUpdated""AccountDelayed"'
        b'"AccountRefused""AccountDeactivated","contact":[],"CertificateRevoked""OrderCancelled""OrderFailed"'
        b'"ChallengeFailed","outcome":"failed","outcome":"denied","invalid","deactivated","revoked","renewal":{"at":'
        b'"source":"ari","lifetime","window_start":"window_end":"check_at":"presentations":[{"provider_id":"record":'
        b'"_acme-challenge.","value":"state":"presented","visible","since":"servers":[{"name":"address":"agrees":true,'
        b'"answer":"preferred_chain":"fallbacks":["solver":"manual","replaces":"replaced_by":"warned":'
        b'"email":"mailto:admin@example.com","key_thumbprint":"role":"OPERATOR","name":"secret_hash":'
        b'"created_at":"updated_at":17"sealed_key":"kms:v1:"sealed_key":"local:v1:'
        b'"url":"https://acme-staging-v02.api.letsencrypt.org/acme/acct/https://acme.zerossl.com/v2/DV90'
        b"https://dv.acme-v02.api.pki.goog/directory-----END CERTIFICATE-----\\n-----BEGIN CERTIFICATE-----\\nMIID"
        b"-----BEGIN CERTIFICATE REQUEST-----\\nMIHhMIGJAgEAMAAwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAA"
        b"oCcwJQYJKoZIhvcNAQkOMRgwFjAUBgNVHREEDTALggl\\n-----END CERTIFICATE REQUEST-----\\n"
        b'"AccountCreated","AccountRegistered","detail":"email: "detail":"url: https://127.0.0.1:14000/my-account/'
        b'; names: ; serial: ; not after: 20-00T00:00:00+00:00","detail":"order id: ","facts":{"not_after":"20'
        b'"names":["www.example.com"],"order_id":"01M","serial":"issuer":"CN=R12,O=Let\'s Encrypt,C=US","not_before":17'
        b'"not_after":17"fingerprint_sha256":"chain":["alternate_chains":[["'
        b'"challenge_id":"; identifier: www.example.com; challenge type: http-01dns-01; challenge id: 01M'
        b"; account id: 01M; certificate id: 01M; url: https://acme-v02.api.letsencrypt.org/acme/order/"
        b"https://acme-v02.api.letsencrypt.org/acme/authz/https://acme-v02.api.letsencrypt.org/acme/chall/"
        b"https://acme-v02.api.letsencrypt.org/acme/finalize/https://acme-v02.api.letsencrypt.org/directory"
        b"https://127.0.0.1:14000/my-order/https://127.0.0.1:14000/finalize-order/https://127.0.0.1:14000/authZ/"
        b"https://127.0.0.1:14000/chalZ/https://127.0.0.1:14000/certZ/https://127.0.0.1:14000/dir"
        b'{"content":"."},{"id":"","digest":"'
        b'"created_at":17,"updated_at":17,"account_id":"01M","acme_server":"https://","domains":["www.'
        b'"status":"new","status":"ready","status":"processing","finalize_url":"https://","certificate_url":"https://'
        b'","certificate_id":"01M","expires":17,"fetched_at":17,"authorizations":[{"url":"https://","identifier":"'
        b'"status":"pending","expires":17,"challenges":[{"id":"01M-0","type":"tls-alpn-01","url":"https://'
        b'","status":"pending","token":"},{"id":"01M-1","type":"dns-01","url":"https://","status":"pending","token":"'
        b'"},{"id":"01M-2","type":"http-01","url":"https://","status":"valid","token":"","validated_at":17000000,'
        b'"responded":true,"sent":true}],"status":"valid","wildcard":true,"fetched":false,'
        b'{"committed":"certificate","committed":"account","committed":"token","records":[{"id":"01M","at":17'
        b'"type":"CertificateIssued","type":"OrderFulfilled","facts":{"account_id":"01M","certificate_id":"01M"},'
        b'"type":"OrderReady","type":"OrderFinalized","type":"OrderPlaced","type":"OrderCreated","profile":null},'
        b'"type":"ChallengeValidated","type":"ChallengeResponded","type":"ChallengesViewed","actor":"token:operator",'
        b'"facts":{"account_id":"01M","challenge_id":"01M-2","identifier":"","challenge_type":"http-01"},"request_id":"'
        b'","source_ip":"203.0.113.9","actor":"certwright","outcome":"succeeded","hash":"0123456789abcdef",'
        b'"subject_id":"01M","detail":"account id: 01M","facts":{"account_id":"01M"},"previous_hash":"'
    )
}


def deflate(attributes: Mapping[str, Value]) -> bytes:
    """The body that holds `attributes`."""
    text = json.dumps(attributes, separators=(",", ":"), ensure_ascii=False).encode()
    compressor = zlib.compressobj(9, zlib.DEFLATED, _RAW, zdict=DICTIONARIES[_FORMAT])
    return _FORMAT + compressor.compress(text) + compressor.flush()


def inflate(body: bytes) -> dict[str, Any]:
    """The attributes in a body. Raises ValueError for a body that is none."""
    try:
        decompressor = zlib.decompressobj(_RAW, zdict=DICTIONARIES[body[:1]])
        return dict(json.loads(decompressor.decompress(body[1:]) + decompressor.flush()))
    except (KeyError, ValueError, zlib.error) as error:
        raise ValueError("the body of an item is damaged, or from a newer Certwright") from error
