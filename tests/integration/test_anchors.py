"""Anchors over real sockets: an OpenSSL timestamp authority, a witness after the specification, and their faults."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from consentry_server.adapters.anchors.folder import AnchorFolder
from consentry_server.config import AnchorsSettings, Settings, TimestampSettings, WitnessSettings
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.ledger.checkpoint import Checkpoint, open_checkpoint, sign
from consentry_server.core.ledger.note import parse, parse_vkey
from consentry_server.services.anchors import Anchoring, AnchorState
from tests.support.authority import REPLY_TYPE, Given, Site, authority, make_authority, openssl, reply, site
from tests.support.clocks import Clock
from tests.support.stack import SETTINGS, Stack, face, start
from tests.support.witness import SIZE_TYPE, TestWitness, witness


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, and a signer that may not sign timestamps."""
    folder = tmp_path_factory.mktemp("authorities")
    make_authority(folder / "first")
    make_authority(folder / "second")
    make_authority(folder / "web", use="serverAuth")
    return folder


@dataclass
class World:
    """A tenant and the sites that its settings name."""

    folder: Path
    roots: Path
    clock: Clock
    stack: Stack
    sites: ExitStack
    anchors: dict[str, Any] = field(default_factory=dict)

    @property
    def vkey(self) -> str:
        return self.stack.tenant.checkpoints.key.vkey

    def authority(self, name: str = "first") -> Site:
        served = self.sites.enter_context(authority(self.roots / name))
        self.name_authority(name, served.url)
        return served

    def name_authority(self, name: str, url: str) -> None:
        named = TimestampSettings(name=name, url=url, roots=self.roots / name / "ca.pem")
        self.anchors["timestamp"] = (*self.anchors.get("timestamp", ()), named)

    def witness(self, name: str = "w1", logs: list[str] | None = None) -> tuple[TestWitness, Site]:
        made = TestWitness(f"witness.test/{name}", [self.vkey] if logs is None else logs)
        served = self.sites.enter_context(witness(made))
        self.name_witness(name, served.url, made.vkey)
        return made, served

    def name_witness(self, name: str, url: str, vkey: str) -> None:
        self.anchors["witness"] = (*self.anchors.get("witness", ()), WitnessSettings(name=name, url=url, vkey=vkey))

    def site(self, answer: Callable[[str, bytes], Given]) -> Site:
        return self.sites.enter_context(site(answer))

    async def restart(self, **anchors: Any) -> None:
        """Start again with what was named; the regular asking stops before it begins, and the test asks."""
        await self.stack.running.aclose()
        named = AnchorsSettings(**{"anchor_seconds": 300, "answer_seconds": 60, **self.anchors, **anchors})
        settings = SETTINGS.model_copy(update={"anchors": named})
        self.stack = await start(self.folder, self.clock, create=False, settings=settings)
        await self.stack.tenant.anchors.aclose()

    async def grow(self) -> None:
        await self.stack.check(face("eileen"), sha256=b"\x01" * 32)

    async def anchor(self) -> Anchoring:
        return await self.stack.tenant.anchors.anchor()

    async def size(self) -> int:
        return self.stack.tenant.sequencer.store.fetch_head().size

    def kept(self, size: int, name: str) -> Path:
        return self.stack.running.folders.data / "anchors" / str(size) / name


@pytest.fixture
async def world(tmp_path: Path, roots: Path, clock: Clock) -> AsyncIterator[World]:
    with ExitStack() as sites:
        made = World(tmp_path / "state", roots, clock, await start(tmp_path / "state", clock), sites)
        yield made
        await made.stack.running.aclose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def of(state: Anchoring, name: str) -> AnchorState:
    return next(one for one in state.anchors if one.name == name)


def verified_by_openssl(world: World, size: int, name: str) -> bool:
    done = openssl(
        "ts", "-verify", "-in", world.kept(size, f"{name}.tsr"), "-data", world.kept(size, "checkpoint"),
        "-CAfile", world.roots / name / "ca.pem", check=False,
    )  # fmt: skip
    return done.returncode == 0 and "Verification: OK" in done.stdout + done.stderr


