"""An entry in plain words: one or two sentences that say what was recorded, and nothing that the entry does not say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from consentry_server.core.record.decisions import spelled_out

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_OUTCOMES: Final = {
    "ALLOW": "was allowed",
    "ALLOW_NONBIOMETRIC": "was allowed as not biometric",
    "REVIEW": "was put off for review by a person",
    "DENY": "was refused",
}
_RESULTS: Final = {"PERFORMED": "performed", "NOT_PERFORMED": "not performed", "FAILED": "tried and failed"}


def narrate(entry: Mapping[str, Any]) -> str:
    """Say what an entry records.

    Args:
        entry: The decoded entry.

    Returns:
        One or two plain sentences; for a type that is not known here, its name.
    """
    tell = _TOLD.get(entry["type"])
    if tell is None:
        return f"An entry of the type {entry['type']} was recorded."
    return tell(entry)


def _words(values: Iterable[str]) -> str:
    return ", ".join(value.lower().replace("_", " ") for value in values) or "none"


def _word(value: str) -> str:
    return _words((value,))


def _who(entry: Mapping[str, Any]) -> str:
    role, _, name = entry["actor"].partition("/")
    return f"The {role} {name}" if name else "The system"


def _decision(entry: Mapping[str, Any]) -> str:
    request, outcomes = entry["request"], [face["outcome"] for face in spelled_out(entry)["faces"]]
    what = f"{_word(request['operation'])} ({_word(request['category'])}) for {_word(request['purpose'])}"
    codes = [rule.partition(":") for rule in entry["rules"]]
    reasons = ", ".join(f"{code.lower().replace('_', ' ')} ({rule})" for rule, _, code in codes if code)
    because = f" Reasons: {reasons}." if reasons else ""
    if len(set(outcomes)) > 1:  # the overall outcome is that of the worst face; what was permitted is for the others
        each = ", ".join(f"{outcomes.count(one)} {_OUTCOMES.get(one, one)}" for one in dict.fromkeys(outcomes))
        return f"{_who(entry)} asked whether it may {what}, for {len(outcomes)} faces: {each}.{because}"
    return (
        f"{_who(entry)} asked whether it may {what}: it {_OUTCOMES.get(entry['outcome'], entry['outcome'])}.{because}"
    )


def _notice(entry: Mapping[str, Any]) -> str:
    notice = entry["notice"]
    return (
        f"{_who(entry)} published version {notice['version']} of the notice {notice['notice_id']}, for the purposes "
        f"{_words(notice['purposes'])}."
    )


def _delivery(entry: Mapping[str, Any]) -> str:
    told = entry["delivery"]
    return (
        f"{_who(entry)} reported that version {told['notice_version']} of the notice {told['notice_id']} was "
        f"delivered ({_word(told['channel'])}) at {told['occurred_at']}."
    )


def _release(entry: Mapping[str, Any]) -> str:
    release = entry["release"]
    return (
        f"{_who(entry)} reported a written release ({_word(release['form'])}) under version "
        f"{release['notice_version']} of the notice {release['notice_id']}, for the purposes "
        f"{_words(release['purposes'])}, signed at {release['signed_at']}."
    )


def _withdrawn(entry: Mapping[str, Any]) -> str:
    return f"{_who(entry)} recorded that {len(entry['releases'])} release(s) were withdrawn."


def _reported(entry: Mapping[str, Any]) -> str:
    result = _RESULTS.get(entry["result"], entry["result"])
    beyond = " The permission did not cover all of it." if entry.get("without_permission") else ""
    return f"{_who(entry)} reported what was permitted by entry {entry['decision_index']} as {result}.{beyond}"


def _photo_stored(entry: Mapping[str, Any]) -> str:
    photo = entry["photo"]
    size = f"{photo['width']} x {photo['height']} pixels"
    return f"{_who(entry)} stored the photo {photo['photo_id']}, encrypted ({size})."


def _photo_opened(entry: Mapping[str, Any]) -> str:
    masked = f", with {len(entry['masked'])} face(s) masked" if entry.get("masked") else ""
    return f"{_who(entry)} opened the photo {entry['photo_id']} under a permit{masked}."


def _refused(entry: Mapping[str, Any]) -> str:
    what = f"the photo {entry['photo_id']}" if "photo_id" in entry else f"the identifier {entry.get('identifier_id')}"
    return f"{_who(entry)} tried to open {what} and was refused: {_word(entry['reason'])}."


def _identifier_stored(entry: Mapping[str, Any]) -> str:
    held = entry["identifier"]
    return (
        f"{_who(entry)} stored the identifier {held['identifier_id']} ({_word(held['category'])}), encrypted, for "
        f"{_word(held['purpose'])}."
    )


def _destruction(entry: Mapping[str, Any]) -> str:
    return f"The system ordered {len(entry['targets'])} record(s) destroyed: {_word(entry['trigger'])}."


def _destroyed(entry: Mapping[str, Any]) -> str:
    return (
        f"The system destroyed them: {entry['method']}. Copies in backups cannot be read after "
        f"{entry['unrecoverable_after']}."
    )


def _pack(entry: Mapping[str, Any]) -> str:
    pack = entry["pack"]
    return f"Version {pack['version']} of the rules {pack['pack_id']} came into force."


def _policy(entry: Mapping[str, Any]) -> str:
    policy = entry["policy"]
    return f"{_who(entry)} published version {policy['version']} of the retention policy {policy['policy_id']}."


def _determination(entry: Mapping[str, Any]) -> str:
    kind = _word(entry["determination"]["kind"])
    return f"{_who(entry)} recorded a determination ({kind}); it awaits a second officer."


def _artifact(entry: Mapping[str, Any]) -> str:
    tainted = f" It is tainted: {_words(entry['taint'])}." if "taint" in entry else ""
    return (
        f"{_who(entry)} recorded what the {_word(entry['kind'])} {entry['artifact_id']} was made from, under the"
        f" decision of entry {entry['decision_index']}.{tainted}"
    )


def _unnecessary(entry: Mapping[str, Any]) -> str:
    extended = " The 45 days were extended once." if entry.get("extended") else ""
    return f"{_who(entry)} recorded as found unnecessary: {_words(entry['purposes'])}.{extended}"


def _enforcement(entry: Mapping[str, Any]) -> str:
    made = entry["enforcement"]
    how = "enforced" if made["enforced"] else "only observed, once a second officer approves it"
    return f"{_who(entry)} switched {_word(made['operation'])} to be {how}, from {made['effective_time']}."


def _posture(entry: Mapping[str, Any]) -> str:
    return f"{_who(entry)} had the registry looked at: {entry['total']} thing(s) are lacking."


_TOLD: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "account.closed": lambda entry: f"{_who(entry)} recorded that the person closed their account.",
    "artifact.recorded": _artifact,
    "decision": _decision,
    "destruction.completed": _destroyed,
    "destruction.requested": _destruction,
    "determination.approved": lambda entry: f"{_who(entry)} approved a determination, which now counts.",
    "determination.recorded": _determination,
    "determination.revoked": lambda entry: f"{_who(entry)} revoked a determination, which allows nothing any more.",
    "employment.ended": lambda entry: f"{_who(entry)} recorded that the person's employment ended.",
    "enforcement.approved": lambda entry: f"{_who(entry)} approved that an operation is only observed.",
    "enforcement.changed": _enforcement,
    "identifier.opened": lambda entry: f"{_who(entry)} opened the identifier {entry['identifier_id']} under a permit.",
    "identifier.refused": _refused,
    "identifier.stored": _identifier_stored,
    "interaction.recorded": lambda entry: f"{_who(entry)} recorded an interaction with the person.",
    "ledger.created": lambda entry: f"The ledger of {entry['tenant_name']} was begun.",
    "notice.delivered": _delivery,
    "notice.published": _notice,
    "pack.activated": _pack,
    "person.opted_out": lambda entry: (
        f"{_who(entry)} recorded that the person opted out: {_words(entry.get('purposes', ())) or 'every purpose'}."
    ),
    "photo.opened": _photo_opened,
    "photo.refused": _refused,
    "photo.stored": _photo_stored,
    "policy.published": _policy,
    "posture.checked": _posture,
    "processing.reported": _reported,
    "purpose.unnecessary": _unnecessary,
    "purpose.satisfied": lambda entry: f"{_who(entry)} recorded as satisfied: {_words(entry['purposes'])}.",
    "release.recorded": _release,
    "release.withdrawn": _withdrawn,
    "review.refused": lambda entry: f"{_who(entry)} refused what the review {entry['refusal']['review_id']} asks.",
    "settings.changed": lambda _entry: "The settings that the law asks about changed.",
    "statement.recorded": lambda entry: (
        f"{_who(entry)} recorded a public statement about {_words(entry['statement']['operations'])}."
        " It narrows what is allowed."
    ),
    "system.started": lambda entry: f"The system started, build {entry['engine']}.",
}
