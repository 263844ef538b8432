"""Replay: every recorded decision decided again, on the facts and packs of its day, while the ledger streams by.

The promise that it tests: the same ledger and the same packs give the same answer years later. It needs nothing but
entries and the bytes of packs, and memory for what was looked at lately.

1. Entries are folded in order; a decision is decided again on what stood before it.
2. Its packs are those that the fold says were active, found by their hash; packs brought along may stand in for them.
3. What the entry says of it is compared: outcome, packs, and for each face outcome, rules and basis; whether it could
   be observed only; the state of the artifact it is on, and the people of a data set. Dates of obligations are not in
   entries; they follow from the same facts and packs.
4. Of what does not come out the same it is told why, as far as that can be known: packs that are not at hand, another
   engine version, settings that an old ledger did not record.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import decide
from consentry_server.core.law.enforcement import is_observed
from consentry_server.core.ledger.merkle import hash_leaf
from consentry_server.core.ledger.tiles import GrowingTree
from consentry_server.core.record.artifacts import Artifact, ArtifactKind
from consentry_server.core.record.decisions import read_decision
from consentry_server.core.vocabulary import Outcome, Words
from consentry_server.services.again import Times, View, before, late_of
from consentry_server.services.artifacts import as_on_record, with_people
from consentry_server.services.checks import ALLOWED
from consentry_server.services.folding import Folded
from consentry_server.services.gate import faces_on_record
from consentry_server.services.history import History
from consentry_server.services.late import stricter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from consentry_server.core.law import Decision, Pack
    from consentry_server.core.record.decisions import FaceOnRecord, RecordedDecision
    from consentry_server.core.record.facts import ActivePack, Face, OperationRequest, Tenant
    from consentry_server.services.again import Late
    from consentry_server.services.packs import Packs
    from consentry_server.services.ports_rebuild import Shelf

TELL_EVERY: Final = 1_000
"""Entries between two reports of progress."""


class Result(Words):
    """How the replay of one decision came out."""

    EQUAL = "EQUAL"
    DIFFERENT = "DIFFERENT"
    """Another outcome, rule or basis, by the very engine version that decided it."""
    ERASED = "ERASED"
    """Not replayable: a fact that it rests on was erased on schedule."""
    NO_PACK = "NO_PACK"
    """Not replayable: the bytes of a pack of its day are not at hand."""
    OTHER_ENGINE = "OTHER_ENGINE"
    """Comes out differently, but another engine version made it: replay it with that version."""
    NO_SETTINGS = "NO_SETTINGS"
    """Comes out differently, but the ledger does not say which regions counted for people of unknown residence."""
    DAMAGED = "DAMAGED"
    """The entry cannot be read as a decision."""


UNPROVEN: Final = frozenset({Result.NO_PACK, Result.OTHER_ENGINE, Result.NO_SETTINGS})
"""Says nothing about the ledger: something is missing here."""


@dataclass(frozen=True, slots=True)
class Differs:
    """One thing that differs.

    Args:
        field: What, such as ``outcome`` or ``faces[0].rules``.
        recorded: What the entry says.
        replayed: What comes out.
    """

    field: str
    recorded: str
    replayed: str

    def __str__(self) -> str:
        return f"{self.field}: recorded {self.recorded or 'nothing'}, replayed {self.replayed or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One decision, decided again.

    Args:
        index: Its entry.
        decision_id: Its id.
        result: How it came out.
        recorded: The recorded outcome; None where it cannot be read.
        replayed: The outcome that comes out; None where none does.
        differences: What differs.
        why: One plain sentence where it is not replayable.
        gained: Rules that find something now and did not.
        lost: Rules that found something and do not now.
        leaf_hash: Of its entry, 32 bytes; empty where it came out the same.
    """

    index: int
    decision_id: str
    result: Result
    recorded: Outcome | None = None
    replayed: Outcome | None = None
    differences: tuple[Differs, ...] = ()
    why: str = ""
    gained: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    leaf_hash: bytes = b""


