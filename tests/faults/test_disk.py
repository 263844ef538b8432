"""The model of the disk keeps what was synced, may keep the rest, and makes nothing up."""

from __future__ import annotations

import random

from tests.faults.disk import ROOT, SECTOR, Change, Crash, Disk, Names, Recording, Said, Sync, Truncate, Write

FILE = 1
NEW = b"\x02" * (4 * SECTOR)
OLD = b"\x01" * (4 * SECTOR)


def made(*changes: Change) -> Recording:
    return Recording(Disk({ROOT: {"file": FILE}}, {FILE: bytearray(OLD)}), list(changes))


def outcomes(recording: Recording, cut: int, crash: Crash = Crash.POWER) -> set[bytes | None]:
    disks = (recording.crash(crash, cut, random.Random(seed)) for seed in range(300))
    return {dict(disk.paths()).get("file") for disk in disks}


def test_a_synced_write_stays() -> None:
    assert outcomes(made(Write(FILE, 0, NEW), Sync(FILE, 1)), 2) == {NEW}


def test_an_unsynced_write_stays_or_goes_or_is_torn_at_sectors() -> None:
    left = outcomes(made(Write(FILE, 0, NEW), Said(b"{}")), 1)
    assert {OLD, NEW} < left
    for data in left:
        assert data is not None
        assert {data[at : at + SECTOR] for at in range(0, len(data), SECTOR)} <= {NEW[:SECTOR], OLD[:SECTOR]}


def test_a_sync_covers_only_what_was_there_when_it_began() -> None:
    late = Write(FILE, 0, NEW)
    assert OLD in outcomes(made(late, Sync(FILE, 0)), 2)


def test_a_sync_of_another_file_covers_nothing() -> None:
    assert OLD in outcomes(made(Write(FILE, 0, NEW), Sync(9, 1)), 2)


def test_later_unsynced_writes_may_stay_without_earlier_ones() -> None:
    first, second = Write(FILE, 0, NEW[:SECTOR]), Write(FILE, SECTOR, NEW[:SECTOR])
    assert OLD[:SECTOR] + NEW[:SECTOR] + OLD[2 * SECTOR :] in outcomes(made(first, second), 2)


def test_a_truncation_may_be_undone_until_it_is_synced() -> None:
    assert outcomes(made(Truncate(FILE, 0)), 1) == {b"", OLD}
    assert outcomes(made(Truncate(FILE, 0), Sync(FILE, 1)), 2) == {b""}


def test_a_name_stays_once_its_folder_is_synced() -> None:
    gone = Names(ROOT, (("file", None),))
    assert outcomes(made(gone), 1) == {None, OLD}
    assert outcomes(made(gone, Sync(ROOT, 1)), 2) == {None}


def test_a_move_is_seen_whole_or_not_at_all() -> None:
    recording = made(Write(2, 0, b"new"), Sync(2, 1), Names(ROOT, (("beside", None), ("file", 2))))
    assert outcomes(recording, 3) == {OLD, b"new"}


def test_a_kill_keeps_every_finished_call_and_part_of_the_one_under_way() -> None:
    recording = made(Write(FILE, 0, NEW[:SECTOR]), Write(FILE, SECTOR, NEW[:SECTOR]))
    left = outcomes(recording, 1, Crash.KILL)
    assert all(data is not None and data.startswith(NEW[:SECTOR]) for data in left)
    assert len(left) > 100


def test_what_was_said_before_a_cut_counts() -> None:
    recording = made(Said(b"1"), Write(FILE, 0, b"x"), Said(b"2"))
    assert [recording.said(cut) for cut in (0, 1, 2, 3)] == [[], [b"1"], [b"1"], [b"1", b"2"]]
