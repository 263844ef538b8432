"""The code in docs/client.md, run as it stands."""

from __future__ import annotations

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest

import consentry
from consentry import errors
from consentry.testing import FakeGate
from consentry_server.adapters.certificates import make_development

GUIDE = (Path(__file__).parents[2] / "docs" / "client.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_guide_s_code_runs(
    number: int, tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tls = tmp_path / "tls"
    make_development(tls, trust_domain="consentry.local", tenants=["acme"], now=datetime.now(UTC))
    shutil.copy(photos / "portrait.jpg", tmp_path / "portrait.jpg")
    monkeypatch.chdir(tmp_path)
    gate = FakeGate(allowed={"alice"})
    pair = ((tls / "server.key").read_bytes(), (tls / "server.pem").read_bytes())
    gate.start(grpc.ssl_server_credentials([pair], (tls / "ca.pem").read_bytes(), require_client_auth=True))
    try:
        code = BLOCKS[number].replace("127.0.0.1:50051", gate.address)
        exec(compile(code, "docs/client.md", "exec"), {"__name__": "guide"})  # noqa: S102 - the guide's own code
    finally:
        gate.stop()
    size = (tmp_path / "portrait.jpg").stat().st_size
    assert (
        capsys.readouterr().out
        == [
            f"face 0: alice, {size} bytes\n",
            f"{size}\n",
            "",
            "processed alice\nrefused bob RELEASE_MISSING\nno answer SERVICE_FAULT\n",
        ][number]
    )


def test_the_guide_lists_every_error() -> None:
    table = set(re.findall(r"^\| `(\w+)` \|", GUIDE, flags=re.MULTILINE))
    kinds = {name for name in consentry.__all__ if isinstance(getattr(errors, name, None), type)}
    assert table == {name for name in kinds if issubclass(getattr(errors, name), Exception)} - {"ConsentryError"}
