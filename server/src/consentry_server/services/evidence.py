"""Evidence packs: what is on record about a person, a photo or a period, with proofs, for those who trust nobody here.

One pass: each entry is read, hashed, proven against the signed checkpoint and written. A pack breaks off rather than
hold an entry that its proof does not fit. Format: docs/evidence.md.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger import canonical, note
from consentry_server.core.ledger.checkpoint import open_checkpoint, parse_body
from consentry_server.core.ledger.entry import decode, format_time
from consentry_server.core.ledger.errors import LedgerError
from consentry_server.core.ledger.merkle import consistency_proof, hash_leaf, inclusion_proof, verify_inclusion
from consentry_server.core.ledger.receipt import FILE_SUFFIX, Receipt
from consentry_server.core.ledger.tiles import TileHashes
from consentry_server.core.record.narrate import narrate
from consentry_server.services.evidence_cover import Told, cover, readme, timeline_head, timeline_row
from consentry_server.services.evidence_pack import Pack
from consentry_server.services.evidence_selection import choose, policies, related, system_entries
from consentry_server.services.ledger import tile_reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from consentry_server.core.ledger.checkpoint import OpenedCheckpoint
    from consentry_server.core.ledger.note import VerifierKey
    from consentry_server.services.evidence_selection import Chosen, Wanted
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.ports_evidence import AnchorFiles, CoverRenderer

PROOFS_PER_CACHE: Final = 256
"""Tiles that were read are kept for so many proofs, then dropped: memory stays bounded."""
HASHES_CACHED: Final = 4_096
WITHHELD: Final = (
    "This entry concerns other persons, alone or together with the one that this pack is about. It is withheld to "
    "protect them. Its hash and its place in the signed ledger are proven by the proof of the same number; type, time "
    "and whom it concerns are the keeper's statement. Whoever is later given its bytes can check them against the hash."
)


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """What does not change between packs.

    Args:
        key: The ledger's published key.
        engine: Version of the software.
        verifier: The bytes of ``verify.py``.
        witnesses: Keys whose cosignatures count.
    """

    key: VerifierKey
    engine: str
    verifier: bytes
    witnesses: tuple[VerifierKey, ...] = ()


@dataclass(slots=True)
class _Making:
    """One pack on its way."""

    note: bytes
    opened: OpenedCheckpoint
    chosen: Chosen
    redact: bool
    pack: Pack
    told: Told
    prove: Callable[[int], tuple[bytes, ...]]
    documents: dict[str, str] = field(default_factory=dict)
    """SHA-256 to the path of what entries name by it: notices, policies, rules."""
    sealed: dict[str, str] = field(default_factory=dict)
    """Id to SHA-256 of what callers typed, as ciphertext."""
    links: dict[int, int] = field(default_factory=dict)
    """The person's number of each of their entries."""


