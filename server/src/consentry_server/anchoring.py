"""The timestamp authorities and witnesses that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consentry_server.adapters.http.client import HttpClient
from consentry_server.adapters.timestamp.rfc3161 import Rfc3161Authority, load_roots
from consentry_server.adapters.witness.tlog import TlogWitness
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.note import COSIGNATURE_V1, parse_vkey

if TYPE_CHECKING:
    from consentry_server.config import Settings


def authorities(settings: Settings) -> tuple[Rfc3161Authority, ...]:
    """The configured timestamp authorities.

    Raises:
        ConsentryError: ``CONFIGURATION_INVALID``: the roots of one cannot be read.
    """
    web = _web(settings)
    return tuple(Rfc3161Authority(one.name, one.url, load_roots(one.roots), web) for one in settings.anchors.timestamp)


def witnesses(settings: Settings) -> tuple[TlogWitness, ...]:
    """The configured witnesses.

    Raises:
        ConsentryError: ``CONFIGURATION_INVALID``: the vkey of one is none of a witness.
    """
    web = _web(settings)
    made = []
    for one in settings.anchors.witness:
        try:
            key = parse_vkey(one.vkey)
        except LedgerError as error:
            raise _bad_witness(one.name, error.message) from error
        if key.signature_type != COSIGNATURE_V1:
            raise _bad_witness(one.name, "it is not of type 0x04")
        made.append(TlogWitness(one.name, one.url, key, web))
    return tuple(made)


def _web(settings: Settings) -> HttpClient:
    return HttpClient(
        answer_seconds=settings.anchors.answer_seconds, max_answer_bytes=settings.anchors.max_answer_bytes
    )


def _bad_witness(name: str, problem: str) -> ConsentryError:
    return ConsentryError(
        Reason.CONFIGURATION_INVALID,
        f"the vkey of witness {name} cannot be used ({problem}): ask its operator for the one it cosigns with",
        field="anchors.witness",
    )
