"""The law as data: packs in, a request and what is known in, a decision with reasons out."""

from consentry_server.core.law.casebook import CaseResult, run_cases
from consentry_server.core.law.decide import decide
from consentry_server.core.law.model import (
    Decision,
    FaceDecision,
    Finding,
    Obligation,
    ObligationKind,
    ReasonGiven,
)
from consentry_server.core.law.pack import Pack
from consentry_server.core.law.pack import load as load_pack
from consentry_server.core.law.situation import policy_in_force, regions_of

__all__ = [
    "CaseResult",
    "Decision",
    "FaceDecision",
    "Finding",
    "Obligation",
    "ObligationKind",
    "Pack",
    "ReasonGiven",
    "decide",
    "load_pack",
    "policy_in_force",
    "regions_of",
    "run_cases",
]
