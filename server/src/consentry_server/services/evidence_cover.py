"""What an evidence pack says of itself: cover, README.txt, timeline. Exact about what is not proven."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.ledger.entry import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from consentry_server.core.ledger.checkpoint import OpenedCheckpoint
    from consentry_server.core.ledger.note import VerifierKey
    from consentry_server.services.evidence_selection import Wanted

ROWS_SHOWN: Final = 200
"""Rows of the timeline on the cover; all of them stand in timeline.csv."""
COMMAND: Final = "python3 verify.py . --vkey LEDGER.vkey"
_PARTS: Final = {"selected": "asked for", "context": "context", "beside": "beside the period"}


@dataclass(slots=True)
class Told:
    """What was seen while a pack was made.

    Args:
        wanted: What it is about.
        opened: The checkpoint and its cosignatures.
        key: The ledger's key.
        engine: Version of the software that made it.
        made_at: When, UTC.
    """

    wanted: Wanted
    opened: OpenedCheckpoint
    key: VerifierKey
    engine: str
    made_at: datetime
    rows: list[list[str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    withheld: int = 0
    first_time: str = ""
    last_time: str = ""
    first_index: int = -1
    last_index: int = -1
    builds: dict[str, None] = field(default_factory=dict)
    starts: list[list[str]] = field(default_factory=list)
    packs: list[list[str]] = field(default_factory=list)
    papers: list[list[str]] = field(default_factory=list)
    system_is_complete: bool = False
    missing: list[str] = field(default_factory=list)
    anchors: list[str] = field(default_factory=list)
    sealed: int = 0
    sealed_gone: int = 0

    def add(self, entry: Mapping[str, Any], part: str, words: str, *, withheld: bool) -> None:
        """Take in one entry, in order.

        Args:
            entry: The decoded entry.
            part: Why it is in the pack: ``selected``, ``context`` or ``beside``.
            words: It in plain words.
            withheld: Whether its contents are left out: then nothing of them is kept here.
        """
        self.counts[part] = self.counts.get(part, 0) + 1
        self.withheld += withheld
        if part == "selected":
            if self.first_index < 0:
                self.first_time, self.first_index = entry["time"], entry["index"]
            self.last_time, self.last_index = entry["time"], entry["index"]
            if len(self.rows) < ROWS_SHOWN:
                self.rows.append([str(entry["index"]), _clock(entry["time"]), words])
        if withheld:
            return
        if "engine" in entry:
            self.builds[entry["engine"]] = None
        self._system(entry)

    def _system(self, entry: Mapping[str, Any]) -> None:
        where, when = f"entry {entry['index']}", _clock(entry["time"])
        match entry["type"]:
            case "system.started":
                self.starts.append([when, where, entry["engine"], entry["settings_sha256"]])
            case "pack.activated":
                pack = entry["pack"]
                self.packs.append([f"{pack['pack_id']} version {pack['version']}", when, where, pack["sha256"]])
            case "notice.published":
                notice = entry["notice"]
                named = f"Notice {notice['notice_id']} version {notice['version']} ({notice['language']})"
                self.papers.append([named, when, where, notice["text_sha256"]])
            case "policy.published":
                policy = entry["policy"]
                named = f"Retention policy {policy['policy_id']} version {policy['version']}"
                self.papers.append([named, when, where, policy["text_sha256"]])
            case "statement.recorded":
                stated = entry["statement"]
                named = f"Public statement {stated['statement_id']} of {stated['stated_at'][:10]}"
                self.papers.append([named, when, where, stated["text_sha256"]])

    @property
    def total(self) -> int:
        """Entries in the pack, withheld ones included."""
        return sum(self.counts.values())


def cover(told: Told) -> dict[str, Any]:
    """What the cover shows: JSON values, every string printable in the fonts that the renderer brings.

    Args:
        told: What was seen while the pack was made.
    """
    signed, chosen = told.opened.checkpoint, told.counts.get("selected", 0)
    made: dict[str, Any] = {
        "about": _about(told.wanted),
        "ledger": signed.origin,
        "made_at": _clock(format_time(told.made_at)),
        "made": [told.made_at.year, told.made_at.month, told.made_at.day],
        "software": f"consentry-server {told.engine}",
        "command": COMMAND,
        "vkey": told.key.vkey,
        "size": f"{signed.size:,}",
        "root": signed.root.hex(),
        "chosen": f"{chosen:,}",
        "context": f"{told.total - chosen:,}",
        "first": f"entry {told.first_index}, {_clock(told.first_time)}",
        "last": f"entry {told.last_index}, {_clock(told.last_time)}",
        "verdicts": _verdicts(told),
        "rows": told.rows,
        "more": f"{chosen - len(told.rows):,}" if chosen > len(told.rows) else "",
        "builds": ", ".join(told.builds) or "none named in these entries",
        "starts": told.starts,
        "starts_complete": told.system_is_complete,
        "packs": told.packs,
        "papers": told.papers,
        "missing": told.missing,
        "redacted": told.wanted.redact_others,
        "withheld": f"{told.withheld:,}",
        "sealed": f"{told.sealed:,}",
        "sealed_gone": f"{told.sealed_gone:,}" if told.sealed_gone else "",
        "anchors": len(told.anchors),
        "subject": told.wanted.subject_ref,
    }
    return {name: printable(value) for name, value in made.items()}


def readme(told: Told) -> bytes:
    """README.txt: what an expert does with the pack.

    Args:
        told: As it is before the first entry: who and when.
    """
    return _README.format(
        about=_about(told.wanted),
        ledger=told.key.name,
        size=told.opened.checkpoint.size,
        made_at=_clock(format_time(told.made_at)),
        command=COMMAND,
        vkey=told.key.vkey,
    ).encode()


def timeline_head() -> bytes:
    """First line of timeline.csv."""
    return _csv(["index", "time", "part", "type", "actor", "in plain words", "file"])


def timeline_row(entry: Mapping[str, Any], part: str, words: str, *, withheld: bool) -> bytes:
    """One line of timeline.csv.

    Args:
        entry: The decoded entry.
        part: Why it is in the pack.
        words: It in plain words.
        withheld: Whether its contents are left out.
    """
    folder = "withheld" if withheld else "entries"
    actor = "" if withheld else entry["actor"]
    file = f"{folder}/{entry['index']:012d}.json"
    return _csv([str(entry["index"]), entry["time"], _PARTS[part], entry["type"], actor, words, file])


def printable(value: Any) -> Any:
    """Write characters that no bundled font has as ``U+540D``: under PDF/A a missing one is an error.

    Args:
        value: A JSON value.
    """
    if isinstance(value, str):
        return "".join(one if one.isascii() or one in _LATIN else f"U+{ord(one):04X}" for one in value)
    if isinstance(value, list):
        return [printable(each) for each in value]
    if isinstance(value, dict):
        return {name: printable(each) for name, each in value.items()}
    return value


_LATIN: Final = frozenset(map(chr, range(0xA1, 0x100)))  # what every bundled font has beside ASCII


def _about(wanted: Wanted) -> str:
    if wanted.subject_ref:
        return f"the person with the reference {wanted.subject_ref}"
    if wanted.photo_id:
        return f"the photo {wanted.photo_id}"
    since = "the ledger's beginning" if wanted.from_time is None else _clock(format_time(wanted.from_time))
    until = "the checkpoint" if wanted.until_time is None else _clock(format_time(wanted.until_time))
    return f"the period from {since} to {until}"


def _verdicts(told: Told) -> list[list[str]]:
    """Question, verdict, what it rests on, what it does not show."""
    signed, count, number = told.opened.checkpoint, told.counts.get("selected", 0), told.last_index
    aside = (
        f" Of {told.withheld:,} withheld entries, whom they concern is the keeper's statement." if told.withheld else ""
    )
    rests = (
        f"For each of the {told.total:,} entries here, its SHA-256 leaf hash leads through its inclusion proof to the "
        f"root of the checkpoint, which the ledger's Ed25519 key signed over {signed.size:,} entries."
    )
    shows = "That what was recorded is true. An entry shows that it was recorded, when, and by which caller."
    rows = [["Integrity", "INTACT", rests, shows], _completeness(told)]
    if told.wanted.subject_ref:
        rests = (
            "Each entry about a person states its number among that person's entries and the index of the one before: "
            f"here number 1 to {count:,}, without a gap.{aside}"
        )
        shows = (
            f"That no entry about this person follows entry {number}: a chain cannot show its own end. A full export "
            "of the ledger shows it, and verify.py checks that as well."
        )
        rows.append(["Selection", "PROVEN by chain", rests, shows])
    elif told.wanted.photo_id:
        rests = f"The keeper's search for the photo's id among all entries after it was stored.{aside}"
        shows = "That there are no more. A full export of the ledger shows it."
        rows.append(["Selection", "NOT PROVEN", rests, shows])
    else:
        rests = (
            "Entries have no gaps in their numbers and their times never decrease: here is every entry from "
            f"{told.first_index} to {number}, and the neighbours of both lie outside the period.{aside}"
        )
        shows = "Events of the period that were recorded later: an entry's time is when it was recorded."
        rows.append(["Selection", "PROVEN by place", rests, shows])
    return rows


def _completeness(told: Told) -> list[str]:
    if told.opened.cosignatures:
        by = ", ".join(f"{one.name} at {_clock(_from_seconds(one.timestamp))}" for one in told.opened.cosignatures)
        rests = f"Cosigned by {by}. A witness signs a tree only if every tree that it signed before is a part of it."
        return [
            "Completeness",
            "PROVEN",
            rests,
            "That every event was recorded at all: compare what other systems hold.",
        ]
    rests = "No witness known to this system cosigned the checkpoint."
    if told.anchors:
        rests += f" {len(told.anchors)} files of others' signatures are enclosed; verify.py says what they add."
    shows = (
        "That nobody was ever shown another version of this ledger. Compare the checkpoint with what others kept: "
        "permits, receipts, timestamps."
    )
    return ["Completeness", "NOT PROVEN", rests, shows]


def _from_seconds(seconds: int) -> str:
    return format_time(datetime.fromtimestamp(seconds, UTC))


def _clock(time: str) -> str:
    """A time for readers: ``2026-11-23 14:21:10 UTC``; the exact one stands in the entry."""
    return f"{time[:10]} {time[11:19]} UTC"


def _csv(cells: Sequence[str]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue().encode()


_README: Final = """\
EVIDENCE PACK
about {about}
from the ledger {ledger}, as it stood with {size} entries
made {made_at}