class Evidence:
    """Makes evidence packs of one ledger.

    Args:
        store: The ledger, for reading.
        settings: Keys, versions, the verifier.
        renderer: Makes the cover.
        anchors: What others signed.
        clock: Gives the time, UTC.
    """

    def __init__(
        self,
        *,
        store: LedgerStore,
        settings: EvidenceSettings,
        renderer: CoverRenderer,
        anchors: AnchorFiles,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._settings = settings
        self._renderer = renderer
        self._anchors = anchors
        self._clock = clock

    def export(self, wanted: Wanted, signed: bytes) -> Iterator[bytes]:
        """Make one pack. Blocks on the store and the renderer; call it, and take from it, on a worker thread.

        1. The checkpoint is signed by the ledger's key, and what is wanted is found in it.
        2. Each entry is read, proven and written; what concerns others is withheld where that is asked for.
        3. Documents, sealed words and anchors follow, then cover and manifest.

        Args:
            wanted: What it is about.
            signed: A published checkpoint; nothing after it is in the pack.

        Returns:
            The ZIP's bytes, in pieces. What cannot be found is raised before the first.

        Raises:
            ConsentryError: ``NOT_FOUND``, ``TOO_LARGE``; ``DATA_DAMAGED``: an entry and its proof do not fit;
                ``SERVICE_FAULT``: the cover could not be made.
        """
        # (1) checkpoint and selection
        opened = open_checkpoint(signed, self._settings.key, self._settings.witnesses)
        size = opened.checkpoint.size
        chosen = choose(self._store, wanted, size)
        now = self._clock()
        told = Told(wanted=wanted, opened=opened, key=self._settings.key, engine=self._settings.engine, made_at=now)
        making = _Making(signed, opened, chosen, wanted.redact_others, Pack(now), told, _prover(self._store, size))
        return self._write(making)

    def _write(self, making: _Making) -> Iterator[bytes]:
        pack, told = making.pack, making.told
        yield pack.add("README.txt", readme(told))
        yield pack.add("verify.py", self._settings.verifier)
        yield pack.add("vkey", f"{self._settings.key.vkey}\n".encode())
        yield pack.add("checkpoint", making.note)
        # (2) the entries
        rows = [timeline_head()]
        for index, part in self._places(making):
            for path, data in self._entry(making, index, part, rows):
                yield pack.add(path, data)
        yield pack.add("timeline.csv", b"".join(rows))
        # (3) what they name, what others signed, the cover
        for path, data in self._beside(making):
            yield pack.add(path, data)
        yield pack.add("cover.pdf", self._renderer.render(cover(told), told.made_at))
        yield pack.finish(
            {
                "ledger": self._settings.key.name,
                "made_at": format_time(told.made_at),
                "selection": {**making.chosen.stated, "redacted": making.redact},
                "software": f"consentry-server {self._settings.engine}",
                "tree_size": making.opened.checkpoint.size,
            }
        )

    def _places(self, making: _Making) -> list[tuple[int, str]]:
        """Every entry that goes in, ascending, and why."""
        chosen, store = making.chosen, self._store
        parts = dict.fromkeys(chosen.indices, "selected") | dict.fromkeys(chosen.beside, "beside")
        about = {index: "context" for at in chosen.indices for index in related(store, self._read(at), chosen.person)}
        system, making.told.system_is_complete = system_entries(store, chosen.indices[0], chosen.indices[-1])
        about |= dict.fromkeys([*system, *policies(store)], "context")
        size = making.opened.checkpoint.size
        return sorted({**{at: part for at, part in about.items() if 0 <= at < size}, **parts}.items())

    def _entry(self, making: _Making, index: int, part: str, rows: list[bytes]) -> Iterator[tuple[str, bytes]]:
        """An entry, or what is said of a withheld one, and the proof that goes with both."""
        data = self._bytes(index)
        entry, leaf, proof, signed = decode(data), hash_leaf(data), making.prove(index), making.opened.checkpoint
        verify_inclusion(leaf, index, signed.size, proof, signed.root)
        people = [each for each in entry.get("people", ()) if each["subject_ref"] == making.chosen.person]
        withhold = making.redact and len(people) < len(entry.get("people", ()))
        if withhold:
            links = [{name: each[name] for name in ("subject_ref", "subject_seq")} for each in people]
            stated = {name: entry[name] for name in ("index", "ledger", "time", "type")}
            stated |= {"leaf_hash": leaf.hex(), "why": WITHHELD} | ({"people": links} if links else {})
            yield f"withheld/{index:012d}.json", canonical.encode(stated, max_bytes=len(data) + 2_048)
        else:
            yield f"entries/{index:012d}.json", data
            _note_files(making, entry)
        yield f"proofs/{index:012d}{FILE_SUFFIX}", Receipt(index, proof, making.note).encode()
        words = "Withheld: it concerns other persons." if withhold else narrate(entry)
        rows.append(timeline_row(entry, part, words, withheld=withhold))
        making.told.add(entry, part, words, withheld=withhold)

    def _beside(self, making: _Making) -> Iterator[tuple[str, bytes]]:
        for digest, path in sorted(making.documents.items()):
            document = self._store.fetch_document(digest)
            if document is None:
                making.told.missing.append(path)
                continue
            yield path, _checked(document, digest, path)
        for record_id, digest in sorted(making.sealed.items()):
            blob = self._store.fetch_sealed(record_id)
            if blob is None or hashlib.sha256(blob).hexdigest() != digest:
                making.told.sealed_gone += 1  # destroyed, or sealed anew under another key, since it was recorded
                continue
            making.told.sealed += 1
            yield f"sealed/{record_id}.bin", blob
        yield from self._anchored(making)

    def _anchored(self, making: _Making) -> Iterator[tuple[str, bytes]]:
        """Anchors, and for each older checkpoint among them the proof that this ledger continues it."""
        indices, size = making.chosen.indices, making.opened.checkpoint.size
        hashes = TileHashes(size, tile_reader(self._store))
        proven: set[int] = set()
        for name, data in self._anchors.fetch((indices[0] + 1, indices[-1] + 1)):
            older = self._size_of(data)
            if older is not None and older > size:
                continue  # it was anchored while this pack was made
            making.told.anchors.append(name)
            yield f"anchors/{name}", data
            if older is not None and 0 < older < size and older not in proven:
                proven.add(older)
                lines = (b64encode(one).decode() for one in consistency_proof(older, size, hashes))
                yield f"consistency/{older}", "".join(f"{line}\n" for line in lines).encode()

    def _size_of(self, data: bytes) -> int | None:
        """The size that a checkpoint of this ledger states; None for any other file."""
        if not data.startswith(self._settings.key.name.encode() + b"\n"):
            return None
        try:
            return parse_body(note.parse(data).text).size
        except LedgerError:
            return None

    def _read(self, index: int) -> Mapping[str, Any]:
        return decode(self._bytes(index))

    def _bytes(self, index: int) -> bytes:
        data = self._store.fetch_entry(index)
        if data is None:
            raise ConsentryError(Reason.DATA_DAMAGED, f"entry {index} is gone: stop and restore from a backup")
        return data


def _note_files(making: _Making, entry: Mapping[str, Any]) -> None:
    """Remember what an entry names by hash."""
    for name, suffix in (("pack", "toml"), ("notice", "txt"), ("policy", "txt"), ("statement", "txt")):
        named = entry.get(name)
        digest = named.get("sha256", named.get("text_sha256")) if isinstance(named, dict) else None
        if isinstance(digest, str):
            making.documents[digest] = f"documents/{digest}.{suffix}"
    if "guidelines_sha256" in entry:
        making.documents[entry["guidelines_sha256"]] = f"documents/{entry['guidelines_sha256']}.txt"
    if "sealed" in entry:
        making.sealed[entry["sealed"]["id"]] = entry["sealed"]["sha256"]


def _checked(data: bytes, digest: str, path: str) -> bytes:
    if hashlib.sha256(data).hexdigest() != digest:
        raise ConsentryError(Reason.DATA_DAMAGED, f"{path} is not what was recorded: stop and restore from a backup")
    return data


def _prover(store: LedgerStore, size: int) -> Callable[[int], tuple[bytes, ...]]:
    """Inclusion proofs that share what they read, within bounds."""
    made = 0
    hashes: Callable[[int, int], bytes] = TileHashes(size, tile_reader(store))

    def prove(index: int) -> tuple[bytes, ...]:
        nonlocal made, hashes
        if made % PROOFS_PER_CACHE == 0:
            hashes = lru_cache(HASHES_CACHED)(TileHashes(size, tile_reader(store)))
        made += 1
        return tuple(inclusion_proof(index, size, hashes))

    return prove
