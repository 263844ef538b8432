"""The parts of a pack by themselves: what the cover may print, which anchors go along, words for unknown entries."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consentry_server.adapters.anchors.files import AnchoredFiles
from consentry_server.adapters.pdf.cover import TypstCover
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.record.narrate import narrate
from consentry_server.services.evidence_cover import Told, cover, printable
from consentry_server.services.evidence_pack import Pack
from consentry_server.services.evidence_selection import Wanted
from tests.unit.ledger.ledgers import Ledger

NOW = datetime(2026, 11, 23, 10, 30, 0, 123_456, tzinfo=UTC)


def told(rows: list[list[str]]) -> Told:
    ledger = Ledger().grow(3)
    opened = open_checkpoint(ledger.checkpoint(), ledger.verifier)
    made = Told(wanted=Wanted(), opened=opened, key=ledger.verifier, engine="0.1.0", made_at=NOW)
    made.rows = rows
    made.counts["selected"] = len(rows)
    made.first_time = made.last_time = "2026-11-23T10:00:00.000000Z"
    return made


def test_what_no_font_has_is_written_as_its_number() -> None:
    assert printable({"a": ["é \u540d \U0001f600", 7, None]}) == {"a": ["é U+540D U+1F600", 7, None]}


def test_a_cover_shows_data_and_never_runs_it() -> None:
    hostile = '#panic("run") $x$ [*b*] <label> @ref \\u{41} \u540d \U0001f600 \u202e " \' //'
    made = TypstCover().render(cover(told([["0", "2026-11-23 10:00:00 UTC", hostile]])), NOW)
    assert made.startswith(b"%PDF-1.7")
    assert made == TypstCover().render(cover(told([["0", "2026-11-23 10:00:00 UTC", hostile]])), NOW)


def test_a_long_timeline_is_cut_on_the_cover_and_says_so() -> None:
    made = told([])
    entry = {"time": "2026-11-23T10:00:00.000000Z", "type": "x"}
    for index in range(1_000):
        made.add({**entry, "index": index}, "selected", "A sentence.", withheld=False)
    shown = cover(made)
    assert (len(shown["rows"]), shown["chosen"], shown["more"]) == (200, "1,000", "800")


def test_a_cover_that_cannot_be_made_is_an_error_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConsentryError) as raised:
        TypstCover().render({"about": "nothing else"}, NOW)
    assert raised.value.reason is Reason.SERVICE_FAULT

    def late(*_arguments: object, **_more: object) -> None:
        raise subprocess.TimeoutExpired("typst", 1.0)

    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(ConsentryError, match="TimeoutExpired"):
        TypstCover().render(cover(told([])), NOW)


def test_the_anchors_that_bear_witness_go_along(tmp_path: Path) -> None:
    for size in (5, 10, 20, 40, 80):
        (tmp_path / str(size)).mkdir()
        (tmp_path / str(size) / "checkpoint").write_bytes(b"%d" % size)
    (tmp_path / "authority.pem").write_bytes(b"certificate")
    (tmp_path / ".half-written").mkdir()
    (tmp_path / "not plain.txt").write_bytes(b"")
    found = [name for name, _ in AnchoredFiles(tmp_path).fetch((6, 20))]
    assert found == ["10/checkpoint", "20/checkpoint", "80/checkpoint", "authority.pem"]
    assert list(AnchoredFiles(tmp_path / "nowhere").fetch((1,))) == []


def test_an_unknown_entry_is_named_by_its_type() -> None:
    assert narrate({"type": "future.thing"}) == "An entry of the type future.thing was recorded."


def test_no_file_stands_twice() -> None:
    pack = Pack(NOW)
    pack.add("a", b"1")
    with pytest.raises(ConsentryError):
        pack.add("a", b"2")
