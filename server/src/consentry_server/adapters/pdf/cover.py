"""The cover as PDF/A-3b, rendered by typst in a process of its own: typst keeps in memory what it compiled."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MODULE: Final = "consentry_server.adapters.pdf.render"
MAX_SECONDS: Final = 60.0
_SHOWN: Final = 300
_PDF: Final = b"%PDF-"


class TypstCover:
    """Implements ``services.ports_evidence.CoverRenderer``."""

    def render(self, cover: Mapping[str, Any], when: datetime) -> bytes:
        """See the port."""
        task = json.dumps({"cover": cover, "when": when.isoformat()}).encode()
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter and a module of ours
                [sys.executable, "-I", "-m", MODULE], input=task, capture_output=True, check=False, timeout=MAX_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(type(error).__name__) from error
        if done.returncode != 0 or not done.stdout.startswith(_PDF):
            said = " ".join(done.stderr.decode(errors="replace").split())
            raise _failed(said[-_SHOWN:] or f"exit code {done.returncode}")
        return done.stdout


def _failed(why: str) -> ConsentryError:
    return ConsentryError(
        Reason.SERVICE_FAULT, f"the cover of the evidence pack could not be made ({why}): the export is not whole"
    )
