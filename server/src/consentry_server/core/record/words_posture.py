"""Words for what is enforced and for what was found lacking; see ``words``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentry_server.core.record.phrases import listed, moment, who, word

if TYPE_CHECKING:
    from collections.abc import Mapping


def enforcement_changed(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """An operation is enforced, or only observed."""
    made = entry["enforcement"]
    operation = word(made["operation"])
    since = moment(made["effective_time"])
    if made["enforced"]:
        return f"{operation}: enforcing switched on", [
            (
                f"{who(entry['actor'])} switched enforcing on for the operation {operation}, from {since}:"
                f" answers bind and carry permits ({made['enforcement_id']})."
            )
        ]
    return f"{operation}: observing asked for", [
        (
            f"{who(entry['actor'])} recorded that the operation {operation} be only observed from {since}"
            f" ({made['enforcement_id']}): answers would bind nobody and carry no permit."
        ),
        "It has no effect before a second officer approves it, and never opens the vault.",
    ]


def enforcement_approved(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The second officer agrees."""
    return "observing approved", [
        (
            f"{who(entry['approved_by'])} approved the switch {entry['enforcement_id']}: from its time on, and never"
            " before this entry, answers about its operation are only observed."
        )
    ]


def posture_checked(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """What is lacking before anybody is refused."""
    findings = entry["findings"]
    denies = sum(each["outcome"] == "DENY" for each in findings)
    named = [f"{each['code']} ({each['about']}, {each['rule']})" for each in findings]
    said = [
        (
            f"{who(entry['actor'])} had notices, policy, packs and settings looked at under the law of"
            f" {listed(entry['regions'])}: {entry['total']} things are lacking, {denies} of which deny."
        )
    ]
    return "posture checked", said + ([f"Lacking: {listed(named)}."] if named else [])
