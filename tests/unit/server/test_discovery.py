"""Files for discovery tools: exact bytes, and no cell that a spreadsheet runs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from consentry_server import cli_discovery
from consentry_server.cli_discovery import Form
from consentry_server.cli_sources import Wanted
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import checkpoint as checkpoints
from consentry_server.core.ledger.entry import encode, format_time
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.record.words import Citation
from consentry_server.services.reading import StoredEntry
from tests.support.clocks import LEDGER, Clock

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


class Ledger:
    """Entries in memory, with what callers can make of an entry's texts."""

    ledger = LEDGER

    def __init__(self, *photo_ids: str) -> None:
        self.held = []
        for index, photo_id in enumerate(photo_ids):
            body = {"decision_id": "dec_0_a", "photo_id": photo_id, "reason": "BASIS_GONE"}
            common = {"type": "photo.refused", "version": 1, "ledger": LEDGER, "index": index, "nonce": "a" * 26}
            data = encode({**body, **common, "time": format_time(Clock().now), "actor": "processor/face-tagger"})
            self.held.append(StoredEntry(index, data, hash_leaf(data)))

    def entries(self, wanted: Wanted, first: int = 0, until: int | None = None) -> Iterator[StoredEntry | None]:
        yield from self.held[first:until]
        yield None

    def checkpoint(self) -> tuple[bytes, str]:
        signed = checkpoints.Checkpoint(LEDGER, len(self.held), bytes(32))
        return checkpoints.sign(signed, KEY), checkpoints.log_key(LEDGER, KEY).vkey

    def citations(self, entry: object) -> dict[str, Citation]:
        return {}


def export(target: Path, form: Form, *photo_ids: str) -> Path:
    source = Ledger(*photo_ids)
    cli_discovery.export(source, target, form, Wanted(), {}, lambda done: None)  # type: ignore[arg-type]
    return target


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "\n", "|", "%", "  ="])
def test_no_cell_is_a_formula(tmp_path: Path, begins: str) -> None:
    evil = f'{begins}HYPERLINK("http://evil.test","click"),"x"'
    data = (export(tmp_path / "out", Form.CSV, evil) / "entries.csv").read_bytes().decode()
    (row,) = csv.DictReader(io.StringIO(data, newline=""))
    assert row["photo_id"] == f"'{evil}"
    for cell in row.values():
        assert not cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert json.loads(row["entry"])["photo_id"] == evil  # the bytes themselves are never changed


def test_json_lines_are_the_stored_bytes_and_the_manifest_is_last(tmp_path: Path) -> None:
    folder = export(tmp_path / "out", Form.JSONL, "pho_a", "pho_ü", "pho_c")
    lines = (folder / "entries.jsonl").read_bytes().splitlines()
    assert lines == [each.data for each in Ledger("pho_a", "pho_ü", "pho_c").held]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["entries"], manifest["size"], manifest["ledger"]) == (3, 3, LEDGER)
    for each in manifest["files"]:
        assert hashlib.sha256((folder / each["name"]).read_bytes()).hexdigest() == each["sha256"]
    with pytest.raises(ConsentryError) as raised:
        export(folder, Form.JSONL, "pho_a")
    assert raised.value.reason is Reason.ALREADY_EXISTS
    with pytest.raises(ConsentryError) as raised:
        export(folder / "manifest.json", Form.JSONL, "pho_a")
    assert raised.value.reason is Reason.STORAGE_FAILED


def test_the_same_ledger_gives_the_same_files(tmp_path: Path) -> None:
    for form in (Form.JSONL, Form.CSV):
        one, two = (export(tmp_path / f"{form}{number}", form, "pho_a", "=b") for number in range(2))
        for path in one.iterdir():
            assert path.read_bytes() == (two / path.name).read_bytes()
