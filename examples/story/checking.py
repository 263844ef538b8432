"""Chapter nine: the processes have stopped, and the ledger is checked with nothing but its files."""

from __future__ import annotations

import base64
import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from consentry import Operation, Purpose, Unavailable
from face_tagger import vision
from story import processes
from story.before import PORTRAIT
from story.telling import NO_ANSWER, VERIFIED, Told

if TYPE_CHECKING:
    from pathlib import Path

    from story.scene import Scene

PINNED = "pinned.vkey"
COMMAND = shlex.split("openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in text -sigfile signature")
NAMES = ("the face tagger", "the server")


def pin_key(scene: Scene) -> None:
    """Keep the ledger's public key from the beginning: it must not come from whoever is verified."""
    key = scene.counsel.get_checkpoint().checkpoint.verifier_key
    (scene.folder / PINNED).write_text(f"{key}\n", encoding="ascii")


def stop(scene: Scene) -> None:
    """Stop both processes; each finishes what it accepted."""
    for name, process in zip(NAMES, scene.processes, strict=True):
        code = processes.stop(name, process)
        scene.story.require(holds=code == 0, what=f"{name} stopped with exit code {code}")


def ledger(scene: Scene) -> None:
    """Export the ledger and verify it, with our verifier and with openssl."""
    story, folder = scene.story, scene.folder
    story.chapter(
        "What a stranger can check",
        "Both processes are asked to stop. The ledger is exported as plain files and verified against the key that "
        "counsel kept from the beginning.",
    )
    stop(scene)
    _no_answer(scene)
    target = folder / "ledger"
    exported = processes.consentry("audit", "export", scene.state, target)
    report = processes.consentry("audit", "verify", target, "--vkey", folder / PINNED)
    text, signature = _parts((target / "checkpoint").read_bytes())
    size = int(text.split(b"\n")[1])
    story.step(
        "verify-ledger",
        "Offline, with consentry audit verify",
        Told(VERIFIED, size - 1, lines=[*exported.splitlines(), *report.splitlines()]),
        outcome=VERIFIED,
    )
    story.require(holds=size > story.last_index, what="the checkpoint does not cover every step")
    openssl = shutil.which("openssl")
    if openssl is None:
        return
    done = _openssl(openssl, folder / "openssl", (folder / PINNED).read_text(encoding="ascii"), text, signature)
    story.step(
        "verify-signature",
        "The checkpoint's signature, with openssl alone",
        Told(
            VERIFIED if done.returncode == 0 else "NOT VERIFIED",
            size - 1,
            lines=[f"$ {shlex.join(COMMAND)}", *(done.stdout + done.stderr).splitlines()],
        ),
        outcome=VERIFIED,
    )


def _no_answer(scene: Scene) -> None:
    """Nobody answers any more: that is an exception, and never a silent yes."""
    told = Told("NO REFUSAL", -1)
    try:
        with scene.guard(vision.HASHER).processing(
            scene.photos[PORTRAIT], operation=Operation.HASH_IMAGE, purpose=Purpose.CSAM_NSFW_HASH_MATCH
        ):
            pass
    except Unavailable:
        told = Told(
            NO_ANSWER,
            scene.story.last_index,
            lines=["In Python: the guard raised consentry.Unavailable, and its block never ran."],
        )
    scene.story.step(
        "no-answer", "The night job asks a server that has stopped: no answer is not a yes", told, outcome=NO_ANSWER
    )


def _parts(note: bytes) -> tuple[bytes, bytes]:
    """Split a signed note (C2SP signed-note): the text that is signed, and the first signature, 64 bytes."""
    text, _, signatures = note.partition(b"\n\n")
    first = signatures.splitlines()[0].rpartition(b" ")[2]
    return text + b"\n", base64.b64decode(first)[4:]  # four bytes of key id come first


def _openssl(openssl: str, folder: Path, vkey: str, text: bytes, signature: bytes) -> subprocess.CompletedProcess[str]:
    """Write what openssl wants, and let it verify."""
    folder.mkdir()
    encoded = vkey.strip().split("+", 2)[2]
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(encoded)[1:])  # one byte says Ed25519
    files = {
        "key.pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "text": text,
        "signature": signature,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return subprocess.run([openssl, *COMMAND[1:]], cwd=folder, capture_output=True, text=True, check=False)
