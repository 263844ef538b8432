"""A law as data: one TOML file, read strictly, compiled once.

A pack holds no code. It names conditions and requirements of the closed vocabularies in ``conditions`` and
``requirements`` and says which operations they bind, with which citation. ``docs/law.md`` describes the format.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.cases import Case, read_case
from consentry_server.core.law.circumstances import Question
from consentry_server.core.law.jurisdictions import parts_of, read_jurisdictions
from consentry_server.core.law.reading import Groups, Table
from consentry_server.core.law.rules import (
    EVERY_RULE,
    Exemption,
    Head,
    Parts,
    Requirement,
    Rule,
    RuleText,
    ScopeRow,
    midnight,
    read_duty,
    read_exemption,
    read_requirement,
    read_rule,
    read_scope,
)
from consentry_server.core.law.situation import reach
from consentry_server.core.vocabulary import REGIONS, DataCategory, Grade, NoticeChannel, Operation, Purpose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime
    from enum import Enum

    from consentry_server.core.law.jurisdictions import Jurisdiction

ANYWHERE: Final = "*"
"""The region of a house pack: it is asked about every operation, wherever the person lives."""

_ID = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}\Z")
_PART_ID = re.compile(r"[A-Z0-9][A-Z0-9-]{0,63}\Z")
_CODE = re.compile(r"[A-Z][A-Z0-9_]{0,63}\Z")
_GROUPS: Final[dict[str, type[Enum]]] = {
    "operations": Operation,
    "categories": DataCategory,
    "purposes": Purpose,
    "channels": NoticeChannel,
}


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """One loaded pack.

    Args:
        id: The pack's id, such as ``us-il-bipa``.
        version: The pack's version.
        title: The law's name.
        sha256: SHA-256 of the file's bytes, hex.
        regions: Where it applies; ``{"*"}`` for a house pack.
        effective_from: First day in force.
        effective_to: First day no longer in force, or None.
        source: Where the law's text was read.
        evaluated_as_of: The day the text was last looked at.
        rules: Rules, exemptions and scope rows as a reader is shown them.
        cases: The pack's own test cases.
    """

    id: str
    version: int
    title: str
    sha256: str
    regions: frozenset[str]
    effective_from: date
    effective_to: date | None
    source: str
    evaluated_as_of: date
    rules: tuple[RuleText, ...]
    cases: tuple[Case, ...]
    everywhere: bool
    reach: frozenset[str]
    starts: datetime
    ends: datetime | None
    parts: Parts = field(repr=False)
    reads: frozenset[str]
    """The circumstances that any part of the pack looks at."""
    turns: frozenset[datetime]
    """The times at which the pack or a part of it comes into force or goes out of it."""
    rows: tuple[Pack, ...] = ()
    """The sheets of a pack that is a table of jurisdictions; see ``jurisdictions``."""
    own: bool = False
    """Whether it holds a tenant's own rules, which can only restrict; see ``own``."""
    _about: dict[tuple[Operation, DataCategory], Parts] = field(default_factory=dict, repr=False)
    """Filled on first use: the same parts for the same key, so that it is no state."""

    @property
    def sheets(self) -> tuple[Pack, ...]:
        """What is asked by itself: one for each row of a table, otherwise the pack."""
        return self.rows or (self,)

    def parts_about(self, operation: Operation, category: DataCategory) -> Parts:
        """The parts that are about this operation on this category."""
        key = (operation, category)
        found = self._about.get(key)
        if found is None:
            found = self._about[key] = self.parts.meeting(operation, category)
        return found

    def runs(self, now: datetime) -> bool:
        """Whether the pack is in force."""
        return self.starts <= now and (self.ends is None or now < self.ends)


def _parse(data: bytes, name: str) -> Table:
    try:
        return Table(tomllib.loads(data.decode("utf-8")), file=name, where="file")
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are the usual ones
        raise ConsentryError(
            Reason.PACK_INVALID,
            f"{name}: file: not readable as TOML: {error}",
            metadata={"file": name, "rule": "file", "key": ""},
        ) from error


def _groups(file: Table) -> dict[str, Groups]:
    table = file.table("groups")
    table.where = "groups"
    found: dict[str, Groups] = {}
    for kind, words in _GROUPS.items():
        part = table.table(kind)
        part.where = f"groups.{kind}"
        found[words.__name__] = {name: frozenset(str(w) for w in part.words(name, words)) for name in part}
        part.done()
    table.done()
    return found


