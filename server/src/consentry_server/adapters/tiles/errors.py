"""What goes wrong with published tiles, in words that say what to do."""

from __future__ import annotations

from consentry_server.core.errors import ConsentryError, Reason


def differing(path: str, place: str) -> ConsentryError:
    """Return the error for a file that never changes and is there with other contents."""
    return ConsentryError(
        Reason.LEDGER_FORKED,
        f"{path} in {place} is not what this ledger has there, and was left as it is: another ledger was published to "
        "this place, or the file is damaged. Keep a copy, find out which, then move the wrong file away",
    )


def unreachable(place: str, *, full: bool) -> ConsentryError:
    """Return the error for a place that cannot be used now."""
    if full:
        return ConsentryError(Reason.STORAGE_FULL, f"{place}, where tiles are published, is full: free space")
    return ConsentryError(
        Reason.STORAGE_FAILED, f"{place}, where tiles are published, cannot be used: check it and its access rights"
    )
