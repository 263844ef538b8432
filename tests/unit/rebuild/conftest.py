"""A tenant with one of everything, made once, and a copy of it for each test to damage."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from consentry_server import cli, config
from consentry_server.core.vocabulary import Purpose
from consentry_server.services.context import request_key
from consentry_server.tenant import TenantFolders
from tests.support.clocks import Clock
from tests.support.stack import PROCESSOR, SETTINGS, face, start

ENTRIES = 300
"""More than one tile."""
PICTURE = Path(__file__).parents[2] / "data" / "photos" / "no-face.jpg"

Run = Callable[..., tuple[int, str, str]]


async def _live(state: Path) -> None:
    clock = Clock()
    clock.now = datetime(2025, 1, 6, 9, 0, tzinfo=UTC)
    stack = await start(state, clock)
    await stack.policy()
    await stack.notice()
    await stack.notice("unlocking", [Purpose.ACCOUNT_SECURITY])
    await stack.upload(PICTURE.read_bytes())
    for person in ("ana", "bo", "eve"):
        await stack.consent(person)
        checked = await stack.check(face(person), sha256=b"\x03" * 32)
        await stack.store_identifier(checked.permit, template=person.encode())
    await stack.withdraw("ana")
    for number in range(ENTRIES - stack.tenant.sequencer.store.fetch_head().size):
        clock.forward(seconds=1)
        key = request_key(PROCESSOR, "Check", f"request-{number}", b"body")
        await stack.check(face(("ana", "bo", "carl")[number % 3]), sha256=b"\x03" * 32, key=key)
    await stack.running.aclose()


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("lived") / "state"
    asyncio.run(_live(state))
    tenancy = SETTINGS.tenancy
    table: dict[str, dict[str, object]] = {
        "tenancy": {"trust_domain": tenancy.trust_domain, "tenants": tenancy.tenants}
    }
    (state / config.FILE_NAME).write_text(config.document(table))  # type: ignore[arg-type]
    return state


@pytest.fixture
def state(lived: Path, tmp_path: Path) -> Path:
    shutil.copytree(lived, tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def database(state: Path) -> Path:
    return TenantFolders(state, "acme").ledger


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command; exit code, standard output, standard error."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["consentry", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        seen = capsys.readouterr()
        return code, seen.out, seen.err

    return call


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