async def test_a_timestamp_is_kept_beside_its_checkpoint_and_openssl_verifies_it(world: World) -> None:
    world.authority()
    await world.restart()
    state = await world.anchor()
    size = await world.size()
    assert (state.anchored, state.size, state.waiting_since, of(state, "first").error) == (True, size, None, "")
    note = world.kept(size, "checkpoint").read_bytes()
    key = world.stack.tenant.checkpoints.key
    assert open_checkpoint(note, key).checkpoint.size == size
    assert [one.name for one in parse(note).signatures] == [key.name]  # the log's own signature alone
    assert verified_by_openssl(world, size, "first")
    world.kept(size, "checkpoint").write_bytes(note.replace(b"\n", b" \n", 1))
    assert not verified_by_openssl(world, size, "first")


async def test_a_kept_file_never_changes(world: World) -> None:
    first = world.authority()
    await world.restart()
    size = (await world.anchor()).size
    before = world.kept(size, "first.tsr").read_bytes()
    asked = len(first.asked)
    assert (await world.anchor()).size == size
    assert len(first.asked) == asked  # nothing has grown: nobody is asked
    folder = AnchorFolder(world.stack.running.folders.data)
    assert not folder.keep(size, "first.tsr", b"another")
    assert world.kept(size, "first.tsr").read_bytes() == before


async def test_several_authorities_of_which_some_are_away(world: World) -> None:
    world.authority("first")
    away = world.site(lambda path, body: (503, "text/plain", b"closed"))
    world.name_authority("second", away.url)
    await world.restart()
    await world.grow()
    state = await world.anchor()
    size = await world.size()
    assert state.anchored
    assert (of(state, "first").size, of(state, "second").size) == (size, 0)
    assert "503" in of(state, "second").error
    away.answer = lambda _path, query: (200, REPLY_TYPE, reply(world.roots / "second", query))
    state = await world.anchor()  # it is back: it catches up, and the other one is left alone
    assert (of(state, "second").size, of(state, "second").error) == (size, "")
    assert verified_by_openssl(world, size, "second")


async def test_an_authority_that_comes_late_stamps_the_logs_own_signature_alone(world: World) -> None:
    """A witness has cosigned the same tree meanwhile: its line is on the live checkpoint, never on the stamped file."""
    late = world.site(lambda path, body: (503, "text/plain", b"closed"))
    world.name_authority("first", late.url)
    world.witness()
    await world.restart()
    size = (await world.anchor()).size
    late.answer = lambda _path, query: (200, REPLY_TYPE, reply(world.roots / "first", query))
    state = await world.anchor()
    assert [(one.size, one.error) for one in state.anchors] == [(size, ""), (size, "")]
    own = world.kept(size, "checkpoint").read_bytes()
    assert len(parse(own).signatures) == 1
    assert len(parse(await world.stack.tenant.anchors.cosigned(own)).signatures) == 2
    assert verified_by_openssl(world, size, "first")


BAD: dict[str, tuple[Callable[[World, Site], Callable[[str, bytes], Given]], str]] = {
    "an error page": (lambda w, s: lambda p, q: (500, "text/html", b"<html>"), "500"),
    "another type": (lambda w, s: lambda p, q: (200, "text/html", reply(w.roots / "first", q)), "text/html"),
    "garbage": (lambda w, s: lambda p, q: (200, REPLY_TYPE, b"\x30\x03garbage"), "does not verify"),
    "nothing": (lambda w, s: lambda p, q: (200, REPLY_TYPE, b""), "does not verify"),
    "a timestamp cut short": (
        lambda w, s: lambda p, q: (200, REPLY_TYPE, reply(w.roots / "first", q)[:-7]),
        "does not verify",
    ),
    "a changed byte": (
        lambda w, s: lambda p, q: (200, REPLY_TYPE, _flipped(reply(w.roots / "first", q))),
        "does not verify",
    ),
    "another authority": (lambda w, s: lambda p, q: (200, REPLY_TYPE, reply(w.roots / "second", q)), "does not verify"),
    "a signer for other things": (
        lambda w, s: lambda p, q: (200, REPLY_TYPE, _as_web(w, q)),
        "did not answer|cannot be reached|does not verify",
    ),
    "an old answer": (lambda w, s: _replaying(w), "Nonce"),
    "a refusal": (lambda w, s: lambda p, q: (200, REPLY_TYPE, reply(w.roots / "first", q[:-4])), "does not verify"),
    "too much": (lambda w, s: lambda p, q: (200, REPLY_TYPE, bytes(200_000)), "more than"),
    "a redirect": (lambda w, s: lambda p, q: (307, "text/plain", s.url.encode()), "307"),
    "silence": (lambda w, s: s.hang, "within"),
}


