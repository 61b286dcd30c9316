"""What never changes of an entity that does, kept in items of its own.

An entity is written anew with each step, and DynamoDB charges for its size: an order is to stay below 1 KB.

pk                sk        what
{tenant}#request  order id  what an order asks for: the CSR, and the sealed key that it is for where that is ours
pem#{digest}      pem       one certificate of a chain, as the CA sent it; an issuer's is there once for all of its

Parts are written before what they belong to, and do no harm where that never follows.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from certwright.model import Certificate, Order
from certwright.table import Item, Key, Put, Value

Parts = Mapping[Key, Item | None]
"""The items of parts that were read, by key."""

REQUEST = frozenset({"csr", "sealed_key"})
CHAINS = frozenset({"chain", "alternate_chains"})
_PEM = re.compile(r".*?-----END CERTIFICATE-----\s*|.+", re.DOTALL)


def request_key(tenant: str, order_id: str) -> Key:
    return f"{tenant}#request", order_id


def request_put(order: Order) -> Put:
    kept = {name: value for name in sorted(REQUEST) if (value := getattr(order, name)) is not None}
    return Put(Item(*request_key(order.tenant, order.id), kept), unconditional=True, apart=True)


def pem_puts(certificate: Certificate) -> Iterator[Put]:
    """The certificates of all its chains, each once."""
    chains = (certificate.chain, *certificate.alternate_chains)
    for digest, pem in {_digest(pem): pem for chain in chains for pem in _PEM.findall(chain)}.items():
        yield Put(Item(*_pem_key(digest), {"pem": pem}), unconditional=True, apart=True)


def issuer_keys(certificate: Certificate) -> list[Key]:
    """Where the certificates are that it shares with others: all but the leaf."""
    chains = (certificate.chain, *certificate.alternate_chains)
    return [_pem_key(digest) for chain in chains for digest in _digests(chain)[1:]]


def chains(certificate: Certificate) -> dict[str, Value]:
    """How a certificate's own item names its chains."""
    alternates = [_digests(chain) for chain in certificate.alternate_chains]
    return {"chain": _digests(certificate.chain), **({"alternate_chains": alternates} if alternates else {})}


def pem_keys(attributes: Mapping[str, Any]) -> list[Key]:
    """Where the chains are that an item of a certificate names."""
    named = [attributes["chain"], *attributes.get("alternate_chains", ())]
    return list(dict.fromkeys(_pem_key(digest) for digests in named for digest in digests))


def request_fields(item: Item, tenant: str, parts: Parts) -> dict[str, Any]:
    """The fields of an order that its parts hold; without them, those of one that was not read whole."""
    request = parts.get(request_key(tenant, item.sk))
    kept: dict[str, Any] = {"csr": "", **(request.attributes if request else {})}
    if item.attributes["status"] == "valid":
        kept["sealed_key"] = None  # It is the certificate's now.
    return kept


def chain_fields(attributes: Mapping[str, Any], parts: Parts) -> dict[str, Any]:
    """The fields of a certificate that its parts hold; without them, those of one that was not read whole."""

    def chain(digests: Iterable[str]) -> str:
        found = (parts.get(_pem_key(digest)) for digest in digests)
        return "".join(str(item.attributes["pem"]) for item in found if item)

    alternates = tuple(chain(digests) for digests in attributes.get("alternate_chains", ()))
    return {"chain": chain(attributes["chain"]), "alternate_chains": alternates}


def _digests(chain: str) -> list[str]:
    return [_digest(pem) for pem in _PEM.findall(chain)]


def _digest(pem: str) -> str:
    return hashlib.sha256(pem.encode()).hexdigest()[:32]


def _pem_key(digest: str) -> Key:
    return f"pem#{digest}", "pem"
