"""Words for what the service records of itself; see ``words``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consentry_server.core.record.phrases import article

if TYPE_CHECKING:
    from collections.abc import Mapping


def ledger_created(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The beginning."""
    return "ledger created", [
        f"The ledger {entry['ledger']} of {entry['tenant_name']} begins here.",
        *_settings(entry["tenant"]),
    ]


def settings_changed(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """What the settings say of the organisation."""
    return "settings changed", ["What the settings say of the organisation changed.", *_settings(entry["tenant"])]


def _settings(tenant: Mapping[str, Any]) -> list[str]:
    entity = article(tenant.get("entity_type", "PRIVATE_ENTITY"))
    facts = {
        "encrypted_at_rest": "data is encrypted where it is kept",
        "encrypted_in_transit": "data is encrypted where it is sent",
        "protection_at_least_other_sensitive": "biometric data is protected at least as well as other sensitive data",
    }
    stated = [text for name, text in facts.items() if tenant.get(name)]
    return [f"The organisation is {entity}." + (f" Stated: {'; '.join(stated)}." if stated else "")]


def pack_activated(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The law that decides from here on."""
    pack = entry["pack"]
    sort = "organisation's own pack" if pack.get("own") else "law pack"
    return f"{sort} {pack['pack_id']} version {pack['version']} in force", [
        (
            f"Version {pack['version']} of the {sort} {pack['pack_id']} decides from this entry on. Its bytes are"
            f" kept under the SHA-256 that begins with {pack['sha256'][:16]}."
            + (" It can only restrict what the law allows." if pack.get("own") else "")
        )
    ]


def key_rotated(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Another key signs from here on."""
    return "ledger key changed", [
        f"From the next entry on checkpoints are signed by the key {_vkey(entry['new_vkey'])}.",
        f"The key before it, {_vkey(entry['old_vkey'])}, vouches for it in a signed statement.",
    ]


def _vkey(vkey: str) -> str:
    return vkey.split("+")[1] if vkey.count("+") > 1 else vkey


def rebuilt(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A repair of the tables."""
    return "tables repaired", [
        (
            f"Every entry was folded again and the tables compared: {sum(entry['repaired'].values())} put right,"
            f" {sum(entry['left'].values())} left."
        ),
        f"The SHA-256 over all differences begins with {entry['differences_sha256'][:16]}.",
    ]


def system_started(entry: Mapping[str, Any]) -> tuple[str, list[str]]:
    """A start of the service."""
    sentences = [
        (
            f"Version {entry['engine']} started, with the settings whose SHA-256 begins with"
            f" {entry['settings_sha256'][:16]}."
        )
    ]
    if "unknown_regions" in entry:
        regions = ", ".join(entry["unknown_regions"])
        sentences.append(f"Where it is not known where a person lives, the law of {regions} is looked at.")
    return "system started", sentences
