"""A tenant's own pack: read as strictly as any, and refused where any part of it could loosen an answer.

1. It is named as itself: no bundled pack's id, and no rule id that another pack has.
2. It is asked everywhere, and never covers a region: a law of a region would stand in for the house baseline.
3. It has no exemption, and no scope row that calls an operation not biometric.
4. It is of a bounded size and of plain text, since its sentences go out with every answer.
5. It is in force on the day of its activation, on no day that the version before it claims for itself, and newer.
6. It does what its own cases say.

What is left can only restrict: such a pack never counts as the one that answers for a region (see ``plan``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law.casebook import run_cases
from consentry_server.core.law.pack import load
from consentry_server.core.law.rules import Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from consentry_server.core.law.model import Finding
    from consentry_server.core.law.pack import Pack
    from consentry_server.core.law.rules import Rule

MAX_PACK_BYTES: Final = 1024 * 1024
MAX_PARTS: Final = 500
"""Scope rows, rules and obligations together."""
MAX_CASES: Final = 500
MAX_CHARACTERS: Final = 2_000
"""Of one sentence."""
MAX_VERSION: Final = 2**31 - 1
RESERVED: Final = frozenset({"engine", "house"})
"""Named as packs by findings that no pack makes; see ``judge`` and ``narrowing``."""
RESERVED_PREFIX: Final = "ENGINE-"


def load_own(data: bytes, *, name: str) -> Pack:
    """Read a tenant's own pack.

    Args:
        data: Its TOML, at most 1 MiB.
        name: Its file's name, for messages.

    Returns:
        The pack; :func:`check` says whether it may be activated.

    Raises:
        ConsentryError: ``PACK_INVALID`` names file, rule and key; ``TOO_LARGE``.
    """
    if len(data) > MAX_PACK_BYTES:
        raise ConsentryError(
            Reason.TOO_LARGE,
            f"the pack has more than {MAX_PACK_BYTES} bytes: split it",
            field="toml",
            metadata={"limit": str(MAX_PACK_BYTES)},
        )
    try:
        return load(data, name=name, own=True)
    except RecursionError as error:
        raise _invalid(name, "file", "", "tables inside tables, too deep to be read") from error


def check(pack: Pack, *, name: str, bundled: Sequence[Pack], active: Sequence[Pack], now: datetime) -> None:
    """Refuse a tenant's own pack that could loosen, contradicts itself, or stands in the way of another version.

    Args:
        pack: What :func:`load_own` gave.
        name: Its file's name, for messages.
        bundled: The packs that ship with the server.
        active: The packs that are active now; an earlier version of this one is among them where there is one.
        now: The day that counts, UTC.

    Raises:
        ConsentryError: ``PACK_INVALID`` names file, rule and key; ``STATE_CONFLICT``: a newer version is active, or
            this one.
    """
    others = [each for each in active if not (each.own and each.id == pack.id)]
    before = next((each for each in active if each.own and each.id == pack.id), None)
    _named(pack, name, [*bundled, *others])  # (1)
    if not pack.everywhere:  # (2)
        _refuse(name, "pack", "regions", 'a tenant\'s own pack applies everywhere: write regions = ["*"]')
    if pack.parts.exemptions:  # (3)
        first = pack.parts.exemptions[0].text.id
        _refuse(name, f"exemption {first}", "id", "a tenant's own pack exempts from nothing: it can only restrict")
    for row in pack.parts.scope:
        if row.status is Status.NONBIOMETRIC:
            _refuse(
                name,
                f"scope {row.text.id}",
                "is",
                "NONBIOMETRIC takes an operation out of the law: a tenant's own pack can only restrict",
            )
    _bounded(pack, name)  # (4)
    _follows(pack, name, before, now)  # (5)
    for result in run_cases(pack, [*others, pack]):  # (6)
        if not result.ok:
            missing = f", without {', '.join(result.missing_codes)}" if result.missing_codes else ""
            _refuse(
                name,
                f"case {result.id}",
                "expect",
                f"the pack contradicts itself: {result.expected} is expected, {result.got} comes out{missing}",
            )


def _named(pack: Pack, name: str, others: Sequence[Pack]) -> None:
    if pack.version > MAX_VERSION:
        _refuse(name, "pack", "version", f"more than {MAX_VERSION}")
    rules = {rule.id: other.id for other in others if other.sha256 != pack.sha256 for rule in other.rules}
    if any(pack.id == other.id for other in others if not other.own):
        _refuse(name, "pack", "id", f"{pack.id} is a pack that ships with the server: take another id")
    if pack.id in RESERVED:
        _refuse(name, "pack", "id", f"{pack.id} names what the service itself finds: take another id")
    for rule in pack.rules:
        if rule.id.startswith(RESERVED_PREFIX):
            _refuse(name, rule.id, "id", f"{RESERVED_PREFIX} names what the service itself finds: take another id")
        if rule.id in rules:
            _refuse(name, rule.id, "id", f"the pack {rules[rule.id]} has a part of this id: take another one")


def _bounded(pack: Pack, name: str) -> None:
    for what, held, limit in (("parts", len(pack.rules), MAX_PARTS), ("cases", len(pack.cases), MAX_CASES)):
        if held > limit:
            _refuse(name, "file", what, f"{held} of them, at most {limit} are allowed")
    texts = [("pack", "title", pack.title), ("pack", "source", pack.source)]
    for rule in pack.rules:
        texts += [
            (rule.id, "title", rule.title),
            (rule.id, "citation", rule.citation),
            (rule.id, "source", rule.source),
        ]
    for finding in findings(pack):
        texts += [(finding.rule_id, "text", finding.text), (finding.rule_id, "remedy", finding.remedy)]
    texts += [(duty.text.id, "detail", duty.detail) for duty in pack.parts.duties]
    for where, key, text in texts:
        if len(text) > MAX_CHARACTERS:
            _refuse(name, where, key, f"{len(text)} characters, at most {MAX_CHARACTERS} are allowed")
        if not text.isprintable():
            _refuse(name, where, key, "holds characters that cannot be printed: one line of plain text is required")


def findings(pack: Pack) -> list[Finding]:
    """Everything that a pack can find wrong, in the file's order, each as it is said in a review."""
    found: list[Finding] = []
    for sheet in pack.sheets:
        found += [row.review for row in sheet.parts.scope if row.review is not None]
        for rule in sheet.parts.rules:
            found += _of_rule(rule)
    return found


