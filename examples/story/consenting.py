"""Chapters four and five: a proper notice and a written release, and what they allow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from consentry.v1 import vocabulary_pb2
from face_tagger.face_tagger_pb2 import EnrollFaceRequest, FindFacesRequest
from story import papers
from story.before import PORTRAIT
from story.scene import ALICE, alice
from story.telling import RECORDED, Told, answered

if TYPE_CHECKING:
    from story.scene import Scene

RECEIPT_BEGINNINGS = ("You permitted", "  - ", "with this", "Shared", "It ends", "Notice:", "Ledger", "You may")
"""The lines of a receipt that the demo shows; the whole of it is in receipt.txt."""


def told_and_signed(scene: Scene) -> None:
    """A notice that says what, why and how long; then a signature."""
    story = scene.story
    story.chapter(
        "Told, and signed",
        "Now the product tells Alice what is collected, for which purpose, for how long and who receives it, in the "
        "app, and she signs a written release: a click on a control that says that it signs.",
    )
    notice = scene.product.publish_notice(papers.tagging_notice()).notice
    delivered = scene.product.record_notice_delivery(ALICE, papers.delivery(notice), claims=papers.CLAIMS).delivery
    story.step(
        "deliver-notice",
        "A proper notice is published and delivered",
        Told(RECORDED, delivered.entry.index, lines=[f"{notice.notice_id}, version {notice.version}; {notice.text}"]),
        outcome=RECORDED,
    )
    answer = scene.product.record_release(ALICE, papers.release(notice, delivered))
    (scene.folder / "receipt.txt").write_text(answer.receipt_text, encoding="utf-8")
    lines = [line for line in answer.receipt_text.splitlines() if line.startswith(RECEIPT_BEGINNINGS)]
    story.step(
        "sign-release",
        "Alice signs a written release, and gets this receipt",
        Told(RECORDED, answer.release.entry.index, lines=lines),
        outcome=RECORDED,
    )
    story.require(holds=answer.receipt.count(".") == 2, what="no signed receipt came back")  # noqa: PLR2004 - a JWT has three parts


def allowed(scene: Scene) -> None:
    """The same questions are now answered with yes, and what was done is reported."""
    story = scene.story
    story.chapter("Allowed", "The very questions that were refused before, on the same photo.")
    found = scene.tagger.FindFaces(
        FindFacesRequest(photo_id=scene.photos[PORTRAIT], people=[alice()], purpose=vocabulary_pb2.PURPOSE_TAGGING)
    )
    boxes = ", ".join(f"{box.width} x {box.height} at ({box.x}, {box.y})" for box in found.found)
    story.step(
        "find-faces",
        "DETECT_FACES for TAGGING",
        answered(found.answer, f"OpenCV found {len(found.found)} face: {boxes}."),
        outcome="ALLOW",
        codes=["SATISFIED"],
    )
    story.require(holds=len(found.found) == 1, what=f"{len(found.found)} faces were found, not 1")
    scene.alice_box = found.found[0]
    enrolled = scene.tagger.EnrollFace(
        EnrollFaceRequest(
            photo_id=scene.photos[PORTRAIT], people=[alice(scene.alice_box)], purpose=vocabulary_pb2.PURPOSE_TAGGING
        )
    )
    scene.identifier_id = enrolled.identifier_id
    story.step(
        "extract-template",
        "EXTRACT_TEMPLATE for TAGGING",
        answered(enrolled.extraction),
        outcome="ALLOW",
        codes=["SATISFIED"],
    )
    story.step(
        "enroll",
        "ENROLL: the template is to be kept",
        answered(enrolled.enrolment),
        outcome="ALLOW",
        codes=["SATISFIED"],
    )
    story.step(
        "store-identifier",
        "STORE: the vault decides on keeping it itself",
        answered(enrolled.storing, f"{enrolled.identifier_id}, encrypted under a key of Alice's own."),
        outcome="ALLOW",
        codes=["SATISFIED"],
    )
    story.require(holds=bool(enrolled.identifier_id), what="no identifier was stored")
    _reports(scene, [found.answer.decision_id, enrolled.extraction.decision_id, enrolled.enrolment.decision_id])


def _reports(scene: Scene, decisions: list[str]) -> None:
    """What was done after each of these decisions is in the ledger, in the tagger's own report."""
    entries = [json.loads(entry.json) for entry in scene.counsel.list_entries(types=["processing.reported"])]
    reports = {entry["decision_id"]: entry for entry in entries}
    done = [reports.get(decision, {}) for decision in decisions]
    scene.story.step(
        "report-processing",
        "What was done is reported: the guard does that by itself",
        Told(
            RECORDED,
            max(int(report.get("index", -1)) for report in done),
            lines=[
                f"{report['index']:>4}  {report['result']} with {report['algorithm_id']} {report['algorithm_version']}"
                for report in done
                if report
            ],
        ),
        outcome=RECORDED,
    )
    scene.story.require(
        holds=[report.get("result") for report in done] == ["PERFORMED"] * len(done), what="a report is missing"
    )
