"""Plain sentences for what packs ask: conditions with the fact they met, requirements that were met."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.law.rules import Status
from consentry_server.core.law.trace import Step, StepResult
from consentry_server.core.vocabulary import Words

if TYPE_CHECKING:
    from datetime import datetime

    from consentry_server.core.law.circumstances import Circumstances, Question
    from consentry_server.core.law.situation import Chain

FACTS: Final[dict[str, str]] = {
    "operation": "Operation",
    "purpose": "Purpose",
    "category": "Kind of data",
    "visibility": "Who can see the source",
    "published_by": "Who published the source",
    "source_kind": "Kind of source",
    "disclosure_basis": "Basis of the disclosure",
    "has_disclosure_evidence": "Evidence of that basis is referred to",
    "consideration": "What the tenant receives for the data",
    "uses_face_geometry": "Face geometry is measured",
    "identifies": "A person is identified by it",
    "stored": "Its result is stored",
    "linked": "Identity data stands beside it",
    "new_york_city_establishment": "Taken of customers of a commercial establishment in New York City",
    "portland_public_accommodation": "Taken in a place of public accommodation in Portland, Oregon",
    "artifact_state": "What is on record of the data set or model",
    "linked_identity": "Its result is linked to an identity",
    "has_recipient": "A recipient is named",
    "entity_type": "What the tenant is",
    "encrypted_at_rest": "Data at rest is encrypted",
    "encrypted_in_transit": "Data in transit is encrypted",
    "protection_at_least_other_sensitive": "Protected at least as well as other sensitive data",
    "named": "It is said whose face it is",
    "known": "It is said how that is known",
    "age": "Age",
    "relationship": "Relationship to the tenant",
    "uncovered": "Some region has no pack that answers",
    "leaves": "Data leaves the tenant's hands",
    "keeps": "Something is kept, or what is kept is used",
}
"""What conditions look at, by field or property of ``Circumstances``."""

MET: Final[dict[str, str]] = {
    "person.identified": "It is said whose face this is.",
    "person.linked": "It is said how the caller knows whose face this is.",
    "record.within_retention": "The time for which data may be kept is still running.",
    "request.category_in": "The kind of data is one that this rule accepts.",
    "request.consideration_none": "Nothing of value is received for the data.",
    "request.consideration_not_value": "Nothing of value is known to be received for the data.",
    "request.disclosure_evidence": "Evidence of the disclosure basis is referred to.",
    "request.purpose_in": "The purpose is one that this rule accepts.",
    "request.recipient_named": "The recipient is named.",
    "tenant.determination": "A determination in force, approved by a second officer, covers this operation.",
    "tenant.encrypted_at_rest": "Data at rest is encrypted.",
    "tenant.encrypted_in_transit": "Data in transit is encrypted.",
    "tenant.policy_in_force": "A complete public retention policy is in force.",
    "tenant.protection_at_least_other_sensitive": "Identifiers are protected at least as well as other sensitive data.",
    "delivery.exists": "A notice was delivered to the signer.",
    "delivery.channel_in": "It was delivered in a way that counts as telling the person.",
    "delivery.matches_release": "Delivery and release are of the same notice version and the same signer.",
    "delivery.before_release": "The notice was published and delivered before the release was signed.",
    "notice.exists": "The delivered notice version was published.",
    "notice.effective": "The notice is in effect.",
    "notice.says_collected_or_stored": "The notice says that the identifier is collected or stored.",
    "notice.covers_purpose": "The notice names this purpose.",
    "notice.covers_identifier": "The notice names the identifier that this operation makes or uses.",
    "notice.covers_category": "The notice names this kind of data.",
    "notice.states_term": "The notice states a length of term.",
    "notice.term_running": "The length of term that the notice states is still running.",
    "notice.names_recipient": "The notice names this recipient.",
    "release.exists": "The person has given a written release.",
    "release.recorded": "The release was signed and recorded before this operation.",
    "release.not_withdrawn": "The release was not withdrawn.",
    "release.not_expired": "The release has not expired.",
    "release.covers_purpose": "The release names this purpose.",
    "release.purpose_open": "The purpose has not been recorded as satisfied.",
    "release.covers_identifier": "The release covers the identifier that this operation makes or uses.",
    "release.covers_category": "The release covers this kind of data.",
    "release.names_recipient": "The release names this recipient.",
    "release.has_scope": "The release covers this sort of use.",
    "release.form_in": "The release has a form that is accepted here.",
    "release.signed_with_intent": "The release was signed by an act that shows the intent to sign.",
    "release.electronic_since": "The release was signed on paper, or at a time when electronic signatures counted.",
    "release.document_hashed": "The signed document's hash is on record.",
    "release.not_childs_own": "The release was not signed by a minor.",
    "release.age_settled": "Nothing suggests that the person who signed may be a minor.",
    "release.authority": "The signer was entitled to sign for this person.",
}
"""What a requirement that is met says, by its word; the pack itself says what one that is not met means."""

SCOPE: Final[dict[Status, str]] = {
    Status.REGULATED: "The law regulates this: its rules are asked.",
    Status.UNDETERMINED: "It cannot be told from the facts whether the law regulates this: what its rules miss is for "
    "a person to review.",
    Status.NONBIOMETRIC: "The law was looked at, and this is outside it.",
    Status.SILENT: "The law says nothing of this; another has to.",
}
"""What the fitting scope row means."""

NO_ROW: Final = "No row of the pack's scope table fits: it says nothing of this, and another has to."

_YES_NO: Final = {True: "yes", False: "no", None: "not known"}
_MANY: Final = 6


def met(that: str) -> str:
    """The sentence of a requirement that is met."""
    return MET.get(that) or f"{that.replace('.', ', ').replace('_', ' ').capitalize()}: this is so."


def condition(question: Question, c: Circumstances) -> Step:
    """What a condition looked at and what it met there.

    Args:
        question: The condition.
        c: The circumstances.

    Returns:
        A step, with the parts of the condition below it where there are several.
    """
    holds = question.holds(c)
    if question.parts:
        below = tuple(condition(part, c) for part in question.parts)
        if len(below) == 1:
            return below[0]
        text = "One of these has to hold." if question.one_part else "All of these have to hold."
        found = {step.result for step in below}
        unclear = StepResult.UNKNOWN in found and (question.one_part or StepResult.FALSE not in found)
        return Step(text, _result(holds, unclear=unclear), steps=below)
    if not question.fact:
        looked = ", ".join(FACTS.get(name, name) for name in sorted(question.reads))
        return Step(f"A condition on {looked or 'nothing, which never holds'}.", _result(holds))
    value = getattr(c, question.fact)
    text = f"{FACTS.get(question.fact, question.fact)}: {_value(value)}; asked for: {_wanted(question.wanted)}."
    return Step(text, _result(holds, unclear=not holds and (value is None or value == "UNKNOWN")))


def _result(holds: bool, *, unclear: bool = False) -> StepResult:  # noqa: FBT001 - the answer itself
    if holds:
        return StepResult.TRUE
    return StepResult.UNKNOWN if unclear else StepResult.FALSE


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return _YES_NO[value]
    return "not known" if value == "UNKNOWN" else str(value)


def _wanted(wanted: frozenset[Any]) -> str:
    """The values asked for; of nearly all of a list those that are left out."""
    words = sorted(wanted, key=_value)
    kinds = {type(word) for word in words if isinstance(word, Words)}
    if len(words) > _MANY and len(kinds) == 1:
        others = sorted(word for word in kinds.pop() if word not in wanted)
        if len(others) < len(words):
            return f"anything but {_either(others)}" if others else "anything"
    return _either(words)


def _either(words: list[Any]) -> str:
    said = [_value(word) for word in words]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])} or {said[-1]}" if said else "nothing"


def day(time: datetime) -> str:
    """A time as a reader sees it."""
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def chain(held: Chain) -> str:
    """A release with its delivery and its notice, by their ids."""
    release, delivery, notice = held.release, held.delivery, held.notice
    if release is None and delivery is None:
        return "Nothing is on record: no release, no delivered notice."
    parts = []
    if release is not None:
        parts.append(f"release {release.release_id}, recorded {day(release.time)}")
        if release.withdrawn_at is not None:
            parts.append(f"withdrawn {day(release.withdrawn_at)}")
    if delivery is not None:
        parts.append(f"delivery {delivery.delivery_id} of {day(delivery.time)}")
    elif release is not None:
        parts.append(f"no delivery {release.delivery_id} on record")
    if notice is not None:
        parts.append(f"notice {notice.notice_id} version {notice.version}")
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}."


def chain_basis(held: Chain, that: str = "") -> tuple[int, ...]:
    """Ledger indices of the pieces of a chain that a requirement looks at; all of them where none is named."""
    release, delivery, notice = held.release, held.delivery, held.notice
    found: set[int] = set()
    kind = that.partition(".")[0]
    both = that in {"delivery.matches_release", "delivery.before_release", "notice.term_running"}
    if notice is not None and (kind in {"", "notice"} or that == "delivery.before_release"):
        found.add(notice.index)
    if delivery is not None and kind in {"", "delivery"}:
        found.add(delivery.index)
    if release is not None and (kind in {"", "release"} or both):
        found.add(release.index)
        if release.withdrawn_index >= 0 and that in {"", "release.not_withdrawn"}:
            found.add(release.withdrawn_index)
    return tuple(sorted(found))