def _flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[-10] ^= 1  # in the signature
    return bytes(changed)


def _as_web(world: World, query: bytes) -> bytes:
    """A timestamp by a certificate that is not for timestamps: OpenSSL refuses to make one, so it is put in place."""
    shutil.copy(world.roots / "web" / "ca.pem", world.roots / "web.pem")
    return reply(world.roots / "web", query)


def _replaying(world: World) -> Callable[[str, bytes], Given]:
    """Answers every request with the answer to another one over the same file."""

    def answer(_path: str, query: bytes) -> Given:
        place = world.folder / "replayed"
        if not place.exists():
            place.mkdir()
            (place / "data").write_bytes(b"")
        note = next((world.stack.running.folders.lock).glob("checkpoint"))
        openssl("ts", "-query", "-data", note, "-sha256", "-cert", "-out", place / "query")
        return 200, REPLY_TYPE, reply(world.roots / "first", (place / "query").read_bytes())

    return answer


@pytest.mark.parametrize("fault", BAD)
async def test_what_does_not_verify_is_never_kept_and_the_ledger_goes_on(world: World, fault: str) -> None:
    make, said = BAD[fault]
    served = world.site(lambda path, body: (500, "text/plain", b""))
    world.name_authority("first", served.url)
    served.answer = make(world, served)
    await world.restart(answer_seconds=0.5 if fault == "silence" else 60)
    state = await world.anchor()
    assert not state.anchored
    assert "not anchored" in state.sentence
    error = of(state, "first").error
    assert any(part in error for part in said.split("|")), error
    assert list(world.stack.running.folders.data.glob("anchors/*/*")) == []
    checked = await world.stack.check(face("eileen"), sha256=b"\x01" * 32)
    assert checked.recorded.index > 0
    await world.restart()
    served.answer = lambda _path, query: (200, REPLY_TYPE, reply(world.roots / "first", query))
    state = await world.anchor()
    assert (state.anchored, state.size) == (True, await world.size())


async def test_a_kept_timestamp_is_verified_again_at_the_next_start(world: World) -> None:
    served = world.authority()
    await world.restart()
    size = (await world.anchor()).size
    world.site(lambda path, body: (500, "text/plain", b""))
    served.answer = lambda path, body: (500, "text/plain", b"")
    await world.restart()
    state = await world.stack.tenant.anchors.state()
    assert (state.size, of(state, "first").size) == (size, size)
    token = world.kept(size, "first.tsr")
    token.write_bytes(_flipped(token.read_bytes()))
    await world.restart()
    state = await world.stack.tenant.anchors.state()
    assert (state.anchored, state.size) == (False, 0)


async def test_kept_checkpoints_of_another_history_or_of_more_entries_are_named(world: World) -> None:
    world.authority()
    await world.restart()
    size = (await world.anchor()).size
    folder = world.stack.running.folders.data / "anchors"
    private = world.stack.tenant.rotation._keys.ledger_key.private
    origin = world.stack.tenant.checkpoints.key.name
    for kept_size, said in ((size, "two histories exist"), (size + 40, "older copy")):
        shutil.rmtree(folder, ignore_errors=True)
        (folder / str(kept_size)).mkdir(parents=True)
        (folder / str(kept_size) / "checkpoint").write_bytes(sign(Checkpoint(origin, kept_size, b"\x05" * 32), private))
        (folder / str(kept_size) / "first.tsr").write_bytes(b"whatever")
        await world.restart()
        state = await world.stack.tenant.anchors.state()
        assert (state.anchored, state.size) == (False, 0)
        assert said in of(state, "first").error


async def test_a_line_that_was_damaged_since_is_not_shown(world: World) -> None:
    world.witness()
    await world.restart()
    state = await world.anchor()
    line = world.kept(state.size, "w1.cosignature")
    line.write_bytes(_changed_line(line.read_bytes()))
    plain = await world.stack.tenant.audit.checkpoint()
    assert await world.stack.tenant.anchors.cosigned(plain) == plain


