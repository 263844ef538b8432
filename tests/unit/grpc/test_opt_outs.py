"""Requests to opt out and facts of a venue, from the call to the answer."""

from __future__ import annotations

from datetime import timedelta

import pytest

from consentry.v1 import photo_pb2, registry_service_pb2, subject_pb2
from consentry.v1 import vocabulary_pb2 as v
from consentry_server.adapters.grpc.identity import set_caller
from consentry_server.core.errors import ConsentryError, Reason
from tests.support.stack import COLLECTOR, PROCESSOR
from tests.unit.grpc import samples
from tests.unit.grpc.conftest import Servicers
from tests.unit.grpc.flows import ask, consent
from tests.unit.grpc.samples import NOW, at

IN_UTAH = photo_pb2.Source(capture_regions=["US-UT"])


def opt_out(subject_id: str, **fields: object) -> registry_service_pb2.RecordOptOutRequest:
    return registry_service_pb2.RecordOptOutRequest(
        request_id=samples.request_id(),
        subject_id=subject_id,
        **fields,  # type: ignore[arg-type]
    )


async def outcome(servicers: Servicers, *, source: photo_pb2.Source) -> tuple[int, set[str]]:
    set_caller(PROCESSOR)
    decision = (await ask(servicers, samples.check(source=source))).decision
    return decision.outcome, {reason.code for reason in decision.reasons}


async def test_an_opt_out_counts_from_its_entry_on_until_a_release_is_signed_after_it(servicers: Servicers) -> None:
    await consent(servicers)
    assert (await outcome(servicers, source=IN_UTAH))[0] == v.OUTCOME_ALLOW
    set_caller(COLLECTOR)
    request = opt_out("eileen", purposes=[v.PURPOSE_TAGGING])
    answer = await servicers.registry.RecordOptOut(request, None)
    assert (await servicers.registry.RecordOptOut(request, None)).entry == answer.entry  # asked again, recorded once
    got, codes = await outcome(servicers, source=IN_UTAH)
    assert (got, "OPTED_OUT" in codes) == (v.OUTCOME_DENY, True)
    set_caller(COLLECTOR)
    shown = await servicers.registry.GetSubject(
        registry_service_pb2.GetSubjectRequest(subject=subject_pb2.SubjectReference(subject_id="eileen")), None
    )
    assert [list(each.purposes) for each in shown.subject.opt_outs] == [[v.PURPOSE_TAGGING]]


async def test_who_was_never_named_may_opt_out(servicers: Servicers) -> None:
    set_caller(COLLECTOR)
    answer = await servicers.registry.RecordOptOut(opt_out("stranger"), None)
    assert answer.entry.index > 0
    with pytest.raises(ConsentryError) as raised:
        await servicers.registry.RecordOptOut(opt_out("stranger", occur_time=at(NOW + timedelta(days=2))), None)
    assert raised.value.reason is Reason.FIELD_INVALID


async def test_a_venue_is_decided_on_and_recorded(servicers: Servicers) -> None:
    await consent(servicers)
    here = photo_pb2.Venue(portland_public_accommodation=True)
    got, codes = await outcome(servicers, source=photo_pb2.Source(capture_regions=["US-IL"], venue=here))
    assert (got, "FACE_RECOGNITION_FORBIDDEN" in codes) == (v.OUTCOME_DENY, True)
    elsewhere = photo_pb2.Venue(portland_public_accommodation=False)
    assert (await outcome(servicers, source=photo_pb2.Source(capture_regions=["US-IL"], venue=elsewhere)))[
        0
    ] == v.OUTCOME_ALLOW
