"""Entries for discovery tools: JSON lines or CSV, with a manifest of hashes. The same ledger gives the same files."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.note import parse_vkey
from consentry_server.core.record.words import tell

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from consentry_server.cli_sources import Source, Wanted
    from consentry_server.services.reading import StoredEntry

MANIFEST = "manifest.json"
FORM = "consentry discovery export 1"
COLUMNS = (
    "index",
    "time",
    "type",
    "actor",
    "people",
    "decision_id",
    "outcome",
    "rules",
    "permit",
    "operation",
    "purpose",
    "category",
    "result",
    "photo_id",
    "photo_ref",
    "in_words",
    "leaf_hash",
    "entry",
)
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""A spreadsheet takes a cell that begins so for a formula (OWASP, CSV Injection)."""


class Form(StrEnum):
    """What an export is written as."""

    TILES = "tiles"
    JSONL = "jsonl"
    CSV = "csv"


def export(
    source: Source, target: Path, form: Form, wanted: Wanted, filters: dict[str, object], step: Callable[[int], None]
) -> tuple[int, int]:
    """Write entries up to the last signed checkpoint, then a manifest.

    Args:
        source: The ledger.
        target: The folder; made where it is missing, refused where it holds an export.
        form: ``JSONL``: each line an entry's exact bytes; ``CSV``: a row of columns, with the words and the bytes.
        wanted: Which entries.
        filters: The same, as the manifest states it.
        step: Told how many entries were written.

    Returns:
        How many entries, out of how many.

    Raises:
        ConsentryError: ``ALREADY_EXISTS``, ``NOT_FOUND``: no checkpoint yet, or ``STORAGE_FAILED``.
    """
    note, vkey = source.checkpoint()
    signed = open_checkpoint(note, parse_vkey(vkey)).checkpoint
    if (target / MANIFEST).exists():
        raise ConsentryError(Reason.ALREADY_EXISTS, f"{target} holds an export: name another folder")
    name = f"entries.{form}"
    try:
        target.mkdir(parents=True, exist_ok=True)
        count = 0
        with (target / name).open("wb") as file:
            file.write(b"" if form is Form.JSONL else _row(COLUMNS))
            for stored in source.entries(wanted, 0, signed.size):
                if stored is None:
                    continue
                file.write(stored.data + b"\n" if form is Form.JSONL else _row(_cells(stored, source)))
                count += 1
                step(count)
        (target / "checkpoint").write_bytes(note)
        (target / "vkey").write_text(f"{vkey}\n", encoding="ascii")
        manifest = {
            "form": FORM,
            "ledger": signed.origin,
            "size": signed.size,
            "root": signed.root.hex(),
            "filters": filters,
            "entries": count,
            "files": [_file(target / each) for each in (name, "checkpoint", "vkey")],
        }
        text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        (target / MANIFEST).write_text(text, encoding="utf-8")  # last: only an export that is complete has it
    except OSError as error:
        raise ConsentryError(
            Reason.STORAGE_FAILED, f"{target} cannot be written: {error.strerror}; what it holds is incomplete"
        ) from error
    return count, signed.size


def _cells(stored: StoredEntry, source: Source) -> list[str]:
    entry = stored.said()
    told = tell(entry, source.citations(entry))
    request: dict[str, Any] = entry.get("request", {})
    photo: dict[str, Any] = entry.get("photo", {})
    return [
        str(stored.index),
        entry["time"],
        entry["type"],
        entry["actor"],
        " ".join(told.people),
        entry.get("decision_id", ""),
        entry.get("outcome", ""),
        "; ".join(" ".join(filter(None, (rule.rule_id, rule.found, rule.law))) for rule in told.rules),
        "yes" if entry.get("permit") else "",
        request.get("operation", ""),
        request.get("purpose", ""),
        request.get("category", ""),
        entry.get("result", ""),
        entry.get("photo_id", photo.get("photo_id", "")),
        entry.get("photo_ref", photo.get("photo_ref", "")),
        " ".join(told.sentences),
        stored.leaf_hash.hex(),
        stored.data.decode(),
    ]


def _row(cells: tuple[str, ...] | list[str]) -> bytes:
    """A line of CSV (RFC 4180); what a spreadsheet would take for a formula begins with an apostrophe instead."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(
        [f"'{cell}" if cell.lstrip(" ").startswith(_FORMULAS) else cell for cell in cells]
    )
    return text.getvalue().encode()


def _file(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": digest}
