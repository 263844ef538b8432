"""What holds for every test: no socket leaves this machine, warnings are errors (pytest.ini), nothing sleeps.

With ``CONSENTRY_REQUIRE_ALL=1`` a skipped test fails: where everything is installed, a skip hides something.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import structlog

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

REQUIRE_ALL = os.environ.get("CONSENTRY_REQUIRE_ALL") == "1"

# No deadline: two busy cores make a slow example, not a wrong one. Derandomised where everything is required, so that a
# red run can be repeated.
hypothesis.settings.register_profile("consentry", deadline=None, print_blob=True, derandomize=REQUIRE_ALL)
hypothesis.settings.load_profile("consentry")


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """What a command in this process says of the log holds for it alone."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder with the project's photographs: ``portrait.jpg``, ``two-people.jpg``, ``no-face.jpg``."""
    return Path(__file__).parent / "data" / "photos"


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if REQUIRE_ALL and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though CONSENTRY_REQUIRE_ALL=1: {report.longrepr}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    report = yield
    _refuse_skip(report)
    return report
