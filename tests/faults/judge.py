"""After a crash: start on the disk that is left, and compare with everything that had been acknowledged.

A finding is a sentence; none is what is wanted.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import open_checkpoint
from consentry_server.core.ledger.entry import decode
from consentry_server.core.ledger.merkle import Frontier, hash_leaf
from consentry_server.core.ledger.note import VerifierKey
from consentry_server.core.ledger.tiles import FullTile, GrowingTree
from consentry_server.core.record.facts import Identifier, Photo
from consentry_server.core.vocabulary import RecordClass
from consentry_server.tenant import TenantFolders
from tests.support.clocks import Clock
from tests.support.rebuild import differences
from tests.support.stack import Stack, face, start

HONEST = frozenset(
    {Reason.STORAGE_FULL, Reason.STORAGE_FAILED, Reason.DATA_DAMAGED, Reason.KEYS_UNAVAILABLE, Reason.SHUTTING_DOWN}
)
"""What a call may be told when the disk fails."""
BUSINESS = frozenset({Reason.STATE_CONFLICT, Reason.DESTROYED, Reason.BASIS_GONE, Reason.PERMIT_EXPIRED})
"""What the load's own calls may get for what they ask."""


@dataclass(frozen=True)
class Said:
    """The lines of a worker, sorted.

    Args:
        answers: Acknowledgements, in order.
        refusals: Errors.
        withdrawn: People whose withdrawal was asked for, answered or not.
    """

    answers: list[dict[str, Any]]
    refusals: list[dict[str, Any]]
    withdrawn: frozenset[str]

    @classmethod
    def read(cls, lines: Iterable[bytes]) -> Said:
        said = [json.loads(line) for line in lines]
        return cls(
            [each for each in said if "did" in each],
            [each for each in said if "refused" in each],
            frozenset(each["person"] for each in said if "asked" in each),
        )

    def of(self, did: str) -> Iterator[dict[str, Any]]:
        return (each for each in self.answers if each["did"] == did)


def judge(state: Path, lines: Iterable[bytes], clock: Clock) -> list[str]:
    """Everything that is wrong with a disk, given what had been said.

    Args:
        state: The state folder that a crash left; it is started on, and so changed.
        lines: What had left the process.
        clock: The time now.
    """
    said = Said.read(lines)
    try:
        found = asyncio.run(_judge(state, said, clock))
    except Exception as error:  # noqa: BLE001 - nothing may escape from a product that was started again
        found = ["".join(traceback.format_exception(error)[-6:])]
    return [*_refused(said.refusals), *found]


def _refused(refusals: list[dict[str, Any]]) -> Iterator[str]:
    for each in refusals:
        if each["reason"] not in HONEST | BUSINESS:
            yield f"{each['refused']} was answered {each['reason']}: {each['message']}"


async def _judge(state: Path, said: Said, clock: Clock) -> list[str]:
    folders = TenantFolders(state, "acme")
    lock = FileLockRecord(folders.lock).read()
    try:
        stack = await start(state, clock, create=False)
    except ConsentryError as error:
        return [f"the start was refused: {error.reason}: {error.message}"]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return [f"the start failed: {type(error).__name__}: {error}"]
    try:
        await stack.running.leftovers.finished.wait()
        key = stack.tenant.checkpoints.key
        findings = [*await _contents(stack, said), *await _goes_on(stack)]
    finally:
        await stack.running.aclose()
    store = SqliteLedgerStore(folders.ledger)
    try:
        findings += [*_ledger(store, key, said, lock), *_keys(folders, store, said)]
    finally:
        store.close()
    return findings + [f"a projection is not the fold: {each}" for each in differences(folders.ledger)]


def _ledger(store: SqliteLedgerStore, key: VerifierKey, said: Said, lock: bytes | None) -> Iterator[str]:
    """The ledger: steps 1 to 3."""
    head = store.fetch_head()
    entries = store.fetch_entries(0, head.size)
    leaves = [hash_leaf(data) for data in entries]
    # (1) entries and tree
    tree, roots = GrowingTree(), [Frontier().root()]
    tiles: dict[tuple[int, int], FullTile] = {}
    for leaf in leaves:
        tiles.update({(tile.level, tile.number): tile for tile in tree.append(leaf)})
        roots.append(tree.root())
    if len(entries) != head.size or tree.root() != head.root:
        yield f"{len(entries)} entries do not hash to the head of {head.size}"
    if store.fetch_leaves(0, head.size) != leaves:
        yield "leaf hashes beside the entries are not theirs"
    if any(store.fetch_tile(*key) != tile for key, tile in tiles.items()):
        yield "a stored tile is not that of the entries"
    read = [decode(data) for data in entries]
    if [each["index"] for each in read] != list(range(len(read))):
        yield "entries are not in their places"
    times = [each["time"] for each in read]
    if times != sorted(times):
        yield "time went back"
    # (2) published checkpoints
    notes = [each["note"].encode() for each in said.of("checkpoint")] + ([] if lock is None else [lock])
    sizes = [0]
    for note in notes:
        signed = open_checkpoint(note, key).checkpoint
        sizes.append(signed.size)
        if signed.size > head.size or roots[signed.size] != signed.root:
            yield f"a published checkpoint of size {signed.size} is not of this ledger"
    if max(sizes) > sizes[-1]:
        yield f"a checkpoint of size {max(sizes)} was given out, the lock record says {sizes[-1]}"
    # (3) chains
    chains: dict[str, tuple[int, int]] = {}
    for entry in read:
        for link in entry.get("people", ()):
            person = link["subject_ref"]
            length, last = chains.get(person, (0, -1))
            if (link["subject_seq"], link["previous_index"]) != (length + 1, last):
                yield f"entry {entry['index']} breaks a person's chain"
            chains[person] = (length + 1, entry["index"])
    yield from (
        f"the chain of {person} is wrong" for person, link in chains.items() if store.fetch_chain(person) != link
    )
    yield from _answers(store, leaves, said)


