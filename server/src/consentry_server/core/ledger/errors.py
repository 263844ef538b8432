"""The one error of the ledger core."""

from __future__ import annotations

from consentry_server.core.errors import ConsentryError, Reason


class LedgerError(ConsentryError):
    """Bytes, a proof, a signature or a tile that do not keep to the ledger's format.

    ``DATA_DAMAGED`` when something that was read is wrong, ``FIELD_INVALID`` when something that was to be written is.
    """


def damaged(message: str, *, field: str = "") -> LedgerError:
    """An error about something that was read.

    Args:
        message: One plain sentence.
        field: The entry's field at fault, dotted, or empty.

    Returns:
        The error, to be raised.
    """
    return LedgerError(Reason.DATA_DAMAGED, message, field=field)


def invalid(message: str, *, field: str = "") -> LedgerError:
    """An error about something that was to be written, or a wrong argument.

    Args:
        message: One plain sentence.
        field: The entry's field at fault, dotted, or empty.

    Returns:
        The error, to be raised.
    """
    return LedgerError(Reason.FIELD_INVALID, message, field=field)
