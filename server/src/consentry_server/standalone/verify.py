"""Verify an evidence pack (folder or ZIP) or an exported ledger (tlog-tiles folder), offline.

Usage: python3 verify.py PACK --vkey KEY [--witness KEY ...]
KEY is a verifier key (name+hash+base64) or a file that holds one, from a place that the ledger's keeper cannot change:
without --vkey the key inside the pack is used, which shows only that the pack agrees with itself.
Needs Python 3.9 or newer and the package `cryptography`; shares no code with the software that made the pack.
Exit code: 0 nothing is wrong, and the verdicts say what is proven; 1 something is false; 2 it cannot be checked.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import sys
import zipfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Container

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT, PROOF, WIDTH, LARGEST, SHOWN = "consentry-evidence/1", "c2sp.org/tlog-proof@v1", 256, 2**28, 20
wrong, notes = list[str](), list[str]()


def check(where: str, act: Callable[..., Any], *values: Any) -> Any:  # what is wrong is kept, the next check follows
    try:
        return act(*values)
    except Exception as error:  # whatever a file holds, it is a finding and no crash
        return wrong.append(f"{where}: {error if isinstance(error, ValueError) else f'malformed, {error!r}'}")


def need(true: Any, text: str) -> None:
    if not true:
        raise ValueError(text)


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tree(row: list[bytes]) -> bytes:
    while len(row) > 1:  # RFC 6962, section 2.1: pairs, level by level; an odd one goes up as it is
        row = [sha(b"\x01" + row[at] + row[at + 1]) if at + 1 < len(row) else row[at] for at in range(0, len(row), 2)]
    return row[0] if row else sha(b"")


def b64(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, f"{text[:40]!r} is no strict base64")
    return data


def unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len(dict(items)) == len(items), "a key stands twice")
    return dict(items)


class Key:  # a verifier key, C2SP signed-note: type 1 signs checkpoints, type 4 cosigns them
    def __init__(self, text: str) -> None:
        self.text, (self.name, self.id, encoded) = text.strip(), [*text.strip().split("+", 2), "", ""][:3]
        key = b64(encoded)
        need(len(key) == 33 and key[0] in (1, 4), "it is no vkey, or of a type that is not known here")
        need(sha(self.name.encode() + b"\n" + key)[:4].hex() == self.id, "the key does not fit its own hash")
        self.type, self.public = key[0], Ed25519PublicKey.from_public_bytes(key[1:])

    def verify(self, body: bytes, signature: bytes) -> str:
        time = int.from_bytes(signature[:8], "big") if self.type == 4 else 0
        body = b"cosignature/v1\ntime %d\n" % time + body if self.type == 4 else body
        try:
            self.public.verify(signature[8:] if self.type == 4 else signature, body)
        except InvalidSignature:
            raise ValueError(f"the signature of {self.name} does not fit") from None
        return f"{self.name} at {datetime.fromtimestamp(time, timezone.utc).isoformat()}" if self.type == 4 else ""


class Checkpoint:  # C2SP tlog-checkpoint; signatures by keys that were not given are counted, not judged
    def __init__(self, note: bytes, key: Key, witnesses: list[Key]) -> None:
        body, gap, signatures = note.decode().partition("\n\n")
        origin, size, root, *rest = [*body.split("\n"), "", ""]
        self.size, self.root, self.unknown, said = int(size or 0), b64(root), 0, dict[Key, str]()
        whole = gap and signatures.endswith("\n") and str(self.size) == size >= "0" and len(self.root) == 32
        need(whole and len(rest) == 2, "it is no signed note of a checkpoint")
        need(origin == key.name and key.type == 1, f"it is of {origin!r}, but the key of {key.name!r}")
        for line in signatures[:-1].split("\n"):
            dash, name, data = line.split(" ")
            known = [each for each in (key, *witnesses) if (each.name, each.id) == (name, b64(data)[:4].hex())]
            need(dash == "\u2014" and len(b64(data)) > 4, "a signature line is malformed")
            said.update({each: each.verify(body.encode() + b"\n", b64(data)[4:]) for each in known})
            self.unknown += not known
        need(any(each.type == 1 and each.name == origin for each in said), f"the key of {key.name} did not sign it")
        self.cosigned = ", ".join(filter(None, said.values()))

    def completeness(self) -> str:
        open_ = "NOT PROVEN: no witness named with --witness signed this, so that others could be shown another ledger"
        proven = f"PROVEN up to entry {self.size - 1}: {self.cosigned} saw no other ledger of this name"
        return proven if self.cosigned else f"{open_} ({self.unknown} signatures by keys not named)"


def climb(index: int, size: int, old: bytes, new: bytes, proof: list[bytes]) -> tuple[bytes, bytes]:
    last = size - 1  # RFC 9162, section 2.1.3.2; old takes in the left siblings alone, as section 2.1.4.2 needs it
    for one in proof:
        need(last and len(one) == 32, "the proof has the wrong length")
        if index & 1 or index == last:
            old, new = sha(b"\x01" + one + old), sha(b"\x01" + one + new)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            new = sha(b"\x01" + new + one)
        index, last = index >> 1, last >> 1
    need(last == 0 <= index, "the proof has the wrong length")
    return old, new


def continues(old: Checkpoint, new: Checkpoint, proof: list[bytes]) -> None:
    index, size = max(old.size - 1, 0), new.size
    while index & 1 or index == size - 1 > 0:  # RFC 9162, section 2.1.4.2
        index, size = index >> 1, (size + 1) >> 1
    first = proof.pop(0) if proof and index else old.root
    same = old.size > 0 and climb(index, size, first, first, proof) == (old.root, new.root)
    need(same, "the ledger does not continue it: a fork")


def read_entry(data: bytes, index: int, origin: str, time: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(data.decode(), object_pairs_hook=unique)
    need(entry["index"] == index and entry["ledger"] == origin, "it names another index or ledger as its own")
    need(entry["time"] >= time, "it is earlier than the entry before it")
    return entry


def follow(chain: tuple[int, int] | None, index: int, seq: int, previous: int | None) -> tuple[int, int]:
    count, last = chain or (0, -1)  # and previous is None for a withheld entry: what it says is not known
    lost = f"it is the person's number {seq}, after entry {previous}; what lies between number {count} and it is gone"
    need(seq == count + 1 and previous in (None, last), lost)
    return seq, index


class Files:
    def __init__(self, path: str) -> None:
        self.folder, self.zip = Path(path), None if Path(path).is_dir() else zipfile.ZipFile(path)
        found = [each.relative_to(path).as_posix() for each in self.folder.rglob("*") if not each.is_dir()]
        self.names = set(names := self.zip.namelist() if self.zip else found)
        need(len(names) == len(self.names), "a file stands twice in the ZIP")

    def read(self, name: str) -> bytes:
        need(name in self.names and (not self.zip or self.zip.getinfo(name).file_size < LARGEST), f"{name} is missing")
        return self.zip.read(name) if self.zip else (self.folder / name).read_bytes()


def anchored(files: Files, key: Key, witnesses: list[Key], signed: Checkpoint, fits: Callable[..., Any]) -> str:
    anchors, olds = {each: files.read(each) for each in sorted(files.names) if each.startswith("anchors/")}, [signed]
    for name, data in anchors.items():  # older checkpoints, which must be part of this ledger, and timestamps of those
        if data.startswith(key.name.encode() + b"\n"):
            beside = [anchors[each] for each in anchors if each[: name.rindex("/") + 1] == name[: name.rindex("/") + 1]]
            lines = b"".join(each for each in beside if each.startswith("\u2014".encode()))
            olds.append(check(name, Checkpoint, data + lines, key, witnesses) or signed)
            check(name, fits, olds[-1])
        elif data[:1] == b"\x30":  # DER: an RFC 3161 token's imprint is compared here, its signature by OpenSSL
            stamped = (each for each in anchors if b"\x04\x20" + sha(anchors[each]) in data and "checkpoint" in each)
            check(name, need, of := next(stamped, ""), "it is a timestamp of none of the checkpoints here")
            notes.append(f"to see who stamped it: openssl ts -verify -data {of} -in {name} -CAfile AUTHORITY.pem")
    return max(olds, key=lambda each: (each.cosigned > "", each.size)).completeness()


def verify_export(files: Files, key: Key, witnesses: list[Key]) -> tuple[str, str]:  # the whole ledger, nothing else
    signed, names = Checkpoint(files.read("checkpoint"), key, witnesses), {n for n in files.names if n[:7] != "anchors"}
    sizes = {int(size) for size in re.findall(r"anchors/(\d+)/checkpoint", " ".join(files.names))}
    seen, time, roots, chains, past = {"checkpoint", "vkey"}, "", list[bytes](), dict[str, Any](), dict[int, bytes]()

    def tile(kind: str, at: int, width: int) -> list[bytes]:
        path, high, items, head = f"{at % 1000:03d}", at // 1000, list[bytes](), 2 * (kind == "entries")
        while high:
            path, high = f"x{high % 1000:03d}/{path}", high // 1000
        for count in sorted({width} | {each for each in range(1, width) if f"tile/{kind}/{path}.p/{each}" in names}):
            name, before, items, start = f"tile/{kind}/{path}" + f".p/{count}" * (count < WIDTH), items, [], 0
            seen.add(name)
            data = files.read(name)
            while start < len(data):
                length = 2 + int.from_bytes(data[start : start + 2], "big") if head else 32
                items.append(data[start + head : (start := start + length)])
            fits = items[: len(before)] == before and start == len(data) and count in (len(items), width)
            check(name, need, fits, "is cut short, or differs from an older one")
        return items

    for at in range(0, signed.size, WIDTH):
        width = min(WIDTH, signed.size - at)
        entries, hashes = (check(f"tile/{one} {at}", tile, one, at // WIDTH, width) or [] for one in ("entries", "0"))
        leaves, there = [sha(b"\x00" + data) for data in entries], range(max(width, len(entries), len(hashes)))
        bad = [at + n for n in there if n >= width or leaves[n : n + 1] != hashes[n : n + 1]]
        wrong.extend(f"entry {index}: changed, missing, moved or added, or its hash tile was" for index in bad)
        for index, data in enumerate(entries, at):
            entry = check(f"entry {index}", read_entry, data, index, key.name, time) or {}
            time = entry.get("time", time)
            for each in entry.get("people", ()):
                who, link = each["subject_ref"], (index, each["subject_seq"], each["previous_index"])
                chains[who] = check(f"entry {index}", follow, chains.get(who), *link) or (link[1], index)
        past.update({size: tree([*roots, tree(leaves[: size - at])]) for size in sizes if at < size <= at + width})
        roots.append(tree(leaves))
    check("checkpoint", need, tree(roots) == signed.root, "the entries do not lead to the signed root")
    row, level = roots[: signed.size // WIDTH], 1
    while row:
        for at, part in ((at, row[at : at + WIDTH]) for at in range(0, len(row), WIDTH)):
            same = check(f"tile/{level}", tile, str(level), at // WIDTH, len(part)) == part
            check(f"tile/{level}", need, same, f"not the hashes of entries {at << 8 * level} and on")
        row, level = [tree(row[at : at + WIDTH]) for at in range(0, len(row) - WIDTH + 1, WIDTH)], level + 1
    for name, data in ((each, files.read(each)) for each in sorted(names - seen)):  # law packs, and earlier keys
        known = data.endswith(f" {key.text}\n".encode()) if name == "keys" else name == f"packs/{sha(data).hex()}.toml"
        check(name, need, known, f"belongs to no ledger of {signed.size} entries")
    notes.append(f"{signed.size} entries of {key.name}, {len(chains)} persons, last entry {time or 'none'}")
    said = anchored(files, key, witnesses, signed, lambda old: need(past.get(old.size) == old.root, "a fork"))
    return said, "PROVEN by full scan: this is the whole ledger, and no person's chain has a gap"


def verify_pack(files: Files, key: Key, witnesses: list[Key]) -> tuple[str, str]:  # a selection, with proofs
    manifest, note = json.loads(files.read("manifest.json"), object_pairs_hook=unique), files.read("checkpoint")
    signed, chosen, listed = Checkpoint(note, key, witnesses), manifest["selection"], manifest["files"]
    need(manifest["format"] == FORMAT, "it has another format than this verifier knows: use the one that came with it")
    time, chain, times, hashes = "", None, dict[int, str](), set[str]()

    def known(name: str, digests: Container[Any], text: str) -> None:
        need(sha(files.read(name)).hex() in digests, text)

    def entry_at(name: str, index: int) -> dict[str, Any]:
        data, whole = files.read(name), name.startswith("entries/")
        entry = read_entry(data, index, key.name, time)
        leaf = sha(b"\x00" + data) if whole else bytes.fromhex(entry["leaf_hash"])
        head, _, its_note = files.read(f"proofs/{index:012d}.tlog-proof").partition(b"\n\n")
        first, at, *proof = head.decode().split("\n")
        need((first, at, its_note) == (PROOF, f"index {index}", note), "its proof is for another entry or checkpoint")
        root = climb(index, signed.size, leaf, leaf, [b64(one) for one in proof])[1]
        need(index < signed.size and root == signed.root, "it does not stand in the signed ledger: changed or replaced")
        hashes.update(re.findall(r'"([0-9a-f]{64})"', data.decode()) if whole else ())
        return entry

    for name in sorted({*files.names, *listed} - {"manifest.json"}):
        check(name, known, name, [listed.get(name)], "it is not what the manifest lists: changed, added or missing")
    places = sorted((int(each[-17:-5]), each) for each in files.names if each[:8] in ("entries/", "withheld"))
    for index, name in places:
        entry = check(f"entry {index} ({name})", entry_at, name, index) or {}
        times[index] = time = entry.get("time", time)
        for each in [one for one in entry.get("people", ()) if one["subject_ref"] == chosen.get("subject_ref")]:
            link = (index, each["subject_seq"], each.get("previous_index"))
            chain = check(f"entry {index}", follow, chain, *link) or (link[1], index)
    for name in sorted(each for each in files.names if each.startswith(("documents/", "sealed/"))):
        check(name, known, name, hashes, "no entry here names its hash")

    def fits(old: Checkpoint) -> None:
        lines = files.read(f"consistency/{old.size}").decode().split() if old.size < signed.size else []
        continues(old, signed, [b64(one) for one in lines])

    hidden = sum(name.startswith("withheld/") for name in files.names)
    notes.append(f"{len(times)} entries of {key.name}, {hidden} withheld")
    selection = "NOT PROVEN: the keeper searched for these; only a full export shows that there are no more"
    if chosen["kind"] == "subject":
        count, last = chosen["chain_length"], chosen["last_index"]
        check("selection", need, chain == (count, last), f"entry {last}, number {count} of the person, was left out")
        selection = f"PROVEN by the person's chain, number 1 to {count}; that none follows entry {last} is claimed"
    elif chosen["kind"] == "period":
        first, last, since, until = (chosen[each] for each in ("first_index", "last_index", "from_time", "until_time"))
        there = set(range(max(first - 1, 0), min(last + 2, signed.size))) <= set(times) and times.get(last, "~") < until
        apart = times.get(first - 1, "") < since <= times.get(first, "") and times.get(last + 1, "~") >= until
        check("selection", need, there and apart, "an entry of the period, or one beside it, was left out")
        selection = f"PROVEN by place: every entry from {first} to {last}, and those beside them are outside"
    selection += f" (of {hidden} withheld entries, whom they concern and when is claimed)" * (hidden > 0)
    return anchored(files, key, witnesses, signed, fits), selection


def main() -> int:
    parser = argparse.ArgumentParser(description="Verify an evidence pack or an exported ledger, offline.")
    parser.add_argument("pack", help="a folder or a ZIP")
    parser.add_argument("--vkey", help="the ledger's verifier key, or a file that holds it, from elsewhere")
    parser.add_argument("--witness", action="append", default=[], help="a witness's key, or an earlier one; repeatable")
    given = parser.parse_args()
    try:
        files = Files(given.pack)
        keys = [given.vkey or files.read("vkey").decode(), *given.witness]
        key, *witnesses = [Key(Path(each).read_text() if Path(each).is_file() else each) for each in keys]
        need({"manifest.json", "checkpoint"} & files.names, "neither an evidence pack nor an exported ledger")
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        print(f"{given.pack} cannot be checked: {error}", file=sys.stderr)
        return 2
    notes.extend([] if given.vkey else ["WARNING: no --vkey: this shows only that the files agree among themselves"])
    verify = verify_pack if "manifest.json" in files.names else verify_export
    completeness, selection = check(given.pack, verify, files, key, witnesses) or ("", "")
    print(*notes, *(f"WRONG  {line}" for line in wrong[:SHOWN]), sep="\n")
    if wrong:
        print(f"integrity     BROKEN: {len(wrong)} things are wrong; nothing here is proven before they are explained")
        return 1
    print("integrity     INTACT: every entry here stands, unchanged, in the ledger that the key signed")
    print(f"completeness  {completeness}\nselection     {selection}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