def _answers(store: SqliteLedgerStore, leaves: list[bytes], said: Said) -> Iterator[str]:
    """What callers hold in their hands: steps 4 and 5."""
    # (4) what was answered is there, and permits name it
    for answer in said.answers:
        if "index" not in answer:
            continue
        index = answer["index"]
        if index >= len(leaves) or leaves[index].hex() != answer["leaf"]:
            yield f"LOST: {answer['did']} was acknowledged as entry {index} and is not there"
        elif answer.get("permit"):
            claims = _claims(answer["permit"])
            if (claims["ledger_index"], bytes.fromhex(claims["leaf_hash"])) != (index, leaves[index]):
                yield f"the permit of entry {index} names another leaf"
    # (5) what was answered STORAGE_FULL is not there
    answered = {each["key"] for each in said.answers if "key" in each}
    for refusal in said.refusals:
        name = refusal.get("key", "")
        if refusal["reason"] == "STORAGE_FULL" and name and name not in answered:
            known = store._reader.execute("select idx from request where key = ?", (bytes.fromhex(name),)).get
            if known is not None:
                yield f"{refusal['refused']} was answered STORAGE_FULL and is recorded as entry {known}"


async def _contents(stack: Stack, said: Said) -> list[str]:
    """(6) photos and (7) identifiers that were acknowledged open; (8) destructions that began are finished."""
    findings: list[str] = []
    tenant = stack.tenant
    store, keys = tenant.sequencer.store, tenant.photos._keys
    for answer in said.of("photo"):
        photo = await tenant.sequencer.submit(lambda book, name=answer["photo"]: book.get(Photo, name))  # type: ignore[misc]
        try:
            data = b"" if photo is None else b"".join([piece async for piece in tenant.photos._decrypted(photo)])
        except ConsentryError as error:
            findings.append(f"LOST: photo {answer['photo']} was acknowledged and does not open: {error.message}")
            continue
        if hashlib.sha256(data).hexdigest() != answer["sha256"]:
            findings.append(f"LOST: photo {answer['photo']} was acknowledged and its bytes are others")
    for answer in said.of("identifier"):
        name = answer["identifier"]
        held = await tenant.sequencer.submit(lambda book, name=name: book.get(Identifier, name))  # type: ignore[misc]
        blob = store.fetch_sealed(name)
        if held is None or held.destruction_id:
            if answer["person"] not in said.withdrawn:
                findings.append(f"LOST: identifier {name} was acknowledged and is gone, though nobody withdrew")
            if blob is not None:
                findings.append(f"identifier {name} is destroyed and its ciphertext is still there")
            continue
        try:
            plain = b"" if blob is None else keys.open(RecordClass.BIOMETRIC, held.key_owner, name, blob)
        except ConsentryError as error:
            findings.append(f"LOST: identifier {name} was acknowledged and does not open: {error.message}")
            continue
        if hashlib.sha256(plain).hexdigest() != answer["sha256"]:
            findings.append(f"LOST: identifier {name} was acknowledged and its bytes are others")
    left = await tenant.sequencer.submit(lambda book: book.tenant.open_destructions)
    findings += [f"destruction {each} is still open after the restart" for each in left]
    return findings


async def _goes_on(stack: Stack) -> list[str]:
    """(9) what was recovered serves: a check is recorded and a checkpoint covers it."""
    try:
        checked = await stack.check(face("after-the-crash"), sha256=b"\x01" * 32)
        note = await stack.tenant.audit.checkpoint()
    except ConsentryError as error:
        return [f"after the restart nothing works: {error.reason}: {error.message}"]
    size = open_checkpoint(note, stack.tenant.checkpoints.key).checkpoint.size
    return [] if size > checked.recorded.index else ["the first checkpoint after the restart leaves entries out"]


def _keys(folders: TenantFolders, store: SqliteLedgerStore, said: Said) -> Iterator[str]:
    """(10) a key whose destruction was acknowledged never comes back; (11) nothing is kept that no record knows."""
    keys = SqliteKeyStore(folders.key_store, "acme")
    keys.open(create=False)
    try:
        for answer in said.of("destroyed"):
            for record_id, dek_id in answer["targets"]:
                if keys.get(dek_id) is not None:
                    yield f"CAME BACK: the destroyed key {dek_id} of {record_id}"
                if store.fetch_sealed(record_id) is not None:
                    yield f"CAME BACK: the destroyed ciphertext of {record_id}"
        with keys._using() as connection:
            owners = [owner for (owner,) in connection.execute("select owner from dek where class = 'PHOTO'")]
    finally:
        keys.close()
    yield from (f"LEFT OVER: a key of photo {each}, which no record knows" for each in _unknown(store, owners))
    if any(each["reason"] in HONEST for each in said.refusals):
        return  # a disk that refuses to delete keeps ciphertext; without its key it is noise
    photos = [path.name for path in (folders.data / "blobs" / "photos").rglob("pho_*")]
    yield from (f"LEFT OVER: the bytes of photo {each}, which no record knows" for each in _unknown(store, photos))


def _unknown(store: SqliteLedgerStore, photo_ids: Iterable[str]) -> Iterator[str]:
    return (each for each in photo_ids if store.fetch_record("photo", each) is None)


def _claims(token: str) -> dict[str, Any]:
    """The claims of a signed token, unverified."""
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