async def test_a_ledger_says_how_long_it_has_been_without_an_anchor(world: World) -> None:
    served = world.authority()
    await world.restart()
    size = (await world.anchor()).size
    served.answer = lambda path, body: (500, "text/plain", b"")
    world.clock.forward(seconds=10)
    await world.grow()
    recorded = world.clock.now
    state = await world.stack.tenant.anchors.state()
    assert (state.anchored, state.size, state.waiting_since) == (True, size, recorded)
    world.clock.forward(seconds=300)
    assert (await world.stack.tenant.anchors.state()).anchored
    world.clock.forward(seconds=1)
    state = await world.anchor()
    assert (state.anchored, state.size, state.waiting_since) == (False, size, recorded)
    assert "10:00:10 UTC on is not" in state.sentence


async def test_the_log_says_when_the_ledger_is_not_anchored_and_when_it_is_again(world: World) -> None:
    served = world.authority()
    await world.restart()
    anchors = world.stack.tenant.anchors
    with capture_logs() as said:
        await anchors._say()
        await world.anchor()
        await anchors._say()
        await anchors._say()
        served.answer = lambda path, body: (500, "text/plain", b"")
        await world.grow()
        for _ in range(3):
            world.clock.forward(seconds=301)
            await anchors._say()
    assert [line["event"] for line in said if line["event"].startswith("ledger_")] == [
        "ledger_not_anchored",
        "ledger_anchored",
        *["ledger_not_anchored"] * 3,
    ]
    assert "vouched for by first; what was recorded from" in said[-1]["message"]
    assert said[-1]["log_level"] == "warning"


