"""Verify an exported ledger in a test's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from consentry_server.core.ledger import verify as verifier
from consentry_server.core.ledger.evidence import Evidence
from consentry_server.core.ledger.note import VerifierKey
from consentry_server.core.ledger.report import Report


def verify(
    read: Callable[[str], bytes | None],
    key: VerifierKey,
    *,
    cosigners: tuple[VerifierKey, ...] = (),
    paths: Iterable[str] = (),
) -> Report:
    """What the command finds, here and at once."""
    return verifier.verify(read, key, secret=bytes(16), evidence=Evidence(cosigners=cosigners), paths=paths)
