"""Who takes part, and where: the product, its face tagger, another worker, counsel, two people."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from consentry import Box as ClientBox
from consentry import Client, Face, Guard, KnownBy
from consentry.v1 import photo_pb2
from face_tagger import vision
from face_tagger.face_tagger_pb2 import Person
from face_tagger.face_tagger_pb2_grpc import FaceTaggerStub
from story import processes

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from story.telling import Story

TENANT = "acme"
WORKER = "night-job"
"""A second image-processing service of the same company, with a certificate of its own."""
PHOTOS = Path(__file__).parents[2] / "tests" / "data" / "photos"

ALICE = "alice@acme.example"
ILLINOIS = "US-IL"
ALICE_IN_TWO = vision.Box(160, 40, 130, 150)
BYSTANDER_IN_TWO = vision.Box(430, 40, 135, 150)
"""Where the two people are in two-people.jpg, as whoever uploaded it drew with a mouse: nothing was detected for it."""


@dataclass
class Scene:
    """Everything a chapter needs.

    Args:
        story: Tells the steps.
        folder: Where the demo leaves its files.
        product: The product's backend, a collector.
        counsel: The legal team, an auditor.
        worker: Another service that processes photos.
        tagger: The face tagger.
    """

    story: Story
    folder: Path
    product: Client
    counsel: Client
    worker: Client
    tagger: FaceTaggerStub
    processes: tuple[subprocess.Popen[bytes], ...]
    photos: dict[str, str] = field(default_factory=dict)
    alice_box: photo_pb2.Box = field(default_factory=photo_pb2.Box)
    identifier_id: str = ""

    @property
    def state(self) -> Path:
        """The server's state folder."""
        return self.folder / "state"

    def guard(self, algorithm: tuple[str, str]) -> Guard:
        """Return the other worker's guard for one algorithm."""
        return Guard(self.worker, algorithm_id=algorithm[0], algorithm_version=algorithm[1])


def alice(box: photo_pb2.Box | None = None) -> Person:
    """Alice, as the face tagger is told of her."""
    return Person(subject_id=ALICE, regions=[ILLINOIS], box=box)


def alice_face(box: vision.Box | None = None) -> Face:
    """Alice, as Consentry is told of her."""
    return Face(
        subject_id=ALICE,
        known_by=KnownBy.DECLARED_BY_UPLOADER,
        regions=[ILLINOIS],
        box=None if box is None else ClientBox(*box),
    )


def box_message(box: vision.Box) -> photo_pb2.Box:
    """Write a box."""
    return photo_pb2.Box(x=box.x, y=box.y, width=box.width, height=box.height)


@contextmanager
def opened(story: Story, folder: Path) -> Iterator[Scene]:
    """Make a fresh state folder, start both processes, connect everybody, and stop it all at the end."""
    state = folder / "state"
    processes.consentry("init", state, "--tenant", TENANT)
    processes.consentry("certificate", state, "--role", "processor", "--name", WORKER)
    server_log, tagger_log = folder / "server.log", folder / "face-tagger.log"
    ready = folder / "ready.json"
    serve: list[str | Path] = [
        *processes.CONSENTRY, "serve", state, "--listen", "127.0.0.1:0", "--ready-file", ready,
    ]  # fmt: skip
    with processes.running("the server", serve, server_log) as server:
        address = processes.wait_for_address(server, ready, server_log)
        authority, certificate, key = _files(state, "processor", "face-tagger")
        with (
            tempfile.TemporaryDirectory(prefix="face-tagger-") as private,  # a socket's path has at most 107 bytes
            processes.running(
                "the face tagger",
                [
                    sys.executable, "-m", "face_tagger", "--consentry", address, "--authority", authority,
                    "--certificate", certificate, "--key", key, "--socket", Path(private) / "socket",
                ],
                tagger_log,
            ) as tagger,
            grpc.insecure_channel(f"unix:{private}/socket") as channel,
            _client(state, address, "collector", "product") as product,
            _client(state, address, "auditor", "counsel") as counsel,
            _client(state, address, "processor", WORKER) as worker,
        ):  # fmt: skip
            processes.wait_for_channel(tagger, channel, tagger_log)
            yield Scene(story, folder, product, counsel, worker, FaceTaggerStub(channel), (tagger, server))


def _files(state: Path, role: str, name: str) -> tuple[Path, Path, Path]:
    tls = state / "tls"
    return tls / "ca.pem", tls / f"{role}-{name}.pem", tls / f"{role}-{name}.key"


def _client(state: Path, address: str, role: str, name: str) -> Client:
    authority, certificate, key = _files(state, role, name)
    return Client.connect(address, root_certificates=authority, certificate_chain=certificate, private_key=key)