async def test_a_stop_in_the_middle_of_a_round_leaves_one_checkpoint_at_a_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round is cut off while the lock is being swapped; the last checkpoint of the stop waits for that."""
    world.authority()
    await world.restart()
    await world.grow()
    checkpoints = world.stack.tenant.checkpoints
    lock, begun, go_on = checkpoints._lock, threading.Event(), threading.Event()
    swap = lock.swap

    def slow_swap(old: bytes | None, new: bytes) -> bool:
        begun.set()
        go_on.wait(30)
        return swap(old, new)

    monkeypatch.setattr(lock, "swap", slow_swap)
    task = checkpoints._task
    assert task is not None
    task.cancel()  # the regular one would do the same work first
    await asyncio.wait([task])
    round_of_anchors = asyncio.create_task(world.anchor())
    assert await asyncio.to_thread(begun.wait, 30)
    round_of_anchors.cancel()
    await asyncio.wait([round_of_anchors])
    assert round_of_anchors.cancelled()
    assert checkpoints._busy.locked()  # nobody else may sign while the thread does
    last = asyncio.create_task(checkpoints.publish())
    go_on.set()
    assert await last == lock.read()
    assert not checkpoints.failed.is_set()


async def test_a_ledger_without_anchors_says_so(world: World) -> None:
    with capture_logs() as said:
        await world.restart()
    assert [line["event"] for line in said if line["event"].startswith("ledger_")] == ["ledger_not_anchored"]
    state = await world.stack.tenant.anchors.state()
    assert not state.anchored
    assert "no timestamp authority or witness is configured" in state.sentence


async def test_a_witness_follows_the_ledger_as_it_grows(world: World) -> None:
    made, _ = world.witness()
    await world.restart()
    state = await world.anchor()
    for _round in range(3):
        assert (state.anchored, of(state, "w1").error) == (True, "")
        await world.grow()
        state = await world.anchor()
    assert made.statuses == [200, 200, 200, 200]
    note = await world.stack.tenant.anchors.cosigned(await world.stack.tenant.audit.checkpoint())
    opened = open_checkpoint(note, world.stack.tenant.checkpoints.key, [parse_vkey(made.vkey)])
    assert [(one.name, one.timestamp) for one in opened.cosignatures] == [(made.name, made.now)]
    assert world.kept(state.size, "checkpoint").read_bytes() != note
    await world.grow()
    plain = await world.stack.tenant.audit.checkpoint()
    assert await world.stack.tenant.anchors.cosigned(plain) == plain  # a cosignature is for one size alone
    assert await world.stack.tenant.anchors.newest() == note


async def test_a_witness_that_knows_more_than_the_log_remembers(world: World) -> None:
    made, _ = world.witness()
    await world.restart()
    size = (await world.anchor()).size
    shutil.rmtree(world.stack.running.folders.data / "anchors")
    await world.restart()
    await world.grow()
    state = await world.anchor()
    assert made.statuses == [200, 409, 200]
    assert state.size > size
    await world.restart()  # what is kept says from where to prove
    await world.grow()
    await world.anchor()
    assert made.statuses == [200, 409, 200, 200]


async def test_a_witness_that_has_seen_more_entries_than_there_are(world: World) -> None:
    made, _ = world.witness()
    await world.restart()
    origin = world.stack.tenant.checkpoints.key.name
    made.latest[origin] = (10_000, b"\x01" * 32)
    state = await world.anchor()
    assert not state.anchored
    assert "10000 entries" in of(state, "w1").error
    assert "older copy" in of(state, "w1").error


async def test_a_witness_that_has_seen_another_ledger(world: World) -> None:
    made, _ = world.witness()
    await world.restart()
    origin = world.stack.tenant.checkpoints.key.name
    made.latest[origin] = (3, b"\x01" * 32)
    assert "does not continue" in of(await world.anchor(), "w1").error
    assert made.statuses == [409, 422]
    made.latest[origin] = (await world.size(), b"\x01" * 32)
    assert "another tree of this size" in of(await world.anchor(), "w1").error


async def test_a_witness_that_does_not_know_the_ledger_or_its_key(world: World) -> None:
    made, _ = world.witness(logs=[])
    await world.restart()
    assert "does not know this ledger:" in of(await world.anchor(), "w1").error
    stranger = TestWitness(world.vkey.split("+", maxsplit=1)[0], [])
    made.logs.append(stranger.vkey)
    assert "newest vkey" in of(await world.anchor(), "w1").error
    assert made.statuses == [404, 403]


LINE = Callable[[TestWitness, bytes], Given]
MISBEHAVING: dict[str, tuple[LINE, str]] = {
    "a signature over something else": (lambda w, t: (200, "text/plain", w.cosign(t + b"x\n")), "does not fit"),
    "a changed signature": (lambda w, t: (200, "text/plain", _changed_line(w.cosign(t))), "not|does"),
    "somebody else's": (
        lambda w, t: (200, "text/plain", TestWitness(w.name, []).cosign(t)),
        "no known key signed|does not verify",
    ),
    "no time": (lambda w, t: (200, "text/plain", w.cosign(t, 0)), "states no time"),
    "a time that cannot be": (lambda w, t: (200, "text/plain", w.cosign(t, 2**60)), "cannot be"),
    "nothing": (lambda w, t: (200, "text/plain", b""), "no known key signed"),
    "half a line": (lambda w, t: (200, "text/plain", w.cosign(t)[:-5]), "whole signature line"),
    "garbage": (lambda w, t: (200, "text/plain", b"\xff\x00" * 99), "does not verify"),
    "a second text": (lambda w, t: (200, "text/plain", b"\n" + w.cosign(t)), "does not verify"),
    "409 for ever": (lambda w, t: (409, SIZE_TYPE, b"2\n"), "one size after another"),
    "409 without a size": (lambda w, t: (409, SIZE_TYPE, b"-2\n"), "without a size"),
    "a far larger size": (lambda w, t: (409, SIZE_TYPE, b"99999999999\n"), "older copy"),
    "500": (lambda w, t: (500, "text/plain", b"broken"), "500"),
    "too much": (lambda w, t: (200, "text/plain", w.cosign(t) * 5_000), "more than"),
    "a redirect": (lambda w, t: (308, "text/plain", b"http://127.0.0.1:1/"), "308"),
}


def _changed_line(line: bytes) -> bytes:
    return line[:60] + (b"A" if line[60:61] != b"A" else b"B") + line[61:]


@pytest.mark.parametrize("fault", MISBEHAVING)
async def test_a_witness_that_misbehaves_is_not_believed(world: World, fault: str) -> None:
    made, served = world.witness()
    honest = served.answer
    answer, said = MISBEHAVING[fault]

    def misbehave(_path: str, body: bytes) -> Given:
        text = body.partition(b"\n\n")[2].partition(b"\n\n")[0] + b"\n"
        return answer(made, text)

    served.answer = misbehave
    await world.restart()
    state = await world.anchor()
    assert not state.anchored
    error = of(state, "w1").error
    assert any(part in error for part in said.split("|")), error
    assert list(world.stack.running.folders.data.glob("anchors/*/*")) == []
    await world.grow()
    served.answer = honest
    assert (await world.anchor()).anchored


async def test_a_witness_that_is_silent_or_away(world: World) -> None:
    made, served = world.witness()
    honest = served.answer
    served.answer = served.hang
    with site(honest) as gone:
        pass
    world.name_witness("w2", gone.url, made.vkey)
    await world.restart(answer_seconds=0.5)
    state = await world.anchor()
    assert "within 0.5 s" in of(state, "w1").error
    assert "cannot be reached" in of(state, "w2").error
    await world.grow()
    await world.restart()
    served.answer = honest
    assert of(await world.anchor(), "w1").error == ""


async def test_what_a_witness_says_beside_its_cosignature_is_not_kept(world: World) -> None:
    made, served = world.witness()
    honest = served.answer
    stranger = TestWitness("witness.test/stranger", [])

    def talkative(path: str, body: bytes) -> Given:
        status, media_type, line = honest(path, body)
        text = body.partition(b"\n\n")[2].partition(b"\n\n")[0] + b"\n"
        return status, media_type, stranger.cosign(text) + line

    served.answer = talkative
    await world.restart()
    state = await world.anchor()
    assert world.kept(state.size, "w1.cosignature").read_bytes().count(b"\n") == 1
    opened = open_checkpoint(
        await world.stack.tenant.anchors.newest(), world.stack.tenant.checkpoints.key, [parse_vkey(made.vkey)]
    )
    assert len(opened.cosignatures) == 1


async def test_anchors_after_a_rotation_of_the_key(world: World) -> None:
    world.authority()
    made, _ = world.witness()
    await world.restart()
    before = (await world.anchor()).size
    old = world.stack.tenant.checkpoints.key
    await world.stack.running.rotate_key(world.stack.tenant)
    state = await world.anchor()
    assert "newest vkey" in of(state, "w1").error
    assert of(state, "first").size == before + 1
    made.logs.append(world.vkey)
    state = await world.anchor()
    assert (of(state, "w1").size, of(state, "w1").error) == (before + 1, "")
    await world.restart()  # the checkpoint from before the rotation is still believed
    shutil.rmtree(world.kept(before + 1, "checkpoint").parent)
    await world.restart()
    assert (await world.stack.tenant.anchors.state()).size == before
    assert open_checkpoint(world.kept(before, "checkpoint").read_bytes(), old).checkpoint.size == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"witness": ({"name": "w", "url": "http://x.test/", "vkey": "no"},)}, "vkey of witness w"),
        (
            {"timestamp": ({"name": "t", "url": "http://x.test/", "roots": "/nowhere"},)},
            "roots of a timestamp authority",
        ),
    ],
)
async def test_settings_that_cannot_be_used_stop_the_start(
    tmp_path: Path, clock: Clock, settings: dict[str, Any], said: str
) -> None:
    named = Settings(tenancy=SETTINGS.tenancy, anchors=AnchorsSettings.model_validate(settings))
    with pytest.raises(ConsentryError, match=said) as raised:
        await start(tmp_path, clock, settings=named)
    assert raised.value.reason is Reason.CONFIGURATION_INVALID


async def test_a_logs_own_key_is_no_witness(world: World) -> None:
    world.name_witness("w1", "http://127.0.0.1:1/", world.vkey)
    running = world.stack
    with pytest.raises(ConsentryError, match="not of type 0x04"):
        await world.restart()
    assert running is world.stack


@pytest.fixture(autouse=True)
def no_stray_state(tmp_path: Path) -> Iterator[None]:
    """Nothing half-written stays behind, whatever an anchor did."""
    yield
    assert list(tmp_path.rglob(".*.new")) == []
