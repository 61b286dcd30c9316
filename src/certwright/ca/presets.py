"""Public certificate authorities that anyone can use by ACME, as of 2026.

Left out: Buypass (ended ACME in 2025), and CAs whose directory differs from customer to customer (DigiCert).
"""

from dataclasses import dataclass

from certwright.ca.limits import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Limit


@dataclass(frozen=True)
class Preset:
    """A CA's directory. `staging` CAs issue certificates that nobody trusts.

    `external_account_required`: an account needs a key id and an HMAC key from the CA's own site (RFC 8555 §7.3.4).
    `limits` are those that it publishes.
    """

    name: str
    url: str
    staging: bool = False
    external_account_required: bool = False
    limits: tuple[Limit, ...] = ()


PRESETS = (
    Preset("Let's Encrypt", "https://acme-v02.api.letsencrypt.org/directory", limits=LETS_ENCRYPT),
    Preset(
        "Let's Encrypt Staging",
        "https://acme-staging-v02.api.letsencrypt.org/directory",
        staging=True,
        limits=LETS_ENCRYPT_STAGING,
    ),
    Preset("ZeroSSL", "https://acme.zerossl.com/v2/DV90", external_account_required=True),
    Preset("Google Trust Services", "https://dv.acme-v02.api.pki.goog/directory", external_account_required=True),
    Preset(
        "Google Trust Services Staging",
        "https://dv.acme-v02.test-api.pki.goog/directory",
        staging=True,
        external_account_required=True,
    ),
    Preset("SSL.com RSA", "https://acme.ssl.com/sslcom-dv-rsa", external_account_required=True),
    Preset("SSL.com ECC", "https://acme.ssl.com/sslcom-dv-ecc", external_account_required=True),
    Preset("Actalis", "https://acme-api.actalis.com/acme/directory", external_account_required=True),
    Preset("Sectigo DV", "https://acme.sectigo.com/v2/DV", external_account_required=True),
    Preset("GlobalSign Atlas", "https://emea.acme.atlas.globalsign.com/directory", external_account_required=True),
)
