"""What the servicers reach: one tenant's services, wired by ``tenant.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from consentry_server.services.activation import Activation
    from consentry_server.services.anchors import Anchors
    from consentry_server.services.audit import Audit
    from consentry_server.services.checkpoints import Checkpoints
    from consentry_server.services.coverage import Coverage
    from consentry_server.services.derived import Derived
    from consentry_server.services.ends import Ends
    from consentry_server.services.enforcement import Enforcement
    from consentry_server.services.evidence import Evidence
    from consentry_server.services.explaining import Explaining
    from consentry_server.services.gate import Gate
    from consentry_server.services.identifiers import Identifiers
    from consentry_server.services.notice_diff import NoticeDiffs
    from consentry_server.services.notices import Notices
    from consentry_server.services.people import People
    from consentry_server.services.photos import Photos
    from consentry_server.services.posture import Postures
    from consentry_server.services.registry import Registry
    from consentry_server.services.rehearsal import Rehearsal
    from consentry_server.services.releases import Releases
    from consentry_server.services.replaying import Replaying
    from consentry_server.services.retention import Retention
    from consentry_server.services.reviews import Reviews
    from consentry_server.services.rotation import Rotation
    from consentry_server.services.sequencer import Sequencer
    from consentry_server.services.statements import Statements


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant's services."""

    gate: Gate
    notices: Notices
    notice_diffs: NoticeDiffs
    releases: Releases
    registry: Registry
    photos: Photos
    identifiers: Identifiers
    retention: Retention
    audit: Audit
    coverage: Coverage
    checkpoints: Checkpoints
    evidence: Evidence
    people: People
    sequencer: Sequencer
    rotation: Rotation
    anchors: Anchors
    derived: Derived
    ends: Ends
    activation: Activation
    reviews: Reviews
    statements: Statements
    enforcement: Enforcement
    postures: Postures
    rehearsal: Rehearsal
    explaining: Explaining
    replaying: Replaying
