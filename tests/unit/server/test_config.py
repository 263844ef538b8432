"""Settings: defaults, file, environment, and what is refused with the place and the key."""

from __future__ import annotations

import os
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from consentry_server import config
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(config.PREFIX):
            monkeypatch.delenv(name)


def load(folder: Path, text: str, **more: Any) -> config.Settings:
    (folder / config.FILE_NAME).write_text(text, encoding="utf-8")
    return config.load(folder, **more)


def refused(folder: Path, text: str, **more: Any) -> ConsentryError:
    with pytest.raises(ConsentryError) as caught:
        load(folder, text, **more)
    assert caught.value.reason is Reason.CONFIGURATION_INVALID
    return caught.value


def test_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.gate.permit_seconds == 60
    assert settings.gate.request_window_hours == 24
    assert settings.gate.unknown_regions == ("US-IL", "US-TX", "US-CO", "US-WA", "EU")
    assert settings.ledger.checkpoint_seconds == 1
    assert settings.ledger.max_unanchored_seconds == 300
    assert (settings.keys.epoch_days, settings.keys.grace_days) == (30, 7)
    assert settings.server.host == "127.0.0.1"
    assert settings.tenancy.protection_at_least_other_sensitive is False


def test_settings_never_change(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    for owner in (settings, settings.gate):
        with pytest.raises(pydantic.ValidationError):
            owner.permit_seconds = 3600  # type: ignore[union-attr]


def test_the_environment_wins_over_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENTRY_GATE__PERMIT_SECONDS", "30")
    monkeypatch.setenv("CONSENTRY_TENANCY__TENANTS", '["a", "b"]')
    settings = load(tmp_path, "[gate]\npermit_seconds = 20\nrequest_window_hours = 2\n")
    assert (settings.gate.permit_seconds, settings.gate.request_window_hours) == (30, 2)
    assert settings.tenancy.tenants == ("a", "b")


def test_the_command_line_wins_over_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENTRY_SERVER__LISTEN", "127.0.0.1:2")
    settings = load(tmp_path, '[server]\nlisten = "127.0.0.1:1"\nreflection = false', listen="[::1]:0")
    assert (settings.server.listen, settings.server.host, settings.server.reflection) == ("[::1]:0", "::1", False)
    assert "--listen" in refused(tmp_path, "", listen="nowhere").message


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[gate]\npermit_second = 60", "gate.permit_second"),
        ("[gates]\npermit_seconds = 60", "gates"),
        ("permit_seconds = 60", "permit_seconds"),
        ("[gate]\npermit_seconds = 0", "gate.permit_seconds"),
        ('[gate]\npermit_seconds = "soon"', "gate.permit_seconds"),
        ("[gate]\nunknown_regions = []", "gate.unknown_regions"),
        ('[gate]\nunknown_regions = ["Illinois"]', "gate.unknown_regions"),
        ("[tenancy]\ntenants = []", "tenancy.tenants"),
        ('[tenancy]\ntenants = ["a", "a"]', "tenancy.tenants"),
        ('[tenancy]\ntenants = ["../a"]', "tenancy.tenants"),
        ('[tenancy]\ntrust_domain = "Consentry"', "tenancy.trust_domain"),
        ('[tenancy]\nentity_type = "COMPANY"', "tenancy.entity_type"),
        ('[server]\nlisten = "127.0.0.1"', "server.listen"),
        ('[server]\nlisten = "127.0.0.1:65536"', "server.listen"),
        ('[server]\nlisten = "[::g]:1"', "server.listen"),
        ("[vault]\nsegment_bytes = 1", "vault.segment_bytes"),
        ("[keys]\nepoch_days = -1", "keys.epoch_days"),
        ("[anchors]\nanchor_seconds = 0", "anchors.anchor_seconds"),
        ('[[anchors.timestamp]]\nname = "a"\nurl = "ftp://a.test/"\nroots = "a.pem"', "anchors.timestamp"),
        ('[[anchors.timestamp]]\nname = "a"\nurl = "http://me@a.test/"\nroots = "a.pem"', "anchors.timestamp"),
        ('[[anchors.timestamp]]\nname = "../a"\nurl = "http://a.test/"\nroots = "a.pem"', "anchors.timestamp"),
        ('[[anchors.timestamp]]\nname = "a"\nurl = "http://a.test/"', "anchors.timestamp"),
        ('[[anchors.witness]]\nname = "a"\nurl = "http://a.test/"', "anchors.witness"),
        ("gate = 3", "gate"),
        ('[tiles]\npublish_to = "http://tiles.example"', "tiles.publish_to"),
        ('[tiles]\npublish_to = "s3://bucket/../other"', "tiles.publish_to"),
        ("[tiles]\npublish_seconds = 0", "tiles.publish_seconds"),
        ('[tiles]\npublish_to = "tiles"\nhot_entries = 1000', "tiles"),
        ("[tiles]\nhot_entries = 10000", "tiles"),
    ],
)
def test_a_bad_value_names_the_file_and_the_key(tmp_path: Path, text: str, key: str) -> None:
    error = refused(tmp_path, text)
    assert str(tmp_path / config.FILE_NAME) in error.message
    assert key in error.message
    assert error.metadata == {"setting": key}


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    error = refused(tmp_path, "[server]\nmax_message_bytes = 65536\n[vault]\nsegment_bytes = 131072")
    assert "vault.segment_bytes" in error.message
    error = refused(tmp_path, "[anchors]\nanchor_seconds = 301")
    assert "must not exceed ledger.max_unanchored_seconds" in error.message


