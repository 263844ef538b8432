"""What a reply says about anchors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consentry.v1 import anchoring_pb2 as pb
from consentry_server.services.anchors import AnchorKind

if TYPE_CHECKING:
    from consentry_server.services.anchors import Anchoring

_KINDS: Final = {
    AnchorKind.TIMESTAMP: pb.ANCHOR_KIND_TIMESTAMP,
    AnchorKind.WITNESS: pb.ANCHOR_KIND_WITNESS,
}


def anchoring(state: Anchoring) -> pb.Anchoring:
    """Write how a ledger is anchored."""
    written = pb.Anchoring(
        anchored=state.anchored,
        statement=state.sentence,
        tree_size=state.size,
        anchors=[
            pb.Anchor(name=one.name, kind=_KINDS[one.kind], tree_size=one.size, problem=one.error)
            for one in state.anchors
        ],
    )
    written.max_unanchored.FromTimedelta(state.max_unanchored)
    if state.time is not None:
        written.vouched_time.FromDatetime(state.time)
    if state.waiting_since is not None:
        written.waiting_since.FromDatetime(state.waiting_since)
    for anchor, one in zip(written.anchors, state.anchors, strict=True):
        if one.time is not None:
            anchor.vouched_time.FromDatetime(one.time)
    return written
