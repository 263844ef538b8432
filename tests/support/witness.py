"""A small witness, written from the public specification C2SP ``tlog-witness`` alone.

It shares no code with the client under test: signatures and consistency proofs are checked here, by themselves.
"""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.authority import Given, Site, site

SIZE_TYPE = "text/x.tlog.size"
EMPTY = hashlib.sha256(b"").digest()


def _key_id(name: str, material: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + material).digest()[:4]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def consistent(first: int, second: int, proof: list[bytes], first_root: bytes, second_root: bytes) -> bool:
    """RFC 9162, section 2.1.4.2, step by step; two trees of one size, and the empty tree, by comparing."""
    if first == second:
        return not proof and first_root == second_root
    if first == 0:
        return not proof
    if first & (first - 1) == 0:
        proof = [first_root, *proof]
    if not proof:
        return False
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = proof[0]
    for step in proof[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = _node(step, fr), _node(step, sr)
            while not fn & 1 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            sr = _node(sr, step)
        fn >>= 1
        sn >>= 1
    return sn == 0 and fr == first_root and sr == second_root


@dataclass
class TestWitness:
    """Keeps the latest checkpoint of each log that it knows.

    Args:
        name: Its name.
        logs: vkeys of the logs it knows.
        now: Its clock, seconds since 1970.
    """

    __test__ = False

    name: str
    logs: list[str]
    now: int = 1_795_428_000
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    latest: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def material(self) -> bytes:
        return b"\x04" + self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def vkey(self) -> str:
        return f"{self.name}+{_key_id(self.name, self.material).hex()}+{base64.b64encode(self.material).decode()}"

    def answer(self, path: str, body: bytes) -> Given:
        """What ``add-checkpoint`` asks for."""
        with self.lock:
            given = self._answer(path, body)
        self.statuses.append(given[0])
        return given

    def _answer(self, path: str, body: bytes) -> Given:
        if path != "/witness/add-checkpoint":
            return 404, "text/plain", b"no such path\n"
        head, _, checkpoint = body.partition(b"\n\n")
        first, *proof_lines = head.decode().split("\n")
        text, _, signatures = checkpoint.partition(b"\n\n")
        text += b"\n"
        origin, size_line, root_line = text.decode().split("\n")[:3]
        if not first.startswith("old ") or str(int(first[4:])) != first[4:] or len(proof_lines) > 63:
            return 400, "text/plain", b"malformed\n"
        old, size, root = int(first[4:]), int(size_line), base64.b64decode(root_line, validate=True)
        known = [log for log in self.logs if log.split("+", 1)[0] == origin]
        if not known:
            return 404, "text/plain", b"unknown log\n"
        if not any(self._signed(log, text, signatures) for log in known):
            return 403, "text/plain", b"no known signature\n"
        if old > size:
            return 400, "text/plain", b"old is larger than the checkpoint\n"
        seen, seen_root = self.latest.get(origin, (0, EMPTY))
        if old != seen:
            return 409, SIZE_TYPE, f"{seen}\n".encode()
        if old == size and root != seen_root:
            return 409, "text/plain", b"another tree of this size\n"
        proof = [base64.b64decode(line, validate=True) for line in proof_lines]
        if not consistent(old, size, proof, seen_root, root):
            return 422, "text/plain", b"the proof does not hold\n"
        self.latest[origin] = (size, root)
        return 200, "text/plain", self.cosign(text)

    def cosign(self, text: bytes, timestamp: int | None = None) -> bytes:
        """A cosignature line, C2SP ``tlog-cosignature``."""
        time = self.now if timestamp is None else timestamp
        signature = self.key.sign(f"cosignature/v1\ntime {time}\n".encode() + text)
        data = _key_id(self.name, self.material) + time.to_bytes(8, "big") + signature
        return f"\u2014 {self.name} {base64.b64encode(data).decode()}\n".encode()

    @staticmethod
    def _signed(log: str, text: bytes, signatures: bytes) -> bool:
        name, _, material_text = log.split("+", 2)
        material = base64.b64decode(material_text)
        for line in signatures.decode().splitlines():
            _, by, encoded = line.split(" ")
            data = base64.b64decode(encoded, validate=True)
            if by == name and data[:4] == _key_id(name, material):
                try:
                    Ed25519PublicKey.from_public_bytes(material[1:]).verify(data[4:], text)
                except InvalidSignature:
                    return False
                return True
        return False


@contextmanager
def witness(made: TestWitness) -> Iterator[Site]:
    """Serve a witness under the prefix ``/witness/``."""
    with site(made.answer) as served:
        served.url += "witness/"
        yield served
