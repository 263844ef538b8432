"""The command: what it makes, what it says, how it ends. The application behind it is a fake here."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
import structlog

import consentry_server
from consentry_server import cli, config
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from pathlib import Path


class Application(ModuleType):
    """Stands where consentry_server.app is."""

    def __init__(self) -> None:
        super().__init__("consentry_server.app")
        self.made: list[Path] = []
        self.served: list[tuple[config.Settings, bool]] = []
        self.failure: BaseException | None = None
        self.while_serving: Callable[[], None] = lambda: None

    def initialize(self, state: Path, settings: config.Settings) -> None:
        assert isinstance(settings, config.Settings)
        assert not (state / config.FILE_NAME).exists()
        (state / "tenants").mkdir()
        self.made.append(state)
        if self.failure:
            raise self.failure

    async def run(
        self,
        _state: Path,
        settings: config.Settings,
        *,
        unsafe_insecure_loopback: bool,
        on_ready: Callable[[int], None],
    ) -> None:
        self.served.append((settings, unsafe_insecure_loopback))
        if self.failure:
            raise self.failure
        on_ready(4711)
        self.while_serving()


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.upper().startswith(config.PREFIX):
            monkeypatch.delenv(name)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Application:
    fake = Application()
    monkeypatch.setitem(sys.modules, "consentry_server.app", fake)
    monkeypatch.setattr(consentry_server, "app", fake, raising=False)
    return fake


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run the command; exit code, standard output, standard error."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["consentry", *map(str, arguments)])
        code: Any = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
        seen = capsys.readouterr()
        return int(code), seen.out, seen.err

    return call


Run = Callable[..., tuple[int, str, str]]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_init_makes_a_private_folder(run: Run, application: Application, tmp_path: Path) -> None:
    state = tmp_path / "state"
    code, out, err = run("init", state, "--tenant", "acme", "--tenant", "other", "--trust-domain", "x.example")
    assert (code, out) == (0, "")
    assert "consentry serve" in err
    assert application.made == [state]
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    tenancy = config.load(state).tenancy
    assert (tenancy.tenants, tenancy.trust_domain) == (("acme", "other"), "x.example")
    assert {"tls/ca.pem", "tls/server.key", "tls/officer-second.pem", "tls/other/operator-ops.key"} < set(tree(state))


def test_init_twice(run: Run, application: Application, tmp_path: Path) -> None:
    state = tmp_path / "state"
    run("init", state)
    before = tree(state)
    code, _, err = run("init", state)
    assert code == 4
    assert "made already" in err
    assert run("init", "--if-missing", state)[0] == 0
    assert tree(state) == before
    assert len(application.made) == 1


def test_init_takes_nothing_from_anybody(run: Run, application: Application, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    code, _, err = run("init", tmp_path)
    assert code == 4
    assert "empty it first" in err
    assert tree(tmp_path) == {"mine.txt": b"keep"}


@pytest.mark.parametrize("failure", [ConsentryError(Reason.STORAGE_FULL, "no space is left"), KeyboardInterrupt()])
def test_a_failed_init_leaves_nothing_and_can_be_repeated(
    run: Run, application: Application, tmp_path: Path, failure: BaseException
) -> None:
    application.failure = failure
    assert run("init", tmp_path)[0] == (130 if isinstance(failure, KeyboardInterrupt) else 1)
    assert list(tmp_path.iterdir()) == []
    application.failure = None
    assert run("init", tmp_path)[0] == 0


@pytest.mark.parametrize("tenant", ["../x", "Acme", "", "a" * 65])
def test_init_refuses_names_that_would_not_work(
    run: Run, application: Application, tmp_path: Path, tenant: str
) -> None:
    code, _, err = run("init", tmp_path / "state", "--tenant", tenant)
    assert code == 3
    assert "tenancy.tenants" in err
    assert not (tmp_path / "state").exists()


def test_serve_says_where_and_writes_the_ready_file(run: Run, application: Application, tmp_path: Path) -> None:
    state, ready = tmp_path / "state", tmp_path / "ready.json"
    run("init", state)
    ready.write_text("old")
    seen: list[dict[str, Any]] = []
    application.while_serving = lambda: seen.append(json.loads(ready.read_text()))
    code, _, err = run("serve", state, "--listen", "127.0.0.1:0", "--ready-file", ready)
    assert code == 0
    assert "consentry answers on 127.0.0.1:4711" in err
    assert seen == [{"address": "127.0.0.1:4711", "host": "127.0.0.1", "port": 4711, "pid": os.getpid()}]
    assert not ready.exists()
    ((settings, unsafe),) = application.served
    assert (settings.server.listen, unsafe) == ("127.0.0.1:0", False)


def test_the_insecure_listener_is_asked_for_by_its_name(run: Run, application: Application, tmp_path: Path) -> None:
    run("init", tmp_path)
    run("serve", tmp_path, "--unsafe-insecure-loopback")
    assert application.served[0][1] is True


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.STORAGE_FAILED, 1),
        (Reason.KEYS_UNAVAILABLE, 1),
        (Reason.CONFIGURATION_INVALID, 3),
        (Reason.LEDGER_FORKED, 5),
        (Reason.DATA_DAMAGED, 5),
    ],
)
def test_a_failure_is_a_sentence_and_a_code(
    run: Run, application: Application, tmp_path: Path, reason: Reason, code: int
) -> None:
    run("init", tmp_path)
    application.failure = ConsentryError(reason, "it is [bold]so[/bold]: do this " + "long " * 50 + "end")
    ended, _, err = run("serve", tmp_path, "--ready-file", tmp_path / "ready")
    assert ended == code
    assert err == f"consentry: {application.failure}\n"
    assert not (tmp_path / "ready").exists()


def test_serve_without_a_state_folder(run: Run, application: Application, tmp_path: Path) -> None:
    code, _, err = run("serve", tmp_path / "nowhere")
    assert code == 3
    assert "consentry init" in err.replace("\n", " ")
    assert application.served == []


def test_one_more_certificate(run: Run, application: Application, tmp_path: Path) -> None:
    run("init", tmp_path)
    options = ("--role", "processor", "--name", "matcher")
    assert run("certificate", tmp_path, *options)[0] == 0
    assert (tmp_path / "tls/processor-matcher.pem").exists()
    assert run("certificate", tmp_path, *options)[0] == 4
    assert run("certificate", tmp_path, *options, "--tenant", "nobody")[0] == 2
    assert run("certificate", tmp_path, "--role", "king", "--name", "x")[0] == 2
    assert run("certificate", tmp_path, "--role", "auditor", "--name", "../x")[0] == 2


def test_version_and_help(run: Run, application: Application) -> None:
    code, out, _ = run("version")
    assert (code, out.startswith("consentry ")) == (0, True)
    code, out, _ = run("--help")
    assert code == 0
    assert all(command in out for command in ("init", "serve", "certificate", "audit", "version"))
    assert run("nonsense")[0] == 2


def test_the_documented_exit_codes_are_those_used() -> None:
    documented = f" {cli.__doc__} ".replace("\n", " ")
    for code in {0, cli.FAILED, cli.INTERRUPTED, *cli.EXIT_CODES.values()}:
        assert f" {code} " in documented
