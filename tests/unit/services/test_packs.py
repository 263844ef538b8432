"""A build with other packs than the one before: newer ones are activated by an entry, older ones are never put back."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from consentry_server import tenant
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import Pack, load_pack
from consentry_server.core.record.facts import ActivePack
from consentry_server.core.vocabulary import Outcome
from consentry_server.services.packs import Packs
from tests.support.clocks import Clock
from tests.support.stack import Stack, face, start

Bundle = tuple[tuple[Pack, bytes], ...]


def another_build() -> Bundle:
    """What this build carries, with the next version of the house pack."""
    made = []
    for pack, data in tenant.bundled_packs():
        now, following = (f"version = {version}\n".encode() for version in (pack.version, pack.version + 1))
        changed = data.replace(now, following, 1) if pack.id == "house-base" else data
        made.append((load_pack(changed, name=pack.id), changed))
    return tuple(made)


def activations(stack: Stack) -> list[tuple[str, int]]:
    store = stack.tenant.sequencer.store
    entries = [orjson.loads(data) for data in store.fetch_entries(0, store.fetch_head().size)]
    return [(e["pack"]["pack_id"], e["pack"]["version"]) for e in entries if e["type"] == "pack.activated"]


async def test_packs_follow_the_ledger_and_not_the_build(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = await start(tmp_path, clock)
    first = activations(stack)
    await stack.running.aclose()
    ours, newer = tenant.bundled_packs(), another_build()
    versions = {pack.id: pack.version for pack, _data in newer}
    for bundle in (newer, ours):  # an upgrade, then the old build again
        monkeypatch.setattr(tenant, "bundled_packs", lambda bundle=bundle: bundle)
        clock.forward(seconds=1)
        stack = await start(tmp_path, clock, create=False)
        assert activations(stack) == [*first, ("house-base", versions["house-base"])]
        checked = await stack.check(face("eileen"), sha256=b"\x01" * 32)
        assert checked.decision.outcome is Outcome.DENY
        expected = {(pack.id, versions["house-base"] if pack.id == "house-base" else pack.version) for pack, _ in ours}
        assert {(pack.pack_id, pack.version) for pack in checked.packs} == expected
        await stack.running.aclose()


async def test_a_tenant_of_an_older_build_gets_the_packs_that_came_since(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = tenant.bundled_packs()
    older = tuple((pack, data) for pack, data in every if pack.id in {"us-il-bipa", "house-base"})
    monkeypatch.setattr(tenant, "bundled_packs", lambda: older)
    stack = await start(tmp_path, clock)
    first = activations(stack)
    assert len(first) == len(older)
    await stack.running.aclose()
    monkeypatch.setattr(tenant, "bundled_packs", lambda: every)
    clock.forward(seconds=1)
    stack = await start(tmp_path, clock, create=False)
    assert activations(stack) == [*first, *((p.id, p.version) for p, _ in every if (p.id, p.version) not in first)]
    await stack.running.aclose()


@pytest.mark.parametrize("kept", [None, b"not a pack", b"id = 'house-base'"])
def test_a_pack_whose_bytes_are_gone_or_others_decides_nothing(kept: bytes | None) -> None:
    packs = Packs([], lambda _sha256: kept)
    with pytest.raises(ConsentryError) as raised:
        packs.compiled((ActivePack("house-base", 1, "ab" * 32, 3),))
    assert raised.value.reason is Reason.CONFIGURATION_INVALID
    assert "house-base 1" in raised.value.message


def test_other_bytes_than_those_that_were_activated_decide_nothing() -> None:
    (pack, data), *_ = tenant.bundled_packs()
    packs = Packs([], lambda _sha256: data)
    assert packs.compiled((ActivePack(pack.id, pack.version, pack.sha256, 3),))[0].sha256 == pack.sha256
    with pytest.raises(ConsentryError):
        Packs([], lambda _sha256: data).compiled((ActivePack(pack.id, pack.version, "ab" * 32, 3),))


def test_a_process_that_lacks_an_active_pack_does_not_start() -> None:
    (pack, _data), *_ = tenant.bundled_packs()
    packs = Packs([pack], lambda _sha256: None)
    packs.start((ActivePack(pack.id, pack.version, pack.sha256, 3),))
    for missing in (ActivePack("us-xx", 1, "ab" * 32, 4), ActivePack(pack.id, pack.version, "cd" * 32, 4)):
        with pytest.raises(ConsentryError) as raised:
            packs.start((missing,))
        assert raised.value.reason is Reason.CONFIGURATION_INVALID
        assert f"{missing.pack_id} {missing.version}" in raised.value.message
