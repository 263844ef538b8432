"""One real server for each module, with two tenants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import Server, init, serving
from tests.support.story import Story, callers


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server") / "state"
    init(folder, "acme", "globex")
    return folder


@pytest.fixture(scope="module")
def server(state: Path) -> Iterator[Server]:
    with serving(state) as running:
        yield running


@pytest.fixture(scope="module")
def story(server: Server) -> Iterator[Story]:
    with callers(server) as made:
        made.policy()
        made.notice()
        yield made
