"""One row of a projection, written or removed as the fold has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from consentry_server.core.ledger.merkle import HASH_BYTES
from consentry_server.services.ports_rebuild import CHAIN, LEAF, REMOVED, REQUEST, TILE

if TYPE_CHECKING:
    import apsw


def repair_row(connection: apsw.Connection, kind: str, key: str, body: bytes) -> None:
    """Write one row, inside the caller's transaction.

    Args:
        connection: The ledger's writer.
        kind: A kind of record, or one that ``services.ports_rebuild`` names.
        key: Which row.
        body: What it must hold; ``REMOVED`` where it must go.
    """
    if kind == LEAF:
        connection.execute("update entry set leaf = ? where idx = ?", (body, int(key)))
        return
    condition, place, row = _row(kind, key, body)
    connection.execute(f"delete from {condition}", place)  # noqa: S608 - one of the four texts below
    if body != REMOVED and row:
        table = condition.partition(" ")[0]
        connection.execute(f"insert into {table} values ({', '.join('?' * len(row))})", row)  # noqa: S608 - as above


def _row(kind: str, key: str, body: bytes) -> tuple[str, tuple[Any, ...], tuple[Any, ...]]:
    """Table and condition, the values of the condition, and the whole row; none for what can only be removed."""
    if kind == CHAIN:
        return "chain where subject_ref = ?", (key,), (key, *(orjson.loads(body) if body else ()))
    if kind == TILE:
        place = tuple(int(part) for part in key.split("/"))
        return "tile where level = ? and number = ?", place, (*place, body[:HASH_BYTES], body[HASH_BYTES:])
    if kind == REQUEST:
        return "request where key = ?", (bytes.fromhex(key),), ()
    return "record where kind = ? and key = ?", (kind, key), (kind, key, body)
