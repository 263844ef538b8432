"""``python -m consentry_server.adapters.pdf.render``: a cover as JSON on standard input, PDF/A-3b on its output."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from importlib import resources
from typing import Final

import typst

TEMPLATE: Final = "cover.typ"


def render(task: bytes) -> bytes:
    """Render a cover.

    Args:
        task: JSON: ``cover``, and ``when`` as an ISO 8601 time.

    Returns:
        The PDF.
    """
    given = json.loads(task)
    template = (resources.files("consentry_server.adapters.pdf") / TEMPLATE).read_bytes()
    made = typst.compile(
        template,
        ignore_system_fonts=True,  # the fonts that typst brings, everywhere the same
        sys_inputs={"cover": json.dumps(given["cover"])},
        pdf_standards=["a-3b"],
        timestamp=datetime.fromisoformat(given["when"]).replace(microsecond=0),
    )
    if not isinstance(made, bytes):
        raise TypeError("typst gave no single document")
    return made


if __name__ == "__main__":
    sys.stdout.buffer.write(render(sys.stdin.buffer.read()))
