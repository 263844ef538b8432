"""An exported ledger verifies; one changed, dropped, swapped or added byte anywhere in it is found and named."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from consentry_server.core.errors import Reason
from consentry_server.core.ledger import canonical, checkpoint, entry, export, note, tiles, verify
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.evidence import Evidence
from consentry_server.core.ledger.report import Completeness, Integrity, Report, Selection
from consentry_server.core.ledger.span import MAX_FINDINGS
from tests.unit.ledger.ledgers import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable


SECRET = bytes(range(16))


def check(ledger: Ledger, files: dict[str, bytes], **more: Any) -> Report:
    return verify.verify(files.get, ledger.verifier, secret=SECRET, paths=files, **more)


def named(report: Report) -> set[int | None]:
    return {finding.index for finding in report.findings}


@pytest.fixture(params=[0, 1, 2, 255, 256, 257, 600])
def sized(ledger: Ledger, request: pytest.FixtureRequest) -> Ledger:
    return ledger.grow(request.param)


@pytest.fixture
def exported(ledger: Ledger) -> tuple[Ledger, dict[str, bytes]]:
    """600 entries: two full bundles, a partial one, and a partial tile of level 1."""
    ledger.grow(600)
    return ledger, ledger.export()


def test_an_export_verifies(sized: Ledger) -> None:
    files = sized.export()
    report = check(sized, files)
    assert (report.findings, report.integrity) == ((), Integrity.INTACT)
    assert (report.size, report.root, report.origin) == (sized.tree.size, sized.tree.root(), "consentry.test/acme")
    assert (report.completeness, report.selection) == (Completeness.NOT_PROVEN, Selection.FULL_SCAN)
    assert report.completeness.value == "NOT PROVEN"
    assert "no known witness" in report.completeness_basis
    assert (report.people, report.not_covered) == (len(sized.chains), ())
    assert report.last_time == (entry.decode(sized.entries[-1])["time"] if sized.entries else "")


def test_the_files_are_the_layouts_and_the_checkpoint_comes_last(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    _, files = exported
    assert list(files) == [
        "vkey",
        "tile/entries/000",
        "tile/entries/001",
        "tile/entries/002.p/88",
        "tile/0/000",
        "tile/0/001",
        "tile/0/002.p/88",
        "tile/1/000.p/2",
        "checkpoint",
    ]


def test_an_export_grows_and_keeps_earlier_partials(ledger: Ledger) -> None:
    files: dict[str, bytes] = {}
    size = 0
    for more in (1, 200, 55, 1, 300, 43):
        ledger.grow(size + more)
        new = ledger.export(size)
        assert all(files[path] == new[path] for path in files.keys() & new.keys() - {"checkpoint"})
        files.update(new)
        size += more
        report = check(ledger, files)
        assert (report.integrity, report.size, report.not_covered) == (Integrity.INTACT, size, ())
    assert set(ledger.export()) <= set(files)
    gone = {path for folder in tiles.superseded(1, 600) for path in files if path.startswith(f"{folder}/")}
    assert gone
    assert check(ledger, {path: data for path, data in files.items() if path not in gone}).integrity is Integrity.INTACT


def test_full_tiles_stand_in_for_partials_that_are_gone(ledger: Ledger) -> None:
    ledger.grow(100)
    early = ledger.export()
    ledger.grow(65_536 // 256)
    files = {**ledger.export(), "checkpoint": early["checkpoint"]}
    report = check(ledger, files)
    assert (report.integrity, report.size) == (Integrity.INTACT, 100)
    assert report.not_covered == ("tile/entries/000", "tile/0/000", "tile/1/000.p/1")


def test_a_witness_makes_it_complete(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    key = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    public = note.VerifierKey("witness.test/w", checkpoint.log_key("x", key).public_key, note.COSIGNATURE_V1)
    text = note.parse(files["checkpoint"]).text
    files["checkpoint"] = checkpoint.add_signatures(files["checkpoint"], [note.cosign(text, public, key.sign, 99)])
    report = check(ledger, files, evidence=Evidence(cosigners=(public,)))
    assert report.completeness is Completeness.PROVEN
    assert [ground.text for ground in report.grounds] == [
        "witness.test/w cosigned this checkpoint on 1970-01-01 at 00:01:39 UTC"
    ]
    assert check(ledger, files).completeness is Completeness.NOT_PROVEN
    files["tile/0/000"] = bytes(8192)
    assert check(ledger, files, evidence=Evidence(cosigners=(public,))).completeness is Completeness.NOT_PROVEN


def entry_at(ledger: Ledger, path: str, offset: int) -> int:
    """Which entry a byte of a bundle belongs to."""
    index = tiles.parse_path(path).number * 256
    while offset >= len(ledger.entries[index]) + 2:
        offset -= len(ledger.entries[index]) + 2
        index += 1
    return index


def test_a_flipped_bit_anywhere_is_found_and_its_entry_named(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    chance = random.Random(11)
    for path, data in files.items():
        for at in {0, 1, 2, len(data) - 1, *(chance.randrange(len(data)) for _ in range(25))}:
            changed = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
            report = check(ledger, {**files, path: changed})
            assert report.integrity is Integrity.DAMAGED, (path, at)
            assert report.selection is Selection.NOT_PROVEN
            if path.startswith("tile/entries"):
                assert entry_at(ledger, path, at) in named(report), (path, at)
            elif path.startswith("tile/0"):
                assert tiles.parse_path(path).number * 256 + at // 32 in named(report), (path, at)
            else:
                assert path in {finding.path for finding in report.findings}, (path, at)


@settings(max_examples=100)
@given(data=st.data())
def test_an_added_or_dropped_byte_anywhere_is_found(
    shared: tuple[Ledger, dict[str, bytes]], data: st.DataObject
) -> None:
    ledger, files = shared
    path = data.draw(st.sampled_from(sorted(files)))
    whole = files[path]
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + whole[at + 1 :] if data.draw(st.booleans()) else whole[:at] + b"\x00" + whole[at:]
    report = check(ledger, {**files, path: changed})
    assert report.integrity is Integrity.DAMAGED
    if path.startswith("tile/entries"):
        assert entry_at(ledger, path, at) in named(report)


@pytest.fixture(scope="module")
def shared() -> tuple[Ledger, dict[str, bytes]]:
    ledger = Ledger().grow(300)
    return ledger, ledger.export()


@pytest.fixture(scope="module")
def with_partials() -> tuple[Ledger, dict[str, bytes]]:
    """A growing export that kept the partial tiles of earlier checkpoints: every kind of file there is."""
    ledger = Ledger()
    files: dict[str, bytes] = {}
    for size, before in ((3, 0), (300, 3), (530, 300)):
        ledger.grow(size)
        files.update(ledger.export(before))
    return ledger, files


def blamed(path: str, data: bytes, at: int, ledger: Ledger) -> int | None:
    """The entry that a change of a byte must be blamed on, where there is one."""
    kind = path.split("/")[1] if "/" in path else path
    if kind == "entries":
        return entry_at(ledger, path, min(at, len(data) - 1))
    return tiles.parse_path(path).number * 256 + at // 32 if kind == "0" and ".p/" not in path else None


@settings(max_examples=150, deadline=None)
@given(
    place=st.integers(0, 2**20),
    position=st.integers(0, 2**20),
    length=st.integers(1, 70),
    new=st.binary(min_size=1, max_size=40),
    kind=st.sampled_from(["flip", "drop", "add", "turn", "double", "cut", "clear"]),
)
def test_any_change_of_any_file_is_found_where_it_is(
    with_partials: tuple[Ledger, dict[str, bytes]], place: int, position: int, length: int, new: bytes, kind: str
) -> None:
    ledger, files = with_partials
    path = sorted(files)[place % len(files)]
    whole = files[path]
    at = position % len(whole)
    end = min(at + length, len(whole))
    kinds = {
        "flip": whole[:at] + bytes([whole[at] ^ (1 << new[0] % 8)]) + whole[at + 1 :],
        "drop": whole[:at] + whole[end:],
        "add": whole[:at] + new + whole[at:],
        "turn": whole[:at] + whole[at:end][::-1] + whole[end:],
        "double": whole[:at] + whole[at:end] + whole[at:],
        "cut": whole[:at],
        "clear": bytes(len(whole)),
    }
    changed = kinds[kind]
    if changed == whole:
        return
    report = check(ledger, {**files, path: changed})
    assert report.integrity is Integrity.DAMAGED
    assert path in {finding.path for finding in report.findings}
    first = next((at for at, pair in enumerate(zip(whole, changed, strict=False)) if pair[0] != pair[1]), len(changed))
    index = blamed(path, whole, first, ledger)
    if index is not None and first < len(whole) and report.findings_total <= MAX_FINDINGS:
        assert index in {finding.index for finding in report.findings if finding.path == path or "/0/" in path}


@pytest.mark.parametrize("path", ["vkey", "tile/0/000", "tile/0/002.p/18", "tile/1/000.p/2", "checkpoint"])
def test_a_changed_hash_tile_key_or_checkpoint_is_found_and_its_file_named(
    with_partials: tuple[Ledger, dict[str, bytes]], path: str
) -> None:
    ledger, files = with_partials
    whole = files[path]
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        changed = whole[:at] + bytes([whole[at] ^ 0x20]) + whole[at + 1 :]
        report = check(ledger, {**files, path: changed})
        assert path in {finding.path for finding in report.findings}, at


def test_sizes_up_to_a_hundred_thousand() -> None:
    """One ledger that grows in seeded steps; at each stop all of it verifies, and one changed byte is found."""
    chance = random.Random(3)
    sizes = [chance.randrange(1, 2_000), chance.randrange(2_000, 65_536), 65_537, 100_000]
    ledger, files, before = Ledger(), dict[str, bytes](), 0
    for size in sizes:
        files.update(ledger.grow(size).export(before))
        report = check(ledger, files)
        assert (report.findings, report.size, report.people) == ((), size, 10)
        before = size
    path = chance.choice([path for path in sorted(files) if path.startswith("tile/entries/")])
    at = chance.randrange(len(files[path]))
    changed = files[path][:at] + bytes([files[path][at] ^ 1]) + files[path][at + 1 :]
    assert entry_at(ledger, path, at) in named(check(ledger, {**files, path: changed}))


def test_bytes_after_the_end_of_any_file_are_found(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    for path, data in files.items():
        for more in (b"\x00", b"\x00\x00", bytes(32), data):
            report = check(ledger, {**files, path: data + more})
            assert path in {finding.path for finding in report.findings}, (path, more[:4])


def rebundle(files: dict[str, bytes], path: str, change: Callable[[list[bytes]], None]) -> dict[str, bytes]:
    entries = tiles.decode_bundle(files[path])
    change(entries)
    return {**files, path: b"".join(len(one).to_bytes(2, "big") + one for one in entries)}


def test_a_dropped_entry_is_named(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    for path, at in (("tile/entries/000", 17), ("tile/entries/001", 0), ("tile/entries/002.p/88", 87)):
        index = tiles.parse_path(path).number * 256 + at
        report = check(ledger, rebundle(files, path, lambda entries, at=at: entries.pop(at)))  # type: ignore[misc]
        assert f"entry {index} is missing" in {finding.text for finding in report.findings}


def test_an_added_entry_is_named(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    for path, at in (("tile/entries/000", 17), ("tile/entries/002.p/88", 88)):
        index = tiles.parse_path(path).number * 256 + at
        report = check(ledger, rebundle(files, path, lambda entries, at=at: entries.insert(at, b"{}")))  # type: ignore[misc]
        assert report.integrity is Integrity.DAMAGED
        assert index in named(report)


def test_swapped_entries_are_named(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported

    def swap(entries: list[bytes]) -> None:
        entries[5], entries[9] = entries[9], entries[5]

    texts = {finding.text for finding in check(ledger, rebundle(files, "tile/entries/001", swap)).findings}
    assert {"at the place of entry 261 stands entry 265", "at the place of entry 265 stands entry 261"} <= texts


def test_swapped_and_missing_files_are_found(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    for one, other in (("tile/entries/000", "tile/entries/001"), ("tile/0/000", "tile/0/001")):
        assert check(ledger, {**files, one: files[other], other: files[one]}).integrity is Integrity.DAMAGED
    for path in set(files) - {"vkey"}:
        report = check(ledger, {name: data for name, data in files.items() if name != path})
        assert report.integrity is Integrity.DAMAGED
        assert path in {finding.path for finding in report.findings}


def test_entry_and_hash_changed_together_are_found_by_the_root(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    other = type(ledger)().grow(299)
    other.append(outcome="ALLOW")
    other.grow(600)
    forged = {**other.export(), "checkpoint": files["checkpoint"]}
    report = check(ledger, forged)
    assert report.integrity is Integrity.DAMAGED
    assert "neither" in report.findings[-1].text


def test_it_is_said_whether_the_entries_or_the_tiles_are_those_recorded(
    exported: tuple[Ledger, dict[str, bytes]],
) -> None:
    ledger, files = exported
    tile = b"\x00" * 32 + files["tile/0/001"][32:]
    assert "the hash tiles do not" in check(ledger, {**files, "tile/0/001": tile}).findings[-1].text
    bundle = files["tile/entries/001"].replace(b"DENY", b"AAAA", 1)
    assert "the entries do not" in check(ledger, {**files, "tile/entries/001": bundle}).findings[-1].text


def test_a_damaged_partial_of_an_earlier_checkpoint_is_found(ledger: Ledger) -> None:
    ledger.grow(300)
    files = ledger.export()
    ledger.grow(600)
    files.update(ledger.export(300))
    assert check(ledger, files).integrity is Integrity.INTACT
    for path in ("tile/entries/001.p/44", "tile/0/001.p/44", "tile/1/000.p/1"):
        for changed in (files[path][:-1], files[path] + b"\x00", bytes([files[path][0] ^ 1]) + files[path][1:]):
            report = check(ledger, {**files, path: changed})
            assert [finding.path for finding in report.findings] == [path]


def test_files_that_are_no_part_of_it_are_listed(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    report = check(ledger, {**files, "tile/0/003": b"x", "notes.txt": b"x", "tile/entries/002": b"x"})
    assert report.not_covered == ("tile/0/003", "notes.txt", "tile/entries/002")


def one_wrong(ledger: Ledger, more: dict[str, Any]) -> Report:
    """A ledger whose tree is right and whose eighth entry is not."""
    ledger.grow(7)
    fields = ledger.fields(**more)
    ledger.append_bytes(canonical.encode(fields, max_bytes=entry.MAX_ENTRY_BYTES))
    return check(ledger, ledger.export())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"index": 8}, "calls itself 8"),
        ({"ledger": "consentry.test/globex"}, "of another ledger"),
        ({"time": "2026-11-23T10:00:00.005999Z"}, "earlier than the one before"),
        ({"type": "?"}, "not well-formed"),
        ({"nonce": ""}, "not well-formed"),
        (
            {"people": [{"subject_ref": "sub_" + "z" * 26, "subject_seq": 2, "previous_index": 3}]},
            "after entry 3, which is not about that person",
        ),
    ],
)
def test_an_entry_that_should_never_have_been_written_is_named(ledger: Ledger, more: dict[str, Any], said: str) -> None:
    report = one_wrong(ledger, more)
    assert [finding.index for finding in report.findings] == [7]
    assert said in report.findings[0].text
    assert report.integrity is Integrity.DAMAGED


def test_bytes_that_are_not_canonical_are_named(ledger: Ledger) -> None:
    ledger.grow(3)
    ledger.append_bytes(entry.encode(ledger.fields()).replace(b'","', b'", "', 1))
    report = check(ledger, ledger.export())
    assert [finding.index for finding in report.findings] == [3]


def test_a_time_that_goes_back_between_bundles_is_named(ledger: Ledger) -> None:
    ledger.grow(256)
    ledger.append(time="2026-11-23T09:00:00.000000Z")
    assert named(check(ledger, ledger.export())) == {256}


def linked(ledger: Ledger, *people: tuple[str, int, int]) -> None:
    """Append an entry about these persons: reference, number, previous entry."""
    ledger.append(
        people=[
            {"subject_ref": reference, "subject_seq": seq, "previous_index": previous}
            for reference, seq, previous in people
        ]
    )


@pytest.mark.parametrize(
    ("links", "said"),
    [
        (("y", 2, 0), "entry 3 calls itself number 2 about {y}, after entry 0, and so does entry 2"),
        (("y", 4, 2), "entry 3 calls itself number 4 about {y}, after entry 2, which is number 2"),
        (("y", 3, 1), "entry 3 calls itself number 3 about {y}, after entry 1, which is not about that person"),
        (("y", 1, -1), "entries 0 and 3 both call themselves the first about {y}"),
    ],
)
def test_a_broken_chain_is_told_in_plain_words(ledger: Ledger, links: tuple[str, int, int], said: str) -> None:
    y, z = "sub_" + "y" * 26, "sub_" + "z" * 26
    linked(ledger, (y, 1, -1))
    linked(ledger, (z, 1, -1))
    linked(ledger, (z, 2, 1), (y, 2, 0))
    linked(ledger, (y, *links[1:]))
    report = check(ledger, ledger.export())
    assert [(finding.index, finding.text) for finding in report.findings] == [(3, said.format(y=y))]


def test_a_person_whose_entry_was_left_out_is_noticed(ledger: Ledger) -> None:
    ledger.grow(20)
    person, (seq, last) = next(iter(ledger.chains.items()))
    ledger.append(people=[{"subject_ref": person, "subject_seq": seq + 2, "previous_index": last}])
    report = check(ledger, ledger.export())
    assert [finding.index for finding in report.findings] == [20]
    assert person in report.findings[0].text


def test_without_a_believable_checkpoint_nothing_is_said(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    _, files = exported
    stranger = checkpoint.log_key("consentry.test/acme", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    report = verify.verify(files.get, stranger, secret=SECRET)
    assert (report.size, report.root, report.integrity) == (0, b"", Integrity.DAMAGED)
    assert {finding.path for finding in report.findings} == {"vkey", "checkpoint"}


def test_whose_signatures_a_foreign_checkpoint_carries_is_told(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    _, files = exported
    stranger = checkpoint.log_key("consentry.test/acme", Ed25519PrivateKey.from_private_bytes(bytes(32)))
    text = verify.verify(files.get, stranger, secret=SECRET).findings[-1].text
    assert "no known key signed the note; it carries signatures by consentry.test/acme (key id " in text


def test_a_listing_without_upper_tiles_rests_on_the_entries(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    lowest = {path: data for path, data in files.items() if not path.startswith("tile/1/")}
    report = verify.verify(lowest.get, ledger.verifier, secret=SECRET, has_upper_tiles=False)
    assert (report.integrity, report.findings) == (Integrity.INTACT, ())
    assert check(ledger, lowest).integrity is Integrity.DAMAGED


def test_findings_are_listed_up_to_a_limit_and_counted_beyond(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    report = check(ledger, {**files, "tile/entries/000": tiles.encode_bundle([b"x"] * 256)})
    assert len(report.findings) == MAX_FINDINGS
    assert report.findings_total > 512  # each entry has another hash and is no entry; chains lost their beginnings


def test_progress_is_told(exported: tuple[Ledger, dict[str, bytes]]) -> None:
    ledger, files = exported
    done: list[tuple[int, int]] = []
    assert check(ledger, files, progress=lambda *so_far: done.append(so_far)).integrity is Integrity.INTACT
    assert done == [(600, 600)]


def test_a_store_that_gives_too_little_is_not_exported(ledger: Ledger) -> None:
    ledger.grow(10)
    with pytest.raises(LedgerError) as refused:
        list(export.export_tiles(10, 9, read_entries=ledger.read_entries, read_tile=ledger.read_tile))
    assert refused.value.reason is Reason.FIELD_INVALID

    wrong: list[dict[str, Any]] = [
        {"read_entries": lambda *_: []},
        {"read_entries": lambda first, count: ledger.entries[first : first + count - 1]},
        {"read_tile": lambda *place: ledger.read_tile(*place)[:-1]},
        {"read_tile": lambda *place: ledger.read_tile(*place) + bytes(32)},
        {"read_tile": lambda *place: ledger.read_tile(*place) + b"\x00"},
    ]
    for readers in wrong:
        given_readers = {"read_entries": ledger.read_entries, "read_tile": ledger.read_tile, **readers}
        with pytest.raises(LedgerError) as damaged:
            list(export.export_tiles(0, 10, **given_readers))
        assert damaged.value.reason is Reason.DATA_DAMAGED
