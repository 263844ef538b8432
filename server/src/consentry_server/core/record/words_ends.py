"""Words for lineage, and for what ends without a release's withdrawal; see ``words``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentry_server.core.record.phrases import listed, who, word, words

if TYPE_CHECKING:
    from collections.abc import Mapping

_TAINTS = {
    "DECISION_NOT_PERMITTING": "the decision had not permitted it",
    "DECISION_LATE": "it was made before the decision was recorded",
    "BASIS_GONE": "what the decision rested on no longer held",
    "SOURCE_DESTROYED": "a source of it was destroyed, or about to be",
    "PERSON_LEFT_OUT": "its photo is declared to show a person of whom the decision says nothing",
}


def artifact_recorded(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """What a data set or model was made from."""
    kind, name = word(entry["kind"]), entry["artifact_id"]
    made_of = [
        f"{word(what)} {listed(entry[what])}" for what in ("photos", "identifiers", "parents") if entry.get(what)
    ]
    people = len(entry.get("people", ()))
    said = [
        (
            f"{who(entry['actor'])} recorded what the {kind} {name} was made from, under the decision"
            f" {entry['decision_id']} for the purpose {word(entry['purpose'])}."
        ),
        f"Sources: {'; '.join(made_of) or 'what that decision is about'}. People named: {people}.",
    ]
    if "taint" in entry:
        because = listed(_TAINTS.get(each, word(each)) for each in entry["taint"])
        said.append(
            f"The consent behind it was invalid ({because}): from this entry on it is tainted, and so is what is made"
            " from it, for ever."
        )
    return f"{kind} {name}: lineage recorded" + (", tainted" if "taint" in entry else ""), said


def artifact_of(request: Mapping[str, Any]) -> str:
    """Which data set or model a decision is about, and what was known of it."""
    known = {
        "CLEAN": "whose lineage was on record, without a taint",
        "TAINTED": "which is tainted: it was made from data whose consent was invalid",
        "UNKNOWN": "of which nothing was on record",
    }
    return f"It is about {request['artifact_id']}, {known.get(request.get('artifact_state', ''), 'as named')}."


def purpose_unnecessary(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Holding was found unnecessary."""
    said = [
        (
            f"{who(entry['actor'])} recorded that holding the person's data for {words(entry['purposes'])} was found no"
            " longer necessary: nothing more is done for that, and what is held for it alone is destroyed within 45"
            " days (C.R.S. 6-1-1314(2)(c))."
        )
    ]
    if entry.get("extended"):
        said.append("These days were extended by another 45, once, with a reason.")
    return "purpose found unnecessary", said


def account_closed(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The end of an account."""
    return "account closed", [
        (
            f"{who(entry['actor'])} recorded that the person closed their account: every length of term that a notice"
            " bound to that ends here."
        )
    ]