def test_anchors_have_names_of_their_own(tmp_path: Path) -> None:
    stamp = '[[anchors.timestamp]]\nname = "a"\nurl = "http://a.test/"\nroots = "a.pem"\n'
    seen = '[[anchors.witness]]\nname = "a"\nurl = "https://b.test/w"\nvkey = "w+00000000+BA=="\n'
    assert "different names" in refused(tmp_path, stamp + seen).message
    settings = load(tmp_path, stamp + seen.replace('"a"', '"b"'))
    assert (settings.anchors.timestamp[0].name, settings.anchors.witness[0].name) == ("a", "b")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CONSENTRY_GATE__PERMIT_SECONDS", "soon", "CONSENTRY_GATE__PERMIT_SECONDS"),
        ("CONSENTRY_GATE__PERMIT_SECOND", "1", "CONSENTRY_GATE__PERMIT_SECOND"),
        ("CONSENTRY_PERMIT_SECONDS", "1", "did you mean CONSENTRY_GATE__PERMIT_SECONDS?"),
        ("CONSENTRY_GATES__PERMIT_SECONDS", "1", "no section gates"),
        ("CONSENTRY_TENANCY__TENANTS", "a,b", "JSON"),
    ],
)
def test_a_bad_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    assert said in refused(tmp_path, "").message


def test_no_file_no_toml_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConsentryError, match="consentry init"):
        config.load(tmp_path)
    assert "not TOML" in refused(tmp_path, "[gate").message
    (tmp_path / config.FILE_NAME).write_bytes(b"\xff")
    with pytest.raises(ConsentryError, match="not TOML"):
        config.load(tmp_path)


def test_the_written_file_is_read_back_and_shows_every_default(tmp_path: Path) -> None:
    text = config.document({"tenancy": {"tenants": ("acme", "other"), "trust_domain": "x.example"}})
    settings = load(tmp_path, text)
    assert settings.tenancy.tenants == ("acme", "other")
    assert settings.model_copy(update={"tenancy": config.TenancySettings()}) == config.Settings()
    uncommented = re.sub(r'^# (\w+ = (?!"\.\.\.").*)$', r"\1", text, flags=re.MULTILINE)
    assert config.make(tomllib.loads(uncommented), source="test") == settings
    keys = re.findall(r"^#? ?(\w+) = ", text, flags=re.MULTILINE)
    sections = config.Settings.model_fields.values()
    assert keys == [key for section in sections for key in getattr(section.annotation, "model_fields", {})]
