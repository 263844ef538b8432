"""The house itself: one version, locks without addresses, commands that say what they do, sockets that stay here."""

from __future__ import annotations

import re
import socket
import subprocess
import tomllib
from pathlib import Path

import pytest
import pytest_socket

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))


def project(distribution: str) -> dict[str, object]:
    table = tomllib.loads((ROOT / distribution / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(table, dict)
    return table


def test_both_distributions_have_one_version_and_the_server_asks_for_that_client() -> None:
    client, server = project("client"), project("server")
    assert client["version"] == server["version"]
    assert f"consentry=={client['version']}" in str(server["dependencies"])


def test_each_distribution_carries_the_licence() -> None:
    licence = (ROOT / "LICENSE").read_bytes()
    assert [(ROOT / part / "LICENSE").read_bytes() == licence for part in ("client", "server")] == [True, True]


def test_the_changelog_knows_the_version() -> None:
    assert f"## [{project('client')['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_client_brings_grpc_and_protobuf_and_nothing_else() -> None:
    dependencies = project("client")["dependencies"]
    assert isinstance(dependencies, list)
    names = {re.split(r"[<>=\[; ]", text, maxsplit=1)[0] for text in dependencies}
    assert names == {"grpcio", "grpcio-status", "protobuf", "googleapis-common-protos"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_locks_have_a_hash_for_every_pin_and_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "//" not in text
    assert "index-url" not in text
    pins = re.findall(r"^[A-Za-z0-9][^\n]*==[^\n]*(?:\n +--hash=sha256:[0-9a-f]{64}[^\n]*)*", text, flags=re.MULTILINE)
    assert pins
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []


def test_there_is_a_lock_for_every_list() -> None:
    assert [path.stem for path in LOCKS] == sorted(path.stem for path in (ROOT / "requirements").glob("*.in"))


def test_help_names_every_command_of_the_readme() -> None:
    done = subprocess.run(["make", "-C", str(ROOT), "help"], check=True, capture_output=True, text=True)
    listed = set(re.findall(r"^ +make ([a-z-]+)", done.stdout, flags=re.MULTILINE))
    shown = set(re.findall(r"`make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"demo", "test", "run", "bench", "lint", "proto", "lock", "clean", "help"} <= listed
    assert shown <= listed


def test_no_socket_leaves_this_machine() -> None:
    blocked = pytest.raises(pytest_socket.SocketConnectBlockedError)
    with socket.socket() as outward, pytest.warns(UserWarning, match="192.0.2.1"), blocked:
        outward.connect(("192.0.2.1", 443))  # RFC 5737: an address of nobody


def test_the_photographs_say_where_they_come_from(photos: Path) -> None:
    readme = (photos / "README.md").read_text(encoding="utf-8")
    assert {path.name for path in photos.glob("*.jpg")} == set(
        re.findall(r"^\| (\S+\.jpg) ", readme, flags=re.MULTILINE)
    )
