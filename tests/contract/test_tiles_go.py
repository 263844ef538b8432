"""Published tiles, read by Go's own packages for transparency logs: nothing of this project is in the reader."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from consentry_server.services.keys import Keys
from tests.support.clocks import Clock
from tests.support.published import Published, make_keys

SOURCE = Path(__file__).parents[1] / "data" / "go" / "tilecheck"
GO = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
LOCAL = {"GOFLAGS": "-mod=readonly", "GOTOOLCHAIN": "local"}


@pytest.fixture(scope="module")
def tilecheck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GO is None:
        pytest.skip("go is not installed: install it to have tiles read by a program that is not ours")
    program = tmp_path_factory.mktemp("go") / "tilecheck"
    built = subprocess.run(
        [GO, "build", "-o", str(program), "."],
        cwd=SOURCE,
        env={**os.environ, **LOCAL},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    if "golang.org/x/mod" in built.stderr and "dial" in built.stderr:
        pytest.skip("golang.org/x/mod cannot be fetched: connect to have tiles read by a program that is not ours")
    assert built.returncode == 0, built.stderr
    return program


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    made = make_keys(tmp_path_factory.mktemp("keys"), Clock())
    yield made
    made.close()


def read(tilecheck: Path, ledger: Published) -> tuple[int, str]:
    key = ledger.checkpoints.key.vkey
    done = subprocess.run([tilecheck, ledger.root, key], capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout.strip()


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1_300, 66_000])
async def test_go_reads_what_is_published(tilecheck: Path, keys: Keys, tmp_path: Path, size: int) -> None:
    ledger = await Published(tmp_path, keys, Clock(), hot_entries=256).open()
    while (missing := size - ledger.store.fetch_head().size) > 0:
        await ledger.append(min(missing, 5_000))
        await ledger.round()
    assert read(tilecheck, ledger) == (0, str(size))
    await ledger.close()


@pytest.mark.parametrize("path", ["checkpoint", "tile/0/001", "tile/1/000.p/5", "tile/entries/003"])
async def test_go_finds_one_flipped_bit(tilecheck: Path, keys: Keys, tmp_path: Path, path: str) -> None:
    ledger = await Published(tmp_path, keys, Clock()).open()
    await ledger.append(1_300)
    await ledger.publisher.publish()
    file = ledger.root / path
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert read(tilecheck, ledger)[0] == 1
    await ledger.close()
