"""The rebuild beside a real server, and never against one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from consentry_server.tenant import TenantFolders
from tests.support.server import consentry, init, serving
from tests.support.story import callers


def test_the_rebuild_checks_beside_the_server_and_writes_without_it(tmp_path: Path) -> None:
    state = tmp_path / "state"
    init(state, "acme")
    with serving(state) as server:
        with callers(server) as story:
            story.policy()
            story.notice()
            story.consent("person-1")
            checked = consentry("audit", "rebuild", state)
            assert (checked.returncode, "every table is what the ledger says" in checked.stdout) == (0, True)
            story.consent("person-2")
        refused = consentry("audit", "rebuild", state, "--write")
        assert (refused.returncode, "another process serves this ledger" in refused.stderr) == (1, True)
        assert server.stop() == 0
    with closing(sqlite3.connect(TenantFolders(state, "acme").ledger)) as connection, connection:
        connection.execute("delete from record")
    found = consentry("audit", "rebuild", state, "--check")
    assert (found.returncode, "the table says no row; the ledger says" in found.stdout) == (5, True)
    written = consentry("audit", "rebuild", state, "--write")
    assert (written.returncode, "were put right" in written.stdout) == (0, True), written.stderr
    with serving(state) as server, callers(server) as story:
        story.consent("person-3")
        assert consentry("audit", "rebuild", state).returncode == 0