def _of_rule(rule: Rule) -> list[Finding]:
    found = [check.review for checks in (rule.plain, rule.chain) for check in checks]
    found += [check.review for way in rule.alternatives for checks in (way.plain, way.chain) for check in checks]
    return found if rule.none_fits is None else [*found, rule.none_fits[1]]


def _follows(pack: Pack, name: str, before: Pack | None, now: datetime) -> None:
    """No day may be without the pack, and none may have two versions that both claim it.

    A version without an end claims no day beyond its successor's entry, which takes its place.
    """
    if not pack.runs(now):
        key = "effective_from" if pack.starts > now else "effective_to"
        _refuse(name, "pack", key, f"not in force on {now:%Y-%m-%d}: activate it on a day on which it is")
    if before is None:
        return
    if pack.version <= before.version:
        which = "this very version" if pack.version == before.version else f"the newer version {before.version}"
        raise ConsentryError(
            Reason.STATE_CONFLICT,
            f"{which} of {pack.id} is active: give what you change a version of its own, from {before.version + 1}",
            field="version",
        )
    if before.ends is not None and pack.starts < before.ends:
        _refuse(
            name,
            "pack",
            "effective_from",
            f"overlaps version {before.version}, which says that it is in force until {before.effective_to}: begin on"
            " that day; what has to be restricted before it goes into a pack of another id",
        )


def _refuse(name: str, where: str, key: str, what: str) -> NoReturn:
    raise _invalid(name, where, key, what)


def _invalid(name: str, where: str, key: str, what: str) -> ConsentryError:
    return ConsentryError(
        Reason.PACK_INVALID,
        f"{name}: {where}: {key}: {what}" if key else f"{name}: {where}: {what}",
        field="toml",
        metadata={"file": name, "rule": where, "key": key},
    )
