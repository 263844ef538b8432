"""Completeness rests on what others hold: each kind holds, contradicts or is of no help, and says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server.core.ledger import checkpoint, note, verify
from consentry_server.core.ledger.evidence import Anchor, Evidence, HeldPermit
from consentry_server.core.ledger.report import Completeness, Integrity, Report, Selection, Standing
from tests.unit.ledger.ledgers import ORIGIN, Ledger

TIME = datetime(2026, 11, 23, 12, tzinfo=UTC)
WITNESS = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
WITNESS_KEY = note.VerifierKey("witness.test/w", checkpoint.log_key("x", WITNESS).public_key, note.COSIGNATURE_V1)


def check(ledger: Ledger, files: dict[str, bytes] | None = None, subject_ref: str = "", **evidence: Any) -> Report:
    files = ledger.export() if files is None else files
    given = Evidence(**evidence)
    return verify.verify(
        files.get, ledger.verifier, secret=bytes(16), evidence=given, subject_ref=subject_ref, paths=files
    )


def only(report: Report) -> tuple[Standing, str]:
    (ground,) = report.grounds
    return ground.standing, ground.text


@pytest.fixture
def grown(ledger: Ledger) -> tuple[Ledger, bytes]:
    """600 entries, and the checkpoint over the first 300."""
    ledger.grow(300)
    early = ledger.checkpoint()
    return ledger.grow(600), early


def other_history(size: int) -> Ledger:
    other = Ledger().grow(100)
    other.append(outcome="ALLOW")
    return other.grow(size)


@pytest.mark.parametrize("size", [1, 255, 256, 257, 300, 512, 599])
def test_an_earlier_checkpoint_proves_its_part(ledger: Ledger, size: int) -> None:
    early = ledger.grow(size).checkpoint()
    report = check(ledger.grow(600), anchors=(Anchor("kept.txt", early),))
    assert only(report)[0] is Standing.HOLDS
    assert report.completeness is Completeness.IN_PART
    assert (report.grounds[0].first, report.grounds[0].until) == (0, size)


def test_a_checkpoint_over_all_proves_all(grown: tuple[Ledger, bytes]) -> None:
    ledger, early = grown
    report = check(ledger, anchors=(Anchor("early", early), Anchor("today", ledger.checkpoint())))
    assert report.completeness is Completeness.PROVEN
    assert [ground.until for ground in report.grounds] == [300, 600]


@pytest.mark.parametrize("size", [300, 512, 600])
def test_a_checkpoint_of_another_history_refutes(grown: tuple[Ledger, bytes], size: int) -> None:
    report = check(grown[0], anchors=(Anchor("kept.txt", other_history(size).checkpoint()),))
    assert (report.integrity, report.completeness) == (Integrity.INTACT, Completeness.REFUTED)
    assert only(report)[0] is Standing.CONTRADICTED
    assert not report.sound


def test_a_later_checkpoint_refutes_a_copy_that_ends_before_it(ledger: Ledger) -> None:
    files = ledger.grow(300).export()
    later = Anchor("later.txt", ledger.grow(600).checkpoint())
    report = check(ledger, files, anchors=(later,))
    assert report.completeness is Completeness.REFUTED
    assert "at least 300 entries that were recorded are missing here" in only(report)[1]
    files["tile/0/000"] = bytes(8192)
    assert check(ledger, files, anchors=(later,)).completeness is Completeness.REFUTED


def test_what_was_stamped_names_authority_and_time(grown: tuple[Ledger, bytes]) -> None:
    ledger, early = grown
    report = check(ledger, anchors=(Anchor("early.tsr", early, "Test TSA", TIME),))
    stamped = "Test TSA stamped a checkpoint over the first 300 entries on 2026-11-23 at 12:00:00 UTC (early.tsr)"
    assert only(report) == (Standing.HOLDS, f"{stamped}: they are unchanged and none is missing")


def test_a_cosigned_earlier_checkpoint_counts_for_its_witness_too(grown: tuple[Ledger, bytes]) -> None:
    ledger, early = grown
    signed = checkpoint.add_signatures(early, [note.cosign(note.parse(early).text, WITNESS_KEY, WITNESS.sign, 99)])
    report = check(ledger, anchors=(Anchor("early", signed),), cosigners=(WITNESS_KEY,))
    assert [ground.standing for ground in report.grounds] == [Standing.UNUSABLE, Standing.HOLDS, Standing.HOLDS]
    assert report.completeness is Completeness.IN_PART


def test_foreign_and_broken_checkpoints_are_of_no_help(grown: tuple[Ledger, bytes]) -> None:
    ledger, _ = grown
    foreign = checkpoint.sign(checkpoint.Checkpoint("other.test/x", 1, bytes(32)), ledger.key)
    for data in (b"", b"garbage", foreign, ledger.checkpoint()[:-5]):
        report = check(ledger, anchors=(Anchor("kept.txt", data),))
        assert only(report)[0] is Standing.UNUSABLE
        assert report.completeness is Completeness.NOT_PROVEN


def permit(ledger: Ledger, index: int) -> HeldPermit:
    return HeldPermit("permit.jwt", ORIGIN, index, ledger.leaves[index], signature_checked=True)


def test_a_permit_proves_its_entry(grown: tuple[Ledger, bytes]) -> None:
    ledger, early = grown
    report = check(ledger, permits=(permit(ledger, 421),))
    assert (report.completeness, report.grounds[0].first, report.grounds[0].until) == (Completeness.IN_PART, 421, 422)
    assert "single entries" in report.completeness_basis
    report = check(ledger, permits=(permit(ledger, 0),), anchors=(Anchor("early", early),))
    assert "for the first 300 of 600 entries" in report.completeness_basis


def test_a_permit_whose_entry_is_gone_refutes(grown: tuple[Ledger, bytes]) -> None:
    ledger, _ = grown
    lost = [
        replace(permit(ledger, 421), leaf_hash=bytes(32)),
        replace(permit(ledger, 421), index=422),
        replace(permit(ledger, 421), index=600),
        replace(permit(ledger, 421), index=2**53 - 1, signature_checked=False),
    ]
    for each in lost:
        report = check(ledger, permits=(each,))
        assert (report.completeness, report.sound) == (Completeness.REFUTED, False)
        assert ("not checked" in only(report)[1]) is not each.signature_checked
    assert only(check(ledger, permits=(replace(permit(ledger, 1), ledger="other"),)))[0] is Standing.UNUSABLE


def test_nothing_is_proven_of_a_damaged_ledger(grown: tuple[Ledger, bytes]) -> None:
    ledger, early = grown
    files = {**ledger.export(), "tile/0/001": bytes(8192)}
    report = check(ledger, files, anchors=(Anchor("early", early),), permits=(permit(ledger, 3),))
    assert (report.completeness, report.completeness_basis) == (Completeness.NOT_PROVEN, "the ledger is damaged")
    assert {ground.standing for ground in report.grounds} == {Standing.UNUSABLE}


def test_one_person_s_entries_are_listed(grown: tuple[Ledger, bytes]) -> None:
    ledger, _ = grown
    person = "sub_" + "c" * 26
    report = check(ledger, subject_ref=person)
    assert report.selection is Selection.FULL_SCAN
    assert list(report.mentions) == [index for index, data in enumerate(ledger.entries) if person.encode() in data]
    assert len(report.mentions) == ledger.chains[person][0]
    nobody = check(ledger, subject_ref="sub_" + "7" * 26)
    assert (nobody.selection, nobody.mentions) == (Selection.FULL_SCAN, ())
    assert "none is about" in nobody.selection_basis


def test_a_person_s_chain_may_stand_in_a_ledger_that_is_damaged_elsewhere(grown: tuple[Ledger, bytes]) -> None:
    ledger, _ = grown
    person = "sub_" + "c" * 26
    mine = [index for index, data in enumerate(ledger.entries) if person.encode() in data]
    other = next(index for index in range(300, 600) if index not in mine)

    def damaged(index: int) -> dict[str, bytes]:
        files = ledger.export()
        path = "tile/entries/001" if index < 512 else "tile/entries/002.p/88"
        changed = ledger.entries[index].replace(b"DENY", b"DE\xffY")
        return {**files, path: files[path].replace(ledger.entries[index], changed)}

    report = check(ledger, damaged(other), subject_ref=person)
    assert (report.integrity, report.selection) == (Integrity.DAMAGED, Selection.CHAIN)
    assert list(report.mentions) == mine
    inner = next(index for index in mine if 256 <= index < 512)
    assert check(ledger, damaged(inner), subject_ref=person).selection is Selection.NOT_PROVEN
    assert check(ledger, damaged(other)).selection is Selection.NOT_PROVEN
