"""Packs as they are made: what is in them, what is withheld, what cannot be made."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import receipt
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.services import evidence_selection
from consentry_server.services.evidence_selection import Wanted
from tests.support.stack import COLLECTOR
from tests.support.verifying import VERIFY, isolated, judge, unpack
from tests.unit.evidence.conftest import Story

Unpacked = Callable[[bytes], tuple[Path, dict[str, bytes]]]


def entries(files: dict[str, bytes]) -> dict[int, dict[str, Any]]:
    return {int(name[-17:-5]): json.loads(data) for name, data in files.items() if name.startswith("entries/")}


async def test_a_persons_pack_is_whole_and_verifies_alone(story: Story, unpacked: Unpacked) -> None:
    folder, files = unpacked(await story.pack(Wanted(subject_ref=story.eileen)))
    done = isolated(folder, "--vkey", story.key.vkey, script=folder / "verify.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "PROVEN by the person's chain" in done.stdout
    assert files["verify.py"] == VERIFY.read_bytes()
    for index, entry in entries(files).items():
        data = files[f"entries/{index:012d}.json"]
        assert data == story.tenant.sequencer.store.fetch_entry(index)
        proof = receipt.parse(files[f"proofs/{index:012d}.tlog-proof"])
        assert receipt.verify(proof, hash_leaf(data), story.key).checkpoint.origin == entry["ledger"]
    kinds = {entry["type"] for entry in entries(files).values()}
    assert {"ledger.created", "system.started", "pack.activated", "notice.published", "policy.published"} <= kinds
    assert {"notice.delivered", "release.recorded", "release.withdrawn", "destruction.completed"} <= kinds
    assert not any(
        person["subject_ref"] == story.martha and len(people) == 1
        for entry in entries(files).values()
        for people in [entry.get("people", [])]
        for person in people
    )


async def test_documents_are_there_byte_for_byte(story: Story, unpacked: Unpacked) -> None:
    _, files = unpacked(await story.pack(Wanted(subject_ref=story.eileen)))
    documents = {name: data for name, data in files.items() if name.startswith("documents/")}
    assert all(hashlib.sha256(data).hexdigest() in name for name, data in documents.items())
    assert any(data.startswith(b"We collect and store a scan of your face geometry") for data in documents.values())
    assert any(name.endswith(".toml") and b'id = "us-il-bipa"' in data for name, data in documents.items())


async def test_what_callers_typed_stays_sealed(story: Story, unpacked: Unpacked) -> None:
    await story.tenant.releases.withdraw(COLLECTOR, "martha", "", "she said: this is private", None)
    _, files = unpacked(await story.pack(Wanted(subject_ref=story.martha)))
    sealed = {name: data for name, data in files.items() if name.startswith("sealed/")}
    named = {entry["sealed"]["id"]: entry["sealed"]["sha256"] for entry in entries(files).values() if "sealed" in entry}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in sealed.items()} == {
        f"sealed/{record_id}.bin": digest for record_id, digest in named.items()
    }
    assert sealed
    assert not any(b"this is private" in data for data in files.values())


async def test_others_are_withheld_and_the_proofs_stay_valid(story: Story, unpacked: Unpacked) -> None:
    open_pack = unpack(await story.pack(Wanted(subject_ref=story.eileen)))
    assert any(story.martha.encode() in data for data in open_pack.values())
    folder, files = unpacked(await story.pack(Wanted(subject_ref=story.eileen, redact_others=True)))
    assert not [name for name, data in files.items() if story.martha.encode() in data]
    withheld = [json.loads(data) for name, data in files.items() if name.startswith("withheld/")]
    assert len(withheld) == 2  # the decision about both, and the opening under it
    for stated in withheld:
        data = open_pack[f"entries/{stated['index']:012d}.json"]
        assert stated["leaf_hash"] == hash_leaf(data).hex()
        assert (stated["type"], stated["time"]) == (json.loads(data)["type"], json.loads(data)["time"])
        assert "concerns other persons" in stated["why"]
        assert [person["subject_ref"] for person in stated["people"]] == [story.eileen]
    code, said = judge(folder, "--vkey", story.key.vkey)
    assert code == 0
    assert "of 2 withheld entries, whom they concern and when is claimed" in said


async def test_a_photos_pack_names_what_it_rests_on(story: Story, unpacked: Unpacked) -> None:
    folder, files = unpacked(await story.pack(Wanted(photo_id=story.photo_id)))
    kinds = [entry["type"] for entry in entries(files).values()]
    assert {"photo.stored", "photo.opened", "decision"} <= set(kinds)
    stored = next(index for index, entry in entries(files).items() if entry["type"] == "photo.stored")
    assert entries(files)[stored - 1]["type"] == "decision"
    code, said = judge(folder, "--vkey", story.key.vkey)
    assert (code, "selection     NOT PROVEN: the keeper searched" in said) == (0, True)


async def test_a_period_is_proven_by_its_neighbours(story: Story, unpacked: Unpacked) -> None:
    begin = story.stack.clock.now - timedelta(minutes=2)
    wanted = Wanted(from_time=begin, until_time=begin + timedelta(minutes=1))
    folder, files = unpacked(await story.pack(wanted))
    chosen = json.loads(files["manifest.json"])["selection"]
    times = {index: str(entry["time"]) for index, entry in entries(files).items()}
    inside = [index for index, time in times.items() if "2026-11-23T10:01" <= time < "2026-11-23T10:02"]
    assert inside == list(range(chosen["first_index"], chosen["last_index"] + 1))
    assert {chosen["first_index"] - 1, chosen["last_index"] + 1} <= set(entries(files))
    code, said = judge(folder, "--vkey", story.key.vkey)
    assert (code, "PROVEN by place" in said) == (0, True)


@pytest.mark.parametrize("redact", [False, True])
async def test_the_whole_time_is_a_period_too(story: Story, unpacked: Unpacked, redact: bool) -> None:
    folder, files = unpacked(await story.pack(Wanted(redact_others=redact)))
    assert judge(folder, "--vkey", story.key.vkey)[0] == 0
    assert any(story.eileen.encode() in data for data in files.values()) is not redact


async def test_the_order_is_fixed_and_the_same_pack_has_the_same_bytes(story: Story) -> None:
    first, second = [await story.pack(Wanted(subject_ref=story.eileen)) for _ in range(2)]
    assert first == second
    names = zipfile.ZipFile(io.BytesIO(first)).namelist()
    assert names[:4] == ["README.txt", "verify.py", "vkey", "checkpoint"]
    assert names[-2:] == ["cover.pdf", "manifest.json"]


async def test_the_cover_is_pdf_a_and_the_timeline_is_plain(story: Story) -> None:
    files = unpack(await story.pack(Wanted(subject_ref=story.eileen)))
    assert files["cover.pdf"].startswith(b"%PDF-1.7")
    assert b"<pdfaid:part>3</pdfaid:part>" in files["cover.pdf"]
    rows = list(csv.DictReader(io.StringIO(files["timeline.csv"].decode())))
    assert [int(row["index"]) for row in rows] == sorted(entries(files))
    told = " ".join(row["in plain words"] for row in rows)
    assert "it was refused. Reasons: release withdrawn (IL-15B3-RELEASE)" in told
    assert "for 2 faces: 1 was allowed, 1 was refused" in told


async def test_entries_after_the_checkpoint_are_not_in_it(story: Story) -> None:
    note = await story.tenant.audit.checkpoint()
    story.stack.clock.forward(seconds=1)
    await story.stack.consent("eileen")
    earlier = unpack(b"".join(story.tenant.evidence.export(Wanted(subject_ref=story.eileen), note)))
    later = unpack(await story.pack(Wanted(subject_ref=story.eileen)))
    assert set(entries(earlier)) < set(entries(later))


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (Wanted(subject_ref="sub_" + "a" * 24), Reason.NOT_FOUND),
        (Wanted(photo_id="pho_" + "a" * 24), Reason.NOT_FOUND),
    ],
)
async def test_nothing_on_record_is_no_pack(story: Story, wanted: Wanted, reason: Reason) -> None:
    with pytest.raises(ConsentryError) as raised:
        await story.pack(wanted)
    assert raised.value.reason is reason


async def test_an_empty_period_is_no_pack(story: Story) -> None:
    with pytest.raises(ConsentryError) as raised:
        await story.pack(Wanted(from_time=story.stack.clock.now + timedelta(days=1)))
    assert raised.value.reason is Reason.NOT_FOUND


async def test_what_is_too_much_for_one_pack_is_refused(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_selection, "MAX_ENTRIES", 3)
    monkeypatch.setattr(evidence_selection, "MAX_SEARCHED", 3)
    for wanted in (Wanted(subject_ref=story.eileen), Wanted(photo_id=story.photo_id), Wanted()):
        with pytest.raises(ConsentryError) as raised:
            await story.pack(wanted)
        assert raised.value.reason is Reason.TOO_LARGE


async def test_a_damaged_store_breaks_the_pack_off(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    store = story.tenant.sequencer.store
    read = store.fetch_entry
    last = (store.fetch_chain(story.eileen) or (0, 0))[1]

    def damaged(index: int) -> bytes | None:
        data = read(index)
        return data.replace(b'"outcome":"DENY"', b'"outcome":"DENT"') if data and index == last else data

    monkeypatch.setattr(store, "fetch_entry", damaged)
    with pytest.raises(ConsentryError) as raised:
        await story.pack(Wanted(subject_ref=story.eileen))
    assert raised.value.reason is Reason.DATA_DAMAGED
