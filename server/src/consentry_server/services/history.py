"""The facts of a day: a ledger folded up to an entry, as the decision that stands there saw it.

Besides the records of the fold a decision rests on one setting: the regions that stand in where it is not known where
a person lives. ``system.started`` records them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

from consentry_server.core.record import fold
from consentry_server.core.record.facts import Face, Notice, Subject, Tenant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consentry_server.core.record.decisions import FaceOnRecord
    from consentry_server.core.record.fold import T

STARTED: Final = "system.started"


class Kept:
    """Records in memory; implements ``fold.Records``. For few people; of a whole ledger use ``folding.Folded``."""

    def __init__(self) -> None:
        self._kept: dict[tuple[type[Any], str], Any] = {}

    def get(self, kind: type[T], key: str) -> T | None:
        """See ``fold.Records``."""
        return cast("T | None", self._kept.get((kind, key)))

    def put(self, kind: type[T], key: str, record: T | None) -> None:
        """See ``fold.Records``."""
        self._kept[kind, key] = record


class History:
    """What is known after the entries taken so far.

    Args:
        records: Empty; where records are kept.
        unknown_regions: What counts until a ``system.started`` says which regions stand in where a person's residence
            is unknown; older ledgers do not say it.
    """

    def __init__(self, records: fold.Records, unknown_regions: frozenset[str]) -> None:
        self._records = records
        self._tenant = Tenant()
        self._notices: dict[tuple[str, int], Notice] = {}
        self._with_notices: Tenant | None = None
        self.unknown_regions = unknown_regions
        self.settings_known = False
        """Whether the ledger itself said so."""

    @property
    def tenant(self) -> Tenant:
        """What is known of the tenant, with every notice."""
        if self._with_notices is None:
            self._with_notices = replace(self._tenant, notices=dict(self._notices))
        return self._with_notices

    def take(self, entry: Mapping[str, Any]) -> None:
        """Fold the next entry.

        Args:
            entry: Decoded.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, IndexError: It is no entry of this ledger.
        """
        if entry["type"] == STARTED:
            if "unknown_regions" in entry:
                self.unknown_regions = frozenset(entry["unknown_regions"])
                self.settings_known = True
            return
        fold.apply(self, entry)

    def subject(self, subject_ref: str) -> Subject:
        """What is known of a person: at least that they exist."""
        return self._records.get(Subject, subject_ref) or Subject(subject_ref=subject_ref)

    def face(self, on_record: FaceOnRecord) -> Face:
        """A recorded face with what is known of its person."""
        subject = self.subject(on_record.subject_ref) if on_record.subject_ref else None
        return Face(subject, on_record.known_by, on_record.regions, on_record.age_band, on_record.box)

    def get(self, kind: type[T], key: str) -> T | None:
        """See ``fold.Records``."""
        held: Any = self._tenant if key == fold.TENANT_KEY else self._records.get(kind, key)
        return cast("T | None", held)

    def put(self, kind: type[T], key: str, record: T | None) -> None:
        """See ``fold.Records``."""
        if isinstance(record, Tenant):
            self._tenant, self._with_notices = record, None
            return
        if isinstance(record, Notice):
            self._notices[record.notice_id, record.version] = record
            self._with_notices = None
        self._records.put(kind, key, record)
