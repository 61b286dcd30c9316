"""A certificate's chains as GraphQL shows them."""

from datetime import datetime
from typing import TYPE_CHECKING

import strawberry
from strawberry import ID

from certwright.api.context import Info

if TYPE_CHECKING:
    from certwright import chains


@strawberry.type(description="One certificate of a chain; names are RFC 4514 strings.")
class ChainCertificate:
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint_sha256: str
    pem: str

    @classmethod
    def of(cls, certificate: "chains.ChainCertificate") -> "ChainCertificate":
        return cls(
            subject=certificate.subject,
            issuer=certificate.issuer,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            fingerprint_sha256=certificate.fingerprint_sha256,
            pem=certificate.pem,
        )


@strawberry.type
class ChainQueries:
    @strawberry.field(
        description="A certificate's chain taken apart, leaf first; then the same of its alternate chains."
    )
    async def certificate_chains(self, info: Info, certificate_id: ID) -> list[list[ChainCertificate]]:
        context = info.context
        found = await context.read(context.api.reader.chains, context.actor, certificate_id)
        return [[ChainCertificate.of(certificate) for certificate in chain] for chain in found]
