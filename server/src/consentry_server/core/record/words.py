"""An entry in plain words: what happened, when, by whom, under which rule. For people; programs read the bytes.

Every type of entry has its words here; a test finds each type that the service records and fails where one has none.
Nothing is said that the entry does not say: persons and photos stand under their references.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from consentry_server.core.ledger.entry import parse_time
from consentry_server.core.record import words_ends, words_house, words_posture, words_system
from consentry_server.core.record.decisions import spelled_out
from consentry_server.core.record.phrases import MAX_NAMED, article, entries, listed, moment, span, who, word, words
from consentry_server.core.vocabulary import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_LATE = timedelta(minutes=5)
"""A claim of time that lies further back is said to have come late."""


@dataclass(frozen=True, slots=True)
class Citation:
    """What a rule, or a whole pack, is called in the law.

    Args:
        title: In one sentence; of a pack the law's name.
        law: Such as ``740 ILCS 14/15(b)(3)``.
    """

    title: str
    law: str = ""


@dataclass(frozen=True, slots=True)
class RuleTold:
    """One rule of a decision.

    Args:
        rule_id: The rule, or the pack whose every requirement was met.
        found: What it found.
        title: What it demands, in one sentence; empty where the pack is not at hand.
        law: Where the law says so.
    """

    rule_id: str
    found: str
    title: str = ""
    law: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """One entry in words.

    Args:
        headline: What happened, a few words.
        sentences: What the entry says, for a reader who knows nothing of this system.
        rules: Each rule that decided.
        people: The references of the persons concerned.
    """

    headline: str
    sentences: tuple[str, ...]
    rules: tuple[RuleTold, ...] = ()
    people: tuple[str, ...] = ()


def tell(entry: Mapping[str, Any], rules: Mapping[str, Citation]) -> Told:
    """Say what an entry says.

    Args:
        entry: The decoded entry.
        rules: Rules and packs by their ids; one that is missing here is named by its id alone.

    Returns:
        The words; for an entry of another version's making, that there are none.
    """
    try:
        headline, said = _WORDS[entry["type"]](entry)
    except (KeyError, IndexError, TypeError, ValueError):
        headline, said = entry["type"], ["This version has no words for such an entry: read its bytes."]
    people = tuple(person["subject_ref"] for person in entry.get("people", ()))
    return Told(headline, (*said, *_always(entry)), tuple(_rules(entry, rules)), people)


def told_types() -> frozenset[str]:
    """The types of entry that have words."""
    return frozenset(_WORDS)


def _always(entry: Mapping[str, Any]) -> Iterable[str]:
    """What may stand in an entry of any type."""
    if "occurred_at" in entry:
        gap = parse_time(entry["time"]) - parse_time(entry["occurred_at"])
        late = f", recorded {span(gap)} later" if gap > _LATE else ""
        yield f"By the caller's account it happened at {moment(entry['occurred_at'])}{late}."
    if "sealed" in entry:
        yield "What the caller wrote with it is kept sealed outside the ledger; the entry holds its hash."
    if "clock" in entry:
        yield f"The clock stood at {moment(entry['clock'])}, behind the entry before: that one's time was kept."


def _rules(entry: Mapping[str, Any], known: Mapping[str, Citation]) -> Iterable[RuleTold]:
    for rule in entry.get("rules", ()) if entry["type"] == "decision" else ():
        rule_id, _, code = rule.partition(":")
        cited = known.get(rule_id, Citation(""))
        yield RuleTold(rule_id, word(code) if code else "every requirement is met", cited.title, cited.law)


def _decision(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    entry = spelled_out(entry)
    request = entry["request"]
    outcome = Outcome(entry["outcome"])
    what = f"to {word(request['operation'])} (data: {word(request['category'])}; purpose: {word(request['purpose'])})"
    said = [f"{who(entry['actor'])} asked for permission {what}. {_ANSWERS[outcome]}"]
    if entry.get("observed_only"):
        said.append("It was only observed: officers have not switched enforcement on for this operation.")
    photo = entry.get("photo_id") or (f"with the keyed hash {entry['photo_ref']}" if "photo_ref" in entry else "")
    if photo:
        said.append(f"It is about the photo {photo}.")
    people = [person["subject_ref"] for person in entry.get("people", ())]
    said += [_face(place, face, people) for place, face in enumerate(entry["faces"][:MAX_NAMED])]
    if len(entry["faces"]) > MAX_NAMED:
        said.append(f"And {len(entry['faces']) - MAX_NAMED} more faces: see the bytes.")
    if request.get("artifact_id"):
        said.append(words_ends.artifact_of(request))
    if entry.get("late"):
        said.append("It was asked for after it was done: what was recorded since does not make it right.")
    if request.get("recipient_id"):
        said.append(f"The data would go to {request['recipient_id']}.")
    said.append(
        f"The answer held for {entry['valid_seconds']} seconds."
        + (" A permit was given with it." if entry.get("permit") else " No permit stands in it.")
    )
    if "determinations" in entry:
        said.append(f"What was allowed rests on {listed(entry['determinations'])}.")
    if "reviews" in entry:
        said.append(f"It waits for a person in the review {listed(entry['reviews'])}.")
    if entry.get("previous", -1) >= 0:
        said.append(f"It takes the place of the decision in entry {entry['previous']}: facts had changed.")
    said.append(f"Decided by version {entry['engine']} with the law packs of entries {listed(entry['packs'])}.")
    return f"{outcome.replace('_', ' ')}: {word(request['operation'])}", said


def _face(place: int, face: Mapping[str, Any], people: list[str]) -> str:
    whose = f"of {people[face['person']]}" if "person" in face else "of nobody who was named"
    known = f", known by: {word(face['known_by'])}" if "known_by" in face else ""
    basis = f", resting on {entries(face['basis'])}" if "basis" in face else ""
    regions = f", under the law of {listed(face['regions'])}" if "regions" in face else ""
    return f"Face {place} {whose}{known}{regions}: {face['outcome'].replace('_', ' ')}{basis}."


def _reported(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    done = {"PERFORMED": "was done", "NOT_PERFORMED": "was not done", "FAILED": "was tried and failed"}[entry["result"]]
    algorithm = ""
    if "algorithm_id" in entry:
        algorithm = f", with {entry['algorithm_id']} {entry.get('algorithm_version', '')}".rstrip()
    faces = f", on the faces {listed(entry['faces'])}" if "faces" in entry else ""
    said = [
        (
            f"{who(entry['actor'])} reported that what entry {entry['decision_index']} had decided on"
            f" {done}{faces}{algorithm}."
        )
    ]
    if entry.get("without_permission"):
        early = entry.get("before_decision")
        done = "It was done before the decision was recorded" if early else "The decision had not allowed this"
        said.append(f"{done}: it was done without permission.")
    return _REPORTED[entry["result"]], said


def _photo_stored(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    photo = entry["photo"]
    return "photo stored", [
        (
            f"{who(entry['actor'])} stored the photo {photo['photo_id']} ({photo['content_type']},"
            f" {photo['width']} by {photo['height']} pixels, {photo['size']:,} bytes) under a key of its own."
        ),
        f"Its uploader is {entry['people'][0]['subject_ref']}. It was allowed by the decision {entry['decision_id']}.",
    ]


def _photo_opened(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    masked = len(entry.get("masked", ()))
    hidden = f" {masked} of its faces {'was' if masked == 1 else 'were'} masked." if masked else ""
    return "photo opened", [
        (
            f"{who(entry['actor'])} opened the photo {entry['photo_id']} under the permit of"
            f" {entry['decision_id']}, whose basis still held.{hidden}"
        )
    ]


def _photo_refused(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    photo = f"the photo {entry['photo_id']}" if entry.get("photo_id") else "a photo"
    return f"photo not opened: {word(entry['reason'])}", [
        (
            f"{who(entry['actor'])} tried to open {photo} under the permit of {entry['decision_id']}"
            f" and was refused: {_refusal(entry['reason'])}."
        )
    ]


def _identifier_stored(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    kept = entry["identifier"]
    return f"{word(kept['category'])} stored", [
        (
            f"{who(entry['actor'])} stored the identifier {kept['identifier_id']},"
            f" {article(kept['category'])} of {entry['people'][0]['subject_ref']} made with {kept['algorithm_id']}"
            f" {kept['algorithm_version']} for {word(kept['purpose'])}, encrypted."
        ),
        f"It was allowed by entry {kept['decision_index']} ({entry['decision_id']}).",
    ]


def _identifier_opened(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    return "identifier opened", [
        (
            f"{who(entry['actor'])} opened the identifier {entry['identifier_id']} for a comparison under the"
            f" permit of {entry['decision_id']}, whose basis still held."
        )
    ]


def _identifier_refused(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    return f"identifier not opened: {word(entry['reason'])}", [
        (
            f"{who(entry['actor'])} tried to open the identifier {entry['identifier_id']} under the permit of"
            f" {entry['decision_id']} and was refused: {_refusal(entry['reason'])}."
        )
    ]


def _notice_published(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    notice = entry["notice"]
    term = notice.get("term") or {}
    length = (
        f"for {span(timedelta(seconds=term['duration']))}"
        if "duration" in term
        else f"until: {word(term['end'])}"
        if "end" in term
        else ""
    )
    states = f"It states that data is kept and used {length}." if length else "It states no length of term."
    return f"notice {notice['notice_id']} version {notice['version']} published", [
        (
            f"{who(entry['actor'])} published version {notice['version']} of the notice {notice['notice_id']}"
            f" ({notice['language']}), in effect from {moment(notice['effective_time'])}."
        ),
        f"It names the purposes {words(notice['purposes'])} and the data {words(notice['categories'])}. {states}",
        "It says that data is collected or stored."
        if notice["says_collected_or_stored"]
        else "It does not say that data is collected or stored.",
        f"The SHA-256 of its text begins with {notice['text_sha256'][:16]}.",
    ]


def _policy_published(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    policy = entry["policy"]
    schedule = "a retention schedule" if policy["has_schedule"] else "no retention schedule"
    guide = "guidelines" if policy["has_destruction_guidelines"] else "no guidelines"
    return f"retention policy {policy['policy_id']} version {policy['version']} published", [
        (
            f"{who(entry['actor'])} published version {policy['version']} of the written retention policy"
            f" {policy['policy_id']} at {policy['url']}, in effect from {moment(policy['effective_time'])}."
        ),
        f"It has {schedule} and {guide} for permanent destruction.",
    ]


def _notice_delivered(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    delivery = entry["delivery"]
    to = "the person" if delivery["signer_role"] == "SELF" else "the person's representative"
    heard = " It was acknowledged." if delivery["acknowledged"] else ""
    return f"notice {delivery['notice_id']} delivered", [
        (
            f"{who(entry['actor'])} recorded that version {delivery['notice_version']} of the notice"
            f" {delivery['notice_id']} reached {to}, {word(delivery['channel'])}, at {moment(delivery['occurred_at'])}"
            f" (delivery {delivery['delivery_id']}).{heard}"
        ),
        _vouched(delivery["vouching"]),
        *_claims(entry),
    ]


def _release_recorded(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    release = entry["release"]
    signer = "the person" if release["signer_role"] == "SELF" else "the person's representative"
    authority = f" as {word(release['authority_basis'])}" if release["authority_basis"] != "NONE" else ""
    said = [
        (
            f"{who(entry['actor'])} recorded that {signer}{authority} signed a written release"
            f" ({word(release['form'])}, {word(release['process'])}) at {moment(release['signed_at'])}, after version"
            f" {release['notice_version']} of the notice {release['notice_id']} (release {release['release_id']})."
        ),
        f"It covers the purposes {words(release['purposes'])} and the data {words(release['categories'])}.",
        _vouched(release["vouching"]),
    ]
    if release["recipients"]:
        said.append(f"Data may go to {listed(release['recipients'])}.")
    if release.get("expires_at"):
        said.append(f"It ends at {moment(release['expires_at'])}.")
    if release["condition_of_employment"]:
        said.append("It was a condition of employment.")
    if "supersedes" in entry:
        said.append(f"It takes the place of the release {entry['supersedes']}.")
    return "release signed", [*said, *_claims(entry)]


def _release_withdrawn(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    which = "every release that was left" if entry["all"] else "one release"
    by = f", {word(entry['channel'])}" if "channel" in entry else ""
    return "release withdrawn", [
        (
            f"{who(entry['actor'])} recorded that the person withdrew {which}{by}:"
            f" {listed(entry['releases'])}. From this entry on it allows nothing."
        )
    ]


def _interaction(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    return "interaction", [
        (
            f"{who(entry['actor'])} recorded an interaction with the person: the period after which data has"
            " to be destroyed is counted from it."
        ),
        *_claims(entry),
    ]


def _opted_out(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    about = f" for the purposes {words(entry['purposes'])}" if entry.get("purposes") else " for any purpose"
    return "person opted out", [
        f"{who(entry['actor'])} recorded that the person asked that their data not be used{about}.",
        "Only a release signed after this opens it again.",
    ]


def _purpose_satisfied(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    return "purpose satisfied", [
        (
            f"{who(entry['actor'])} recorded that the purposes {words(entry['purposes'])} are satisfied for"
            " the person: what was kept for them alone has to be destroyed."
        )
    ]


def _employment_ended(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    return "employment ended", [
        (
            f"{who(entry['actor'])} recorded that the person's employment ended: releases that an employee gave as such"
            " and the purposes of an employment, end with it."
        )
    ]


def _determination(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    made = entry["determination"]
    algorithm = f" with {made['algorithm_id']} {made['algorithm_version']}".rstrip() if made["algorithm_id"] else ""
    return f"determination recorded: {word(made['kind'])}", [
        (
            f"{who(entry['actor'])} recorded the determination {made['determination_id']}"
            f" ({word(made['kind'])}) about {words(made['operations']) or 'every operation'} for"
            f" {words(made['purposes']) or 'every purpose'}{algorithm}, until {moment(made['expires_at'])}."
        ),
        (
            (f"It is about the recipient {made['recipient_id']} alone. " if "recipient_id" in made else "")
            + (f"It answers the review {made['review_id']}. " if "review_id" in made else "")
            + "It allows nothing before a second officer approves it."
        ),
    ]


def _approved(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    return "determination approved", [
        (
            f"{who(entry['approved_by'])} approved the determination {entry['determination_id']}:"
            " it is in effect from this entry on."
        )
    ]


def _revoked(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    return "determination revoked", [
        (
            f"{who(entry['actor'])} revoked the determination {entry['determination_id']}:"
            " it allows nothing from this entry on."
        )
    ]


def _destruction_requested(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    targets = [f"{each['record_id']} ({word(each['record_class'])})" for each in entry["targets"]]
    return "destruction requested", [
        (
            f"The destruction {entry['destruction_id']} was requested, caused by entry {entry['cause']}"
            f" ({word(entry['trigger'])}): {listed(targets)}. From this entry on none of it opens for anybody."
        )
    ]


def _destruction_completed(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    said = [
        f"The destruction {entry['destruction_id']} is done: {entry['method']}. Verified: {entry['verification']}.",
        f"Copies in backups can be read by nobody after {moment(entry['unrecoverable_after'])}.",
    ]
    if "rekeyed" in entry:
        said.append(f"What stays was moved to a new key first: {listed(entry['rekeyed'])}.")
    return "destruction completed", said


def _claims(entry: Mapping[str, Any]) -> list[str]:
    claims = entry.get("claims", {})
    parts = [
        f"lives in {listed(claims['regions'])}" if claims.get("regions") else "",
        f"is of the age {word(claims['age_band'])}" if "age_band" in claims else "",
        f"is, to the organisation, {article(claims['relationship'])}" if "relationship" in claims else "",
        f"comes of age in the quarter {claims['majority_quarter']}" if "majority_quarter" in claims else "",
    ]
    stated = [part for part in parts if part]
    return [f"The caller states that the person {', '.join(stated)}."] if stated else []


def _vouched(vouching: str) -> str:
    if vouching == "SIGNER_SIGNED":
        return "The signer's own signature stands behind it."
    return "The caller vouches for it; the signer's own signature was not presented."


def _refusal(reason: str) -> str:
    return _REFUSALS.get(reason, word(reason))


_ANSWERS = {
    Outcome.ALLOW: "It was allowed.",
    Outcome.ALLOW_NONBIOMETRIC: "It was allowed as something that no biometric law covers.",
    Outcome.REVIEW: "It was held back until a person determines whether it is allowed.",
    Outcome.DENY: "It was denied.",
}
_REPORTED = {
    "PERFORMED": "reported as done",
    "NOT_PERFORMED": "reported as not done",
    "FAILED": "reported as tried and failed",
}
_REFUSALS = {
    "BASIS_GONE": "what the permit rested on was gone",
    "DESTROYED": "it was destroyed, or about to be",
    "PERMIT_MISMATCH": "the permit was for something else",
    "NOT_FOUND": "there is no such record",
}
_WORDS: dict[str, Callable[[Mapping[str, Any]], tuple[str, list[str]]]] = {
    "account.closed": words_ends.account_closed,
    "artifact.recorded": words_ends.artifact_recorded,
    "decision": _decision,
    "destruction.completed": _destruction_completed,
    "destruction.requested": _destruction_requested,
    "determination.approved": _approved,
    "determination.recorded": _determination,
    "determination.revoked": _revoked,
    "employment.ended": _employment_ended,
    "enforcement.approved": words_posture.enforcement_approved,
    "enforcement.changed": words_posture.enforcement_changed,
    "identifier.opened": _identifier_opened,
    "identifier.refused": _identifier_refused,
    "identifier.stored": _identifier_stored,
    "interaction.recorded": _interaction,
    "ledger.created": words_system.ledger_created,
    "ledger.key_rotated": words_system.key_rotated,
    "notice.delivered": _notice_delivered,
    "notice.published": _notice_published,
    "pack.activated": words_system.pack_activated,
    "person.opted_out": _opted_out,
    "photo.opened": _photo_opened,
    "photo.refused": _photo_refused,
    "photo.stored": _photo_stored,
    "posture.checked": words_posture.posture_checked,
    "policy.published": _policy_published,
    "processing.reported": _reported,
    "projections.rebuilt": words_system.rebuilt,
    "purpose.satisfied": _purpose_satisfied,
    "purpose.unnecessary": words_ends.purpose_unnecessary,
    "release.recorded": _release_recorded,
    "release.withdrawn": _release_withdrawn,
    "review.refused": words_house.review_refused,
    "settings.changed": words_system.settings_changed,
    "statement.recorded": words_house.statement_recorded,
    "system.started": words_system.system_started,
}
