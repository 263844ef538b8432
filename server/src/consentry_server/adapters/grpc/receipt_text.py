"""A consent receipt as plain text: what a person is given to keep."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def receipt_text(claims: Mapping[str, Any]) -> str:
    """Write a receipt for a person to read.

    Args:
        claims: The claims of the signed receipt (``services/receipts.py``).

    Returns:
        Lines of text, each ended by a newline; the same for the same claims always.
    """
    recipients = claims["recipients"]
    lines = [
        "CONSENT RECEIPT",
        "",
        f"Receipt:            {claims['consentReceiptID']}",
        f"Given to:           {claims['piiPrincipalId']}",
        f"Controller:         {claims['iss']}",
        f"Jurisdiction:       {claims['jurisdiction']}",
        "",
        "You permitted:",
        *[f"  - {_plain(purpose)}" for purpose in claims["purposes"]],
        "with this data:",
        *[f"  - {_plain(category)}" for category in _categories(claims)],
        "Shared with:        " + (", ".join(recipients) if recipients else "nobody"),
        f"It ends:            {_end(claims)}",
        "",
        f"Notice:             {claims['notice_version']} ({claims['language']})",
        f"Form:               {_plain(claims['release_form'])}",
        f"Signed by:          {_plain(claims['signature_process'])}, {_signer(claims)}",
        f"Signed at:          {claims['signed_at']} (as reported)",
        f"Recorded at:        {claims['recorded_at']}",
        f"Signed document:    SHA-256 {claims['signed_document_sha256']}",
        f"Ledger entry:       {claims['ledger_index']} of {claims['iss']}",
        f"                    SHA-256 {claims['leaf_hash']}",
        *([f"Takes the place of: {claims['supersedes']}"] if claims["supersedes"] else []),
        "",
        "You may withdraw at any time" + (f": {claims['withdrawal_uri']}" if claims["withdrawal_uri"] else "."),
        "Keep this receipt: it shows what you permitted, and the ledger entry proves it.",
    ]
    return "\n".join(lines) + "\n"


def _categories(claims: Mapping[str, Any]) -> Sequence[str]:
    categories = {each for service in claims["services"] for use in service["purposes"] for each in use["piiCategory"]}
    return sorted(categories)


def _end(claims: Mapping[str, Any]) -> str:
    ends = {use["termination"] for service in claims["services"] for use in service["purposes"]}
    term = claims["term"]
    if "duration" in term:
        days = timedelta(seconds=term["duration"]).days
        ends = {f"{days} days after it was recorded" if end.endswith("after the release") else end for end in ends}
    return ", ".join(_plain(end) if end.isupper() else end for end in sorted(ends)) + ", or when you withdraw"


def _signer(claims: Mapping[str, Any]) -> str:
    if claims["authority_basis"] == "NONE":
        return "by yourself"
    return f"by a representative ({_plain(claims['authority_basis'])})"


def _plain(word: str) -> str:
    """A word of the vocabulary as people write it: ``CLICK_TO_SIGN`` is "click to sign"."""
    return word.replace("_", " ").lower()
