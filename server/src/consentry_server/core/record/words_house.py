"""Words for public statements and refused reviews; see ``words``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentry_server.core.record.phrases import moment, who, word, words

if TYPE_CHECKING:
    from collections.abc import Mapping


def statement_recorded(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """What was promised in public."""
    stated = entry["statement"]
    said = [
        (
            f"{who(entry['actor'])} recorded the public statement {stated['statement_id']} of"
            f" {moment(stated['stated_at'])}. Its words are kept under the SHA-256 that begins with"
            f" {stated['text_sha256'][:16]}."
        ),
        (
            f"It speaks of {words(stated['operations'])} for {words(stated.get('purposes', ())) or 'every purpose'}. It"
            " narrows what is allowed from this entry on, and permits nothing."
        ),
    ]
    if "only_visibilities" in stated:
        said.append(f"Only data of this visibility may be used: {words(stated['only_visibilities'])}.")
    if "excluded_categories" in stated:
        said.append(f"Excluded is: {words(stated['excluded_categories'])}.")
    if "uri" in entry:
        said.append(f"It can be read at {entry['uri']}.")
    return "public statement", said


def review_refused(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A question that was answered with no."""
    refused = entry["refusal"]
    return "review refused", [
        (
            f"{who(entry['actor'])} refused what the review {refused['review_id']} asks: {word(refused['operation'])}"
            f" (data: {word(refused['category'])}; purpose: {word(refused['purpose'])}"
            f"{'; algorithm: ' + refused['algorithm'] if refused.get('algorithm') else ''}). Whatever raises that"
            " question is denied from this entry on."
        )
    ]
