"""Explain: the whole trace of a recorded decision, on the facts and packs of its day, or of a hypothetical one.

Of a ledger only the entries are folded that the decision could have looked at: those about the tenant, and those about
the people in it, found by the index. Today's tables are never asked about a recorded decision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import decide, wording
from consentry_server.core.law.explain import agrees, explain
from consentry_server.core.law.trace import Step, StepResult, of_finding
from consentry_server.core.record import fold
from consentry_server.core.record.artifacts import Artifact
from consentry_server.core.record.codec import from_body
from consentry_server.core.record.decisions import read_decision
from consentry_server.core.record.facts import Face, Photo, Subject
from consentry_server.core.vocabulary import Outcome
from consentry_server.services.again import Late, View, before, entries_before, late_of
from consentry_server.services.artifacts import as_on_record, with_people
from consentry_server.services.book import Recorded
from consentry_server.services.context import Role
from consentry_server.services.gate import faces_on_record, with_source
from consentry_server.services.history import STARTED, History, Kept
from consentry_server.services.late import RECORDED_AFTER, said_then, stricter
from consentry_server.services.late import claimed as claimed_time
from consentry_server.services.reading import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from consentry_server.core.law import Decision
    from consentry_server.core.law.explain import Claimed
    from consentry_server.core.record.decisions import RecordedDecision
    from consentry_server.core.record.facts import ActivePack
    from consentry_server.services.checks import Asked
    from consentry_server.services.context import Caller
    from consentry_server.services.packs import Packs
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.reading import Reader

PAGE: Final = 500
NOBODY_ON_RECORD: Final = "(nothing on record)"
"""Stands for a person whom nobody has named before: no determination is about a person of this reference."""
_OF_PEOPLE: Final = frozenset(
    {
        "notice.delivered",
        "release.recorded",
        "release.withdrawn",
        "interaction.recorded",
        "purpose.satisfied",
        "employment.ended",
        "person.opted_out",
        "purpose.unnecessary",
        "account.closed",
        "artifact.recorded",
        "photo.stored",
        "identifier.stored",
        "destruction.requested",
        "destruction.completed",
    }
)
"""Entries that change what is known of their people alone, and nothing of the tenant that a law asks about.

