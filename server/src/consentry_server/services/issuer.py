"""What a tenant signs and the blind indexes it makes, under its ledger's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentry_server.core import permit as permits
from consentry_server.core.signed import sign_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from consentry_server.core.permit import Permit
    from consentry_server.services.keys import Keys

PHOTO_REF_BYTES = 16
RECEIPT_TYPE = "consent-receipt+jwt"
CERTIFICATE_TYPE = "destruction-certificate+jwt"


class Issuer:
    """Signs permits, receipts and certificates for one tenant.

    Args:
        ledger: The ledger's origin: the issuer's name.
        keys: The tenant's keys, started.
    """

    def __init__(self, *, ledger: str, keys: Keys) -> None:
        self.ledger = ledger
        self._keys = keys

    def blind(self, domain: str, value: str) -> bytes:
        """A keyed hash of a caller's value, 32 bytes; see ``LookupKey.index``."""
        return self._keys.lookup_key.index(domain, value)

    def blind_photo(self, sha256: bytes) -> str:
        """The keyed hash that stands for a photo's SHA-256 in entries: 16 bytes in hex."""
        return self.blind("photo", sha256.hex())[:PHOTO_REF_BYTES].hex()

    def sign_permit(self, permit: Permit) -> str:
        """Sign a permit."""
        key = self._keys.permit_key
        return permits.sign(permit, key.private, key.key_id)

    def verify_permit(self, token: str, audience: str, now: datetime) -> Permit:
        """Check a permit's signature, issuer, audience and time.

        Raises:
            ConsentryError: ``PERMIT_INVALID`` or ``PERMIT_EXPIRED``.
        """
        key = self._keys.permit_key
        return permits.verify(token, {key.key_id: key.public}, self.ledger, audience, now)

    def sign_receipt(self, claims: Mapping[str, Any]) -> str:
        """Sign a consent receipt."""
        return self._sign(claims, RECEIPT_TYPE)

    def sign_certificate(self, claims: Mapping[str, Any]) -> str:
        """Sign a destruction certificate."""
        return self._sign(claims, CERTIFICATE_TYPE)

    def _sign(self, claims: Mapping[str, Any], kind: str) -> str:
        key = self._keys.permit_key
        return sign_document(claims, key.private, key.key_id, kind)