CHECK IT: one command, offline
------------------------------
Unpack the ZIP, open a terminal in the folder, and run

    {command}

LEDGER.vkey is a file with the ledger's public key, one line. Take it from a place that the ledger's keeper cannot
change (an earlier production, a filing, a public page, a witness). The pack holds a copy in the file vkey:

    {vkey}

Without --vkey the copy is used; that shows only that the pack agrees with itself.
You need Python 3.9 or newer and its package "cryptography" (pip install cryptography). Nothing goes over the network.
To trust less: compare verify.py with the copy that its makers publish, or read it; it has fewer than 300 lines.
If witnesses signed, add --witness and the witness's key. The ZIP itself will do as well: put its name for the dot.

Exit code 0: nothing is wrong, and the three verdicts say what is proven and what is not.
Exit code 1: something is false; the lines that begin with WRONG say what. Exit code 2: it cannot be checked.

WITHOUT PYTHON
--------------
An entry's hash is the SHA-256 of one zero byte and the file's exact bytes:

    (printf '\\000'; cat entries/000000000000.json) | sha256sum

Its file in proofs/ (format c2sp.org/tlog-proof@v1) leads from that hash to the root in the file checkpoint (RFC 6962).
The same formats are read by public tools, such as golang.org/x/mod/sumdb. A timestamp is checked with

    openssl ts -verify -data CHECKPOINT -in TIMESTAMP -CAfile AUTHORITY.pem

WHAT IS HERE
------------
cover.pdf        what this is, what happened in plain words, the verdicts, the custodian's certificate form
timeline.csv     every entry in plain words; the words explain, the entries count
entries/         the entries, one file each, exact bytes as recorded; the number is the place in the ledger
withheld/        entries that concern other persons: hash, place and why, without the contents
proofs/          for each of both, the proof that it stands in the signed ledger
checkpoint       the signed statement of the ledger's size and root
vkey             the key that signed it
documents/       notices as shown, policies and rules, exact bytes, named by their SHA-256
sealed/          what callers typed, as it is kept: encrypted. Entries name its SHA-256. It is not opened here, so
                 that it can still be destroyed when the law says so; the keeper can open it when ordered to
anchors/         what others signed: witnessed checkpoints, timestamps
consistency/     proofs that this checkpoint only adds to those
manifest.json    the SHA-256 of every file, and what was selected
verify.py        the verifier
A folder that is not there would be empty.
"""
