"""A small model, looked at completely: every sequence of up to five events, with the clock moving.

The model keeps its own idea of whether a release is live, event by event, and compares it with the decision after
every sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import product

import pytest

from consentry_server.core.record.facts import (
    Delivery,
    Determination,
    Face,
    Notice,
    OperationRequest,
    Release,
    RetentionPolicy,
    SatisfiedPurpose,
    Term,
)
from consentry_server.core.vocabulary import DataCategory, DeterminationKind, KnownBy, Operation, Outcome, Purpose
from tests.unit.law.worlds import (
    ILLINOIS,
    NOW,
    PERMITS,
    ask,
    days,
    make_delivery,
    make_determination,
    make_notice,
    make_policy,
    make_release,
    make_request,
    make_subject,
    make_tenant,
)

EVENTS = ("NOTICE", "DELIVERY", "RELEASE", "WITHDRAW", "TIME", "SATISFIED", "POLICY", "EXEMPT")
RELEASE_LIVES = days(100)
NOTICE_TERM = days(150)
LONG = days(101)

BIOMETRIC = (
    make_request(Operation.EXTRACT_TEMPLATE),
    make_request(Operation.STORE, category=DataCategory.FACE_TEMPLATE),
    make_request(Operation.IDENTIFY, category=DataCategory.FACE_TEMPLATE),
    make_request(Operation.DETECT_FACES, stored=False),
)


@dataclass
class Model:
    """The facts as the ledger would hold them, and beside them what the model thinks of them."""

    now: datetime = NOW
    index: int = 0
    notices: list[Notice] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    policies: list[RetentionPolicy] = field(default_factory=list)
    determinations: list[Determination] = field(default_factory=list)
    satisfied: tuple[SatisfiedPurpose, ...] = ()
    live_until: datetime | None = None

    def apply(self, event: str) -> None:
        self.index += 1
        self.now += timedelta(hours=1)
        if event == "NOTICE":
            version = len(self.notices) + 1
            self.notices.append(
                make_notice(version=version, index=self.index, effective_time=self.now, term=Term(duration=NOTICE_TERM))
            )
        elif event == "DELIVERY":
            self.deliveries.append(
                make_delivery(
                    delivery_id=f"dlv_{self.index}",
                    index=self.index,
                    time=self.now,
                    occurred_at=self.now,
                    notice_version=max(len(self.notices), 1),
                    notice_id="notice" if self.notices else "unpublished",
                )
            )
        elif event == "RELEASE":
            told = self.deliveries[-1] if self.deliveries else None
            self.releases.append(
                make_release(
                    release_id=f"rel_{self.index}",
                    index=self.index,
                    time=self.now,
                    signed_at=self.now,
                    delivery_id=told.delivery_id if told else "dlv_none",
                    notice_id=told.notice_id if told else "notice",
                    notice_version=told.notice_version if told else 1,
                    expires_at=self.now + RELEASE_LIVES,
                )
            )
            if told is not None and told.notice_id == "notice":
                self.live_until = self.now + min(RELEASE_LIVES, NOTICE_TERM)
        elif event == "WITHDRAW":
            self.releases = [replace(r, withdrawn_at=self.now, withdrawn_index=self.index) for r in self.releases]
            self.live_until = None
        elif event == "TIME":
            self.now += LONG
        elif event == "SATISFIED":
            self.satisfied += (SatisfiedPurpose(Purpose.TAGGING, self.index, self.now),)
            self.live_until = None
        elif event == "POLICY":
            self.policies.append(make_policy(version=len(self.policies) + 1, index=self.index, effective_time=self.now))
        elif event == "EXEMPT":
            self.determinations = [
                make_determination(
                    DeterminationKind.GLBA_TITLE_V,
                    index=self.index,
                    time=self.now,
                    expires_at=self.now + RELEASE_LIVES,
                    approved_index=self.index,
                )
            ]

    @property
    def has_live_release(self) -> bool:
        return self.live_until is not None and self.now < self.live_until

    @property
    def is_exempt(self) -> bool:
        return any(d.expires_at > self.now for d in self.determinations)

    def decide(self, request: OperationRequest) -> Outcome:
        subject = make_subject(
            deliveries=tuple(self.deliveries),
            releases=tuple(self.releases),
            satisfied=self.satisfied,
        )
        tenant = make_tenant(*self.notices, policies=tuple(self.policies), determinations=tuple(self.determinations))
        if not self.notices:
            tenant = replace(tenant, notices={})
        face = Face(subject, KnownBy.DECLARED_BY_UPLOADER)
        return ask(request, face, tenant, now=self.now, unknown=ILLINOIS).outcome


@pytest.mark.parametrize("length", range(6))
def test_no_sequence_of_events_allows_a_biometric_operation_without_a_live_basis(length: int) -> None:
    requests = BIOMETRIC if length < 5 else BIOMETRIC[:1]
    allowed = 0
    for events in product(EVENTS, repeat=length):
        model = Model()
        for event in events:
            model.apply(event)
        for request in requests:
            outcome = model.decide(request)
            needs_policy = request.stored is not False
            policy = bool(model.policies)
            store_needs_policy = request.operation is Operation.STORE and not policy
            expected = (model.is_exempt and not store_needs_policy) or (
                model.has_live_release and (policy or not needs_policy)
            )
            assert (outcome is Outcome.ALLOW) is expected, (events, request.operation, outcome)
            assert outcome in {Outcome.ALLOW, Outcome.DENY, Outcome.REVIEW}
            allowed += outcome in PERMITS
    assert allowed > 0 or length < 1
