"""Names of blobs: checked in one place, so that no adapter ever sees a path."""

from __future__ import annotations

import re
from typing import Final

from consentry_server.core.errors import ConsentryError, Reason

_PATH: Final = re.compile(r"([a-z]{1,32})/([a-z0-9_]{1,2})/([a-z0-9_]{1,96})")
_NAME: Final = re.compile(r"([a-z]{1,32})/([a-z0-9_]{1,96})")


def object_path(name: str) -> str:
    """Return where a blob lies: ``photos/pho_…x7`` → ``photos/x7/pho_…x7``, so that no folder grows without bound.

    Raises:
        ConsentryError: FIELD_INVALID for a name that is not of the port's form.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ConsentryError(Reason.FIELD_INVALID, "a blob's name is <folder>/<id> of a-z, 0-9 and underscore")
    folder, blob_id = match.groups()
    return f"{folder}/{blob_id[-2:]}/{blob_id}"


def blob_name_of(path: str) -> str | None:
    """Return the name of the blob that lies there, or None where no blob does."""
    match = _PATH.fullmatch(path)
    if match is None or match[3][-2:] != match[2]:
        return None
    return f"{match[1]}/{match[3]}"