The state of an artifact is not among it: it hangs on everybody in it and in what it was made from. What a recorded
decision knew of it stands in its entry, and replay holds that to the whole ledger; a hypothetical one reads it as is.
"""


@dataclass(frozen=True, slots=True)
class Explained:
    """A decision and its trace.

    Args:
        decision: What comes out.
        steps: The trace, a step for each face.
        complete: Whether the trace is the whole of the recorded decision.
        packs: The packs that were active.
        subject_refs: One for each face; empty where nobody is named.
        at: The time that it is decided for.
        recorded: The recorded decision; None where it is hypothetical.
        entry: Where it stands.
        notes: What is to be known of the whole trace.
    """

    decision: Decision
    steps: tuple[Step, ...]
    complete: bool
    packs: tuple[ActivePack, ...]
    subject_refs: tuple[str, ...]
    at: datetime
    recorded: RecordedDecision | None = None
    entry: Recorded | None = None
    notes: tuple[Step, ...] = ()


class Explaining:
    """Explains decisions of one ledger.

    Args:
        reader: Finds entries.
        store: For reading photos' records.
        packs: Compiled law packs.
        engine: Version of this code.
        unknown_regions: What counts now where a person's residence is unknown; of the past the ledger says it.
        reference: The subject_ref of a person whom a caller names, or None where nobody has named that person yet.
    """

    def __init__(
        self,
        *,
        reader: Reader,
        store: LedgerStore,
        packs: Packs,
        engine: str,
        unknown_regions: frozenset[str],
        reference: Callable[[str], str | None],
    ) -> None:
        self._reader = reader
        self._store = store
        self._packs = packs
        self._engine = engine
        self._unknown_regions = unknown_regions
        self._reference = reference

    def recorded(self, decision_id: str, index: int, caller: Caller | None = None) -> Explained:
        """Explain a recorded decision. Blocks on the store.

        Args:
            decision_id: Its id.
            index: The entry that its id names.
            caller: Who asks; a processor is shown its own decisions only. None may see all.

        Returns:
            The decision with its trace.

        Raises:
            ConsentryError: ``NOT_FOUND``; ``CONFIGURATION_INVALID``: a pack of its day is not at hand.
        """
        size = self._store.fetch_head().size
        stored, entry = self._reader.entry(index) if 0 <= index < size else (None, {})
        if stored is None or entry.get("type") != "decision" or entry.get("decision_id") != decision_id:
            raise _no_decision()
        held = read_decision(entry)
        if caller is not None and caller.role is Role.PROCESSOR and held.actor != caller.actor:
            raise _no_decision()
        references = tuple(face.subject_ref for face in held.faces)
        history, claimed = self._facts(index, references)
        faces = [history.face(face) for face in held.faces]
        views = self._views(View(held.request, faces, history.tenant, held.time), late_of(entry), index, history)
        made = self._made(views, history.unknown_regions, claimed)
        notes = []
        if not history.settings_known:
            said = (
                "The ledger does not say which regions counted then for people of unknown residence: today's are used."
            )
            notes.append(Step(said, StepResult.UNKNOWN))
        again = (made.decision.outcome, faces_on_record(made.decision, faces))
        same = again == (held.outcome, held.faces) and held.packs == tuple(pack.index for pack in made.packs)
        if not same:
            said = (
                f"The ledger records {held.outcome}, by engine {held.engine}; this engine, {self._engine}, comes to "
                f"{made.decision.outcome} on the facts and packs of that day, as follows."
            )
            notes.append(Step(said, StepResult.FAILED, basis=(index,)))
        return Explained(
            made.decision,
            made.steps,
            made.complete and same,
            made.packs,
            references,
            held.time,
            held,
            Recorded(index, stored.leaf_hash, held.time),
            (*notes, *made.notes),
        )

    def hypothetical(self, asked: Asked, now: datetime) -> Explained:
        """Explain what would be decided now. Nothing is recorded, and nobody gets a reference. Blocks on the store.

        Args:
            asked: What would be asked.
            now: The time, UTC.

        Returns:
            The decision with its trace.

        Raises:
            ConsentryError: ``NOT_FOUND`` or ``DESTROYED`` for the photo; ``FIELD_INVALID``: of the future;
                ``TOO_LARGE``: a data set made from too many people.
        """
        size = self._store.fetch_head().size
        photo = self._photo(asked.photo_id) if asked.photo_id else None
        request = asked.request if photo is None else with_source(asked.request, photo)
        artifact = self._artifact(request.artifact_id)
        known = tuple((self._reference(face.subject_id) or "") if face.subject_id else "" for face in asked.faces)
        inside = () if artifact is None else tuple(each.subject_ref for each in artifact.people)
        history, claimed = self._facts(size, (*known, *inside))
        faces: list[Face] = []
        for face, reference in zip(asked.faces, known, strict=True):
            subject = None
            if face.subject_id:
                subject = history.subject(reference) if reference else Subject(NOBODY_ON_RECORD)
            faces.append(Face(subject, face.known_by, face.regions, face.age_band, face.box))
        if request.artifact_id:
            there = _There(artifact, history)
            request, faces = as_on_record(there, request), [*with_people(there, request, faces)]
        time = claimed_time(now, asked.occurred_at)
        late = None if time is None else Late(time, None)
        if late is not None:
            late = late._replace(said=said_then(asked.request, photo, entries_before(self._said, size, late.time)))
        history.unknown_regions = self._unknown_regions
        made = self._made(
            self._views(View(request, faces, history.tenant, now), late, size, history), self._unknown_regions, claimed
        )
        refs = tuple("" if face.subject is None else face.subject.subject_ref for face in faces) or ("",)
        refs = tuple("" if reference == NOBODY_ON_RECORD else reference for reference in refs)
        return Explained(made.decision, made.steps, made.complete, made.packs, refs, now, notes=made.notes)

    def _views(self, now: View, late: Late | None, size: int, history: History) -> tuple[View, ...]:
        """What is decided: once, or of a late report twice."""
        if late is None:
            return (now,)
        earlier = entries_before(self._said, size, late.time)
        artifact = self._artifact(now.request.artifact_id)
        return now, before(now, late, earlier, artifact, history.unknown_regions)

    def _made(self, views: Sequence[View], unknown_regions: frozenset[str], claimed: Claimed) -> Explained:
        """Decide, and trace it; a trace that comes to something else is withheld."""
        now = views[0]
        decisions: list[Decision] = []
        traces: list[Sequence[Step]] = []
        agreed = True
        for view in views:
            packs = self._packs.compiled(view.tenant.packs)
            asked = (view.request, view.faces, view.tenant, packs)
            decision = decide(*asked, now=view.at, unknown_regions=unknown_regions)
            traced = explain(*asked, now=view.at, unknown_regions=unknown_regions, claimed=claimed)
            agreed = agreed and agrees(traced, decision)
            decisions.append(decision)
            traces.append([face.step for face in traced])
        decision, steps = decisions[0], tuple(traces[0])
        if len(views) > 1:
            decision = stricter(*decisions)
            steps = tuple(_twice(views[1].at, *told) for told in zip(*traces, strict=True)) if agreed else ()
        if agreed:
            return Explained(decision, steps, True, now.tenant.packs, (), now.at)
        said = "The trace does not come to what is decided, so it is withheld: report this to the operator."
        withheld = Step(said, StepResult.FAILED, outcome=decision.outcome)
        return Explained(decision, (), False, now.tenant.packs, (), now.at, notes=(withheld,))

    def _said(self, index: int) -> dict[str, Any]:
        return self._reader.entry(index)[1]

    def _artifact(self, artifact_id: str) -> Artifact | None:
        body = self._store.fetch_record("artifact", artifact_id) if artifact_id else None
        return None if body is None else from_body(Artifact, body)

    def _facts(self, until: int, references: Iterable[str]) -> tuple[History, Claimed]:
        """What was known before an entry of the tenant and of some people."""
        history = History(Kept(), self._unknown_regions)
        claimed: Claimed = {}
        found: dict[int, dict[str, Any]] = dict(self._entries(Filter(types=_tenant_types()), until))
        for reference in dict.fromkeys(filter(None, references)):
            found.update(self._entries(Filter(types=fold.fact_types(), subject_ref=reference), until))
        for index in sorted(found):
            entry = found[index]
            history.take(entry)
            for person in entry.get("people", ())[:1]:
                for region in entry.get("claims", {}).get("regions", ()):
                    claimed.setdefault((person["subject_ref"], region), index)
        return history, claimed

    def _entries(self, wanted: Filter, until: int) -> Iterator[tuple[int, dict[str, Any]]]:
        first, more = 0, until > 0
        while more:
            page, first, more = self._reader.page(wanted, first, until, PAGE)
            for stored in page:
                yield stored.index, stored.said()

    def _photo(self, photo_id: str) -> Photo:
        body = self._store.fetch_record("photo", photo_id)
        if body is None:
            raise ConsentryError(Reason.NOT_FOUND, "no such photo", field="hypothetical.photo.photo_id")
        photo = from_body(Photo, body)
        if photo.destruction_id:
            raise ConsentryError(
                Reason.DESTROYED,
                "this photo is destroyed or about to be: nothing would be decided about it",
                field="hypothetical.photo.photo_id",
            )
        return photo


class _There:
    """An artifact as it is on record, and people as they were; see ``artifacts.Known``."""

    def __init__(self, artifact: Artifact | None, history: History) -> None:
        self._artifact = artifact
        self.subject = history.subject

    def get(self, _kind: type[Artifact], _key: str) -> Artifact | None:
        """The one artifact that is asked about."""
        return self._artifact


def _twice(time: datetime, now: Step, then: Step) -> Step:
    """One face of a late report: both answers, and that the stricter stands."""
    both = [(each.outcome or Outcome.DENY).strictness for each in (now, then)]
    stands = then if both[1] > both[0] else now
    below = [
        replace(now, text="On everything recorded until the decision."),
        replace(then, text=f"On what was recorded before {wording.day(time)}, by the law of that time."),
    ]
    if stands is then and then.outcome in {Outcome.DENY, Outcome.REVIEW}:
        below.append(of_finding(replace(RECORDED_AFTER, outcome=then.outcome)))
    said = f"{now.text.removesuffix('.')}: reported late, so it is decided twice, and the stricter answer stands."
    return Step(said, stands.result, basis=stands.basis, outcome=stands.outcome, steps=tuple(below))


def _tenant_types() -> frozenset[str]:
    return (fold.fact_types() - _OF_PEOPLE) | {STARTED}


def _no_decision() -> ConsentryError:
    return ConsentryError(Reason.NOT_FOUND, "no such decision in this ledger", field="decision_id")