def _reads(parts: Parts) -> frozenset[str]:
    asked: list[Question | None] = [part.when for part in parts.every]
    for rule in parts.rules:
        asked += [alternative.when for alternative in rule.alternatives]
        for checks in (rule.plain, *(alternative.plain for alternative in rule.alternatives)):
            asked += [check.asks for check in checks if isinstance(check.asks, Question)]
    return frozenset[str]().union(*(question.reads for question in asked if question is not None))


def _turns(head: Head, ends: date | None, parts: Parts) -> frozenset[datetime]:
    reaches = [part.reach for part in parts.every]
    times = [midnight(head.effective_from), None if ends is None else midnight(ends)]
    times += [time for reach in reaches if reach.timed for time in (reach.starts, reach.ends)]
    return frozenset(time for time in times if time is not None)


def _unique(file: Table, parts: list[RuleText]) -> None:
    seen: set[str] = set()
    for part in parts:
        if not _PART_ID.match(part.id):
            file.where = part.id
            file.fail("id", f"{part.id!r} is no id such as IL-15A-POLICY")
        if part.id in seen:
            file.where = part.id
            file.fail("id", f"{part.id!r} stands twice")
        seen.add(part.id)


def _used(rules: tuple[Rule, ...], exemptions: tuple[Exemption, ...], scope: tuple[ScopeRow, ...], file: Table) -> None:
    """Refuse what points nowhere: an exemption from no rule, a rule of a regime that no scope row opens."""
    ids = {rule.text.id for rule in rules}
    for exemption in exemptions:
        if exemption.rules != EVERY_RULE and exemption.rules - ids:
            file.where = f"exemption {exemption.text.id}"
            file.fail("rules", f"no such rule: {', '.join(sorted(exemption.rules - ids))}")
    always: dict[str, bool] = {}
    for rule in rules:
        if rule.chain and always.setdefault(rule.group, rule.always) is not rule.always:
            file.where = f"rule {rule.text.id}"
            file.fail("group", f"the group {rule.group!r} mixes rules that are always asked with rules that are not")
    regimes = {row.regime for row in scope}
    for rule in rules:
        if rule.regime and rule.regime not in regimes:
            file.where = f"rule {rule.text.id}"
            file.fail("regime", f"no scope row opens the regime {rule.regime!r}")


def _codes(rules: tuple[Rule, ...], scope: tuple[ScopeRow, ...], file: Table) -> None:
    for rule in rules:
        findings = [check.failed for check in rule.plain] + [check.failed for check in rule.chain]
        for alternative in rule.alternatives:
            findings += [check.failed for check in alternative.plain] + [check.failed for check in alternative.chain]
        if rule.none_fits is not None:
            findings.append(rule.none_fits[0])
        for finding in findings:
            if not _CODE.match(finding.code):
                file.where = f"rule {rule.text.id}"
                file.fail("code", f"{finding.code!r} is no code such as RELEASE_MISSING")
    for row in scope:
        if row.lead is not None and not _CODE.match(row.lead.code):
            file.where = f"scope {row.text.id}"
            file.fail("code", f"{row.lead.code!r} is no code such as GEOMETRY_UNKNOWN")
        if row.tag is not None and not _CODE.match(row.tag.code):
            file.where = f"scope {row.text.id}"
            file.fail("tag", f"{row.tag.code!r} is no code such as PHOTO_DERIVED")


def _requirements(file: Table) -> dict[str, Requirement]:
    tables = file.table("requirement", required=True)
    tables.where = "requirement"
    found: dict[str, Requirement] = {}
    for name in tables:
        table = tables.table(name)
        table.where = f"requirement.{name}"
        found[name] = read_requirement(table)
    return found


class _Span(NamedTuple):
    """Where and when a pack, or one row of its table, is law."""

    regions: frozenset[str]
    starts: date
    ends: date | None


_SORTS: Final = {"scope": True, "rule": True, "exemption": False, "obligation": False}
"""The sorts of parts, and whether a pack needs at least one."""