@dataclass
class Tally:
    """What a replay came to.

    Attributes:
        results: Decisions by result.
        changes: Decisions that came out with another outcome, by the recorded and the replayed one.
        gained: Decisions by each rule that finds something now and did not.
        lost: Decisions by each rule that found something and does not now.
    """

    results: Counter[Result] = field(default_factory=Counter)
    changes: Counter[tuple[Outcome, Outcome]] = field(default_factory=Counter)
    gained: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Decisions so far."""
        return self.results.total()

    def count(self, one: Replayed) -> None:
        """Add one."""
        self.results[one.result] += 1
        if one.recorded is not None and one.replayed is not None and one.recorded is not one.replayed:
            self.changes[one.recorded, one.replayed] += 1
        self.gained.update(one.gained)
        self.lost.update(one.lost)


class Replay:
    """Decides a ledger again, from its first entry on.

    Args:
        shelf: Empty; where facts lie that are not held in memory.
        packs: Compiled packs, found by the hash that the ledger names.
        engine: Version of this code.
        unknown_regions: What counts where the ledger does not say it.
        holds: Whether sealed words are still held; None where that cannot be told.
        instead: Packs that stand in for those of the day with the same id; one whose id was not active is added.
        first: Decisions before this index are folded over, not decided again.
        only: The one decision wanted; empty for all.
    """

    def __init__(
        self,
        *,
        shelf: Shelf,
        packs: Packs,
        engine: str,
        unknown_regions: frozenset[str],
        holds: Callable[[str], bool | None],
        instead: Sequence[Pack] = (),
        first: int = 0,
        only: str = "",
    ) -> None:
        self.tree = GrowingTree()
        self.tally = Tally()
        self._history = History(Folded(shelf), unknown_regions)
        self._times = Times(shelf)
        self._packs = packs
        self._engine = engine
        self._holds = holds
        self._instead = tuple(instead)
        self._first = first
        self._only = only
        self._chosen: tuple[tuple[ActivePack, ...] | None, tuple[Pack, ...]] = (None, ())

    @property
    def size(self) -> int:
        """Entries so far."""
        return self.tree.size

    def take(self, data: bytes) -> Replayed | None:
        """Take the next entry.

        Args:
            data: Its bytes.

        Returns:
            What became of it, where it is a decision that is wanted.

        Raises:
            ConsentryError: ``DATA_DAMAGED``: it cannot be read, or stands in the wrong place: nothing after it could be
                trusted.
        """
        index = self.tree.size
        leaf = hash_leaf(data)
        self.tree.append(leaf)
        try:
            entry = orjson.loads(data)
            if entry["index"] != index:
                raise _unfit(index)
            self._times.add(entry["time"])
            if entry["type"] == "decision":
                one = self._decide(entry) if self._is_wanted(entry) else None
                return one if one is None or one.result is Result.EQUAL else replace(one, leaf_hash=leaf)
            self._history.take(entry)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise _unfit(index) from error
        return None

    def run(self, entries: Iterable[bytes], progress: Callable[[int], None]) -> Iterator[Replayed]:
        """Take all entries of a ledger.

        Args:
            entries: Their bytes, in order, from the first one on.
            progress: Told now and then how many are done.

        Yields:
            Each decision that did not come out the same.

        Raises:
            ConsentryError: as :meth:`take`.
        """
        for data in entries:
            one = self.take(data)
            if one is not None:
                self.tally.count(one)
                if one.result is not Result.EQUAL:
                    yield one
            if self.size % TELL_EVERY == 0:
                progress(self.size)
        progress(self.size)

    def _is_wanted(self, entry: Mapping[str, Any]) -> bool:
        return entry["index"] >= self._first and (not self._only or entry["decision_id"] == self._only)

    def _decide(self, entry: Mapping[str, Any]) -> Replayed:
        try:
            recorded, late = read_decision(entry), late_of(entry)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, ConsentryError):
            return Replayed(
                entry["index"],
                str(entry.get("decision_id", "")),
                Result.DAMAGED,
                why="the entry cannot be read as a decision",
            )
        # (1) the facts of the day
        tenant = self._history.tenant
        faces = [self._history.face(face) for face in recorded.faces]
        request = as_on_record(self._history, recorded.request) if recorded.request.artifact_id else recorded.request
        # (2) the packs of the day
        try:
            made = self._made(View(request, faces, tenant, recorded.time), late)
        except ConsentryError as error:
            return Replayed(recorded.index, recorded.decision_id, Result.NO_PACK, recorded.outcome, why=error.message)
        # (3) the comparison
        on_record = faces_on_record(made, faces)
        then = recorded.packs if self._instead else tuple(pack.index for pack in tenant.packs)
        found = (
            *_compare(recorded, made.outcome, on_record, then),
            *_observed(recorded, tenant),
            *self._made_from(recorded, request, faces),
        )
        if not found:
            erased = self._erased(entry, recorded)
            result = Result.ERASED if erased else Result.EQUAL
            return Replayed(recorded.index, recorded.decision_id, result, recorded.outcome, made.outcome, why=erased)
        result, why = self._judge(recorded)  # (4)
        said, says = _refusals(recorded.faces), _refusals(on_record)
        return Replayed(
            recorded.index,
            recorded.decision_id,
            result,
            recorded.outcome,
            made.outcome,
            found,
            why,
            says - said,
            said - says,
        )

    def _made(self, now: View, late: Late | None) -> Decision:
        """Decide; what was reported late a second time, on what was recorded before the operation."""
        made = self._answer(now)
        if late is None:
            return made
        size = self._times.size_before(late.time)
        artifact = self._history.get(Artifact, now.request.artifact_id) if now.request.artifact_id else None
        return stricter(made, self._answer(before(now, late, size, artifact, self._history.unknown_regions)))

    def _answer(self, view: View) -> Decision:
        regions = self._history.unknown_regions
        return decide(
            view.request, view.faces, view.tenant, self._active(view.tenant.packs), now=view.at, unknown_regions=regions
        )

    def _made_from(
        self, recorded: RecordedDecision, request: OperationRequest, faces: Sequence[Face]
    ) -> Iterator[Differs]:
        """What the entry says of the artifact, against the fold; the people of a data set are its last faces."""
        said, is_ = recorded.request.artifact_state, request.artifact_state
        if said is not is_:
            yield Differs("request.artifact_state", str(said), str(is_))
        artifact = self._history.get(Artifact, request.artifact_id) if request.artifact_id else None
        if artifact is None or artifact.kind is not ArtifactKind.DATASET or artifact.more_people:
            return
        people = with_people(self._history, request, ())
        last = faces[len(faces) - len(people) :] if len(people) <= len(faces) else ()
        if list(last) != list(people):
            yield Differs("people", str(len(last)), str(len(people)))

    def _active(self, active: tuple[ActivePack, ...]) -> tuple[Pack, ...]:
        """The packs that were active, with what stands in for them, compiled."""
        if not self._instead:
            return self._packs.compiled(active)
        known, chosen = self._chosen
        if known is not active:
            own = {
                pack.pack_id for pack in active if pack.own
            }  # it can only restrict, and so can what stands in for it
            others = {pack.id: replace(pack, own=True) if pack.id in own else pack for pack in self._instead}
            kept = tuple(pack for pack in active if pack.pack_id not in others)
            compiled = dict(zip([pack.pack_id for pack in kept], self._packs.compiled(kept), strict=True))
            names = [pack.pack_id for pack in active]
            names += [pack.id for pack in self._instead if pack.id not in names]
            chosen = tuple(others.get(name) or compiled[name] for name in names)
            self._chosen = (active, chosen)
        return chosen

    def _erased(self, entry: Mapping[str, Any], recorded: RecordedDecision) -> str:
        """What is erased of what a permission rests on: the evidence of the basis on which data left."""
        sealed = entry.get("sealed")
        if sealed is None or not recorded.request.has_disclosure_evidence or recorded.outcome not in ALLOWED:
            return ""
        if self._holds(sealed["id"]) is not False:
            return ""
        return (
            "the evidence of its disclosure basis was erased on schedule; without looking at it, it comes out the same"
        )

    def _judge(self, recorded: RecordedDecision) -> tuple[Result, str]:
        if self._instead:
            return Result.DIFFERENT, ""
        if recorded.engine != self._engine:
            said = f"engine {recorded.engine} decided it, this is {self._engine}: replay it with that version"
            return Result.OTHER_ENGINE, said
        if not self._history.settings_known:
            said = "the ledger does not say which regions counted then for people of unknown residence"
            return Result.NO_SETTINGS, said
        return Result.DIFFERENT, ""


def _compare(
    recorded: RecordedDecision, outcome: Outcome, faces: tuple[FaceOnRecord, ...], packs: tuple[int, ...]
) -> Iterator[Differs]:
    if recorded.outcome is not outcome:
        yield Differs("outcome", str(recorded.outcome), str(outcome))
    if recorded.packs != packs:
        yield Differs("packs", _listed(recorded.packs), _listed(packs))
    if len(recorded.faces) != len(faces):
        yield Differs("faces", str(len(recorded.faces)), str(len(faces)))
    for place, (one, other) in enumerate(zip(recorded.faces, faces, strict=False)):
        if one == other:
            continue
        if one.outcome is not other.outcome:
            yield Differs(f"faces[{place}].outcome", str(one.outcome), str(other.outcome))
        if one.rules != other.rules:
            yield Differs(f"faces[{place}].rules", _listed(one.rules), _listed(other.rules))
        if one.basis != other.basis:
            yield Differs(f"faces[{place}].basis", _listed(one.basis), _listed(other.basis))


def _observed(recorded: RecordedDecision, tenant: Tenant) -> Iterator[Differs]:
    """Nothing is observed only, but by two officers' switch."""
    if recorded.observed_only and not is_observed(tenant.enforcement, recorded.request.operation, recorded.time):
        yield Differs("observed_only", "true", "false")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in values)


def _refusals(faces: Iterable[FaceOnRecord]) -> frozenset[str]:
    """The rules that found something."""
    return frozenset(rule.partition(":")[0] for face in faces for rule in face.rules if ":" in rule)


def _unfit(index: int) -> ConsentryError:
    return ConsentryError(
        Reason.DATA_DAMAGED,
        f"entry {index} cannot be read as an entry of this ledger: nothing after it can be replayed; keep the files,"
        " and run `consentry audit verify`",
    )