def load(data: bytes, *, name: str, own: bool = False) -> Pack:
    """Read one pack strictly and compile it.

    Args:
        data: The file's bytes.
        name: The file's name, for messages.
        own: Whether it holds a tenant's own rules; ``own.check`` says what those may be.

    Returns:
        The pack, ready for ``decide``.

    Raises:
        ConsentryError: ``PACK_INVALID``; the message and the metadata name file, rule and key.
    """
    file = _parse(data, name)
    header = file.table("pack", required=True)
    header.where = "pack"
    pack_id = header.text("id")
    if not _ID.match(pack_id):
        header.fail("id", f"{pack_id!r} is no id such as us-il-bipa")
    starts, ends = header.day("effective_from"), header.day("effective_to", required=False)
    evaluated = header.day("evaluated_as_of")
    if starts is None or evaluated is None:  # required days never are
        header.fail("effective_from", "missing")
    if ends is not None and ends <= starts:
        header.fail("effective_to", "not after effective_from")
    whole = Pack(
        id=pack_id,
        version=header.number("version"),
        title=header.text("title"),
        sha256=hashlib.sha256(data).hexdigest(),
        source=header.text("source"),
        evaluated_as_of=evaluated,
        cases=(),
        own=own,
        **_where_and_when(_Span(frozenset(), starts, ends)),
        **_compiled((), Parts((), (), (), ()), frozenset()),
    )
    grade = header.word("grade", Grade)
    rows = read_jurisdictions(file, starts)
    regions = _regions(header, rows)
    if rows and ends is not None:
        header.fail("effective_to", "each [[jurisdiction]] row has its own")
    header.done()

    file.groups = _groups(file)
    known = _requirements(file)
    tables = {sort: file.tables(sort, required=needed) for sort, needed in _SORTS.items()}
    cases = tuple(read_case(table) for table in file.tables("case", required=True))
    file.done()
    if len({case.id for case in cases}) != len(cases):
        file.where = "case"
        file.fail("id", "the same case id twice")
    whole = replace(whole, cases=cases)
    if not rows:
        head = Head(pack_id, grade, whole.source, starts)
        return _sheet(whole, _Span(regions, starts, ends), head, file, tables, known)
    sheets: list[Pack] = []
    models = frozenset(row.model for row in rows)
    for row in rows:
        head = Head(pack_id, row.grade or grade, row.source or whole.source, row.effective_from)
        span = _Span(frozenset({row.region}), row.effective_from, row.effective_to)
        meant = {sort: parts_of(row, each, models) for sort, each in tables.items()}
        sheets.append(_sheet(whole, span, head, file, meant, known))
    return replace(
        whole,
        regions=regions,
        rules=tuple(text for sheet in sheets for text in sheet.rules),
        reach=reach(regions),
        reads=frozenset[str]().union(*(sheet.reads for sheet in sheets)),
        turns=frozenset(turn for sheet in sheets for turn in sheet.turns),
        rows=tuple(sheets),
    )


def _regions(header: Table, rows: Sequence[Jurisdiction]) -> frozenset[str]:
    """The pack's own regions, or those of its table."""
    if rows:
        if "regions" in header:
            header.fail("regions", "those of the [[jurisdiction]] rows count; leave it out")
        return frozenset(row.region for row in rows)
    regions = frozenset(header.texts("regions"))
    if regions != {ANYWHERE} and regions - REGIONS:
        header.fail("regions", f"unknown: {', '.join(sorted(regions - REGIONS))}")
    return regions


def _where_and_when(span: _Span) -> dict[str, Any]:
    everywhere = span.regions == {ANYWHERE}
    return {
        "regions": span.regions,
        "effective_from": span.starts,
        "effective_to": span.ends,
        "everywhere": everywhere,
        "reach": frozenset() if everywhere else reach(span.regions),
        "starts": midnight(span.starts),
        "ends": None if span.ends is None else midnight(span.ends),
    }


def _compiled(texts: Sequence[RuleText], parts: Parts, turns: frozenset[datetime]) -> dict[str, Any]:
    return {"rules": tuple(texts), "parts": parts, "reads": _reads(parts), "turns": turns}


def _sheet(
    whole: Pack,
    span: _Span,
    head: Head,
    file: Table,
    tables: Mapping[str, Sequence[Table]],
    known: Mapping[str, Requirement],
) -> Pack:
    """Compile the parts of a pack, or of one row of its table."""
    parts = Parts(
        rules=tuple(read_rule(table, head, known) for table in tables["rule"]),
        exemptions=tuple(read_exemption(table, head) for table in tables["exemption"]),
        scope=tuple(read_scope(table, head) for table in tables["scope"]),
        duties=tuple(read_duty(table, head) for table in tables["obligation"]),
    )
    texts = [part.text for part in parts.every]
    _unique(file, texts)
    _used(parts.rules, parts.exemptions, parts.scope, file)
    _codes(parts.rules, parts.scope, file)
    return replace(whole, **_where_and_when(span), **_compiled(texts, parts, _turns(head, span.ends, parts)), _about={})
