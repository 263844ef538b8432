"""Every setting, from ``STATE/consentry.toml`` and the environment, checked before anything starts.

One class for each concern; units stand in the names. An environment variable wins over the file and is called
``CONSENTRY_<SECTION>__<KEY>``, such as ``CONSENTRY_GATE__PERMIT_SECONDS``. What is not known is refused: a misspelled
limit must not be a limit that silently does not hold.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import tomllib
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.vocabulary import REGIONS, EntityType

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

FILE_NAME: Final = "consentry.toml"
PREFIX: Final = "CONSENTRY_"
MIB: Final = 2**20
_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,253}[a-z0-9])?")
_LISTEN: Final = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_OBJECTS: Final = re.compile(r"(?:s3|gs|az)://[a-z0-9][a-z0-9._-]+(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*/?")
_MAX_PORT: Final = 65535
MIN_HOT_ENTRIES: Final = 1024
"""Four full tiles: the right edge of the tree is always in the database."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _listen(text: str) -> str:
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        raise ValueError("must be HOST:PORT or [IPV6]:PORT with a port from 0 to 65535")
    if match["six"]:
        ipaddress.IPv6Address(match["six"])
    return text


def _slug(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise ValueError("must be 1 to 64 of a-z, 0-9, '.', '_', '-' and begin with a letter or digit")
    return text


def _trust_domain(text: str) -> str:
    if not _TRUST_DOMAIN.fullmatch(text):
        raise ValueError("must be a lower-case domain name such as consentry.example.com")
    return text


def _region(text: str) -> str:
    if text not in REGIONS:
        raise ValueError(f"{text} is not a region: write US-IL for a state, DE for a country, EU for the union")
    return text


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError("must be an http or https address without user, query and fragment")
    return text


def _tiles_place(text: str) -> str:
    if "://" in text and not _OBJECTS.fullmatch(text):
        raise ValueError("must be a folder or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX")
    return text


class ServerSettings(_Section):
    """The listener and its limits."""

    listen: Annotated[str, AfterValidator(_listen)] = "127.0.0.1:50051"
    """Address to listen on, HOST:PORT; port 0 takes a free one."""
    tls_certificate: Path | None = None
    """PEM file of the server's certificate and its intermediates; tls/server.pem of the state folder by default."""
    tls_key: Path | None = None
    """PEM file of the certificate's key; tls/server.key of the state folder by default."""
    tls_client_authority: Path | None = None
    """PEM file of the authorities of client certificates; tls/ca.pem of the state folder by default."""
    max_message_bytes: Annotated[int, Field(ge=64 * 1024, le=64 * MIB)] = 4 * MIB
    """The largest payload of one message."""
    max_calls_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Calls answered at once; one more is OVERLOADED."""
    max_calls_per_connection: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """Calls at once on one connection; more wait in the client."""
    connection_age_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """Age at which a connection is renewed, so that a removed certificate does not live on."""
    connection_age_grace_seconds: Annotated[int, Field(ge=1, le=86_400)] = 30
    """Time that calls of a renewed connection have to finish."""
    stop_grace_seconds: Annotated[float, Field(ge=0, le=3600)] = 20.0
    """Time that accepted calls have to finish when the server stops."""
    reflection: bool = True
    """Whether tools may ask for the contract."""
    channelz: bool = False
    """Whether operators may look at connections (costs some speed)."""

    @property
    def host(self) -> str:
        """The host part of ``listen``, without brackets."""
        return self.listen.rpartition(":")[0].strip("[]")


class TenancySettings(_Section):
    """Whose data this server holds."""

    trust_domain: Annotated[str, AfterValidator(_trust_domain)] = "consentry.local"
    """Trust domain of the callers' certificates; the first part of every ledger's origin. Never changed later."""
    tenants: Annotated[tuple[Annotated[str, AfterValidator(_slug)], ...], Field(min_length=1)] = ("main",)
    """The tenants that this server hosts; each has a ledger, keys and photos of its own."""
    entity_type: EntityType = EntityType.PRIVATE_ENTITY
    """What the tenants are: PRIVATE_ENTITY or GOVERNMENT_AGENCY (740 ILCS 14/10)."""
    protection_at_least_other_sensitive: bool = False
    """Whether the tenant protects biometric data at least as well as its other sensitive data (740 ILCS 14/15(e))."""

    processors: tuple[Annotated[str, AfterValidator(_slug)], ...] | None = None
    """Recipients that take part in the processing, as notices name them; [] for none. Posture asks for each of them."""

    def choose(self, asked: str) -> str:
        """The tenant that a command is about: the one that was named, or the only one.

        Raises:
            ConsentryError: ``FIELD_INVALID``: none was named and there are several, or it is not one of them.
        """
        if not asked and len(self.tenants) == 1:
            return self.tenants[0]
        if asked not in self.tenants:
            raise ConsentryError(
                Reason.FIELD_INVALID, f"--tenant must be one of {', '.join(self.tenants)}", field="tenant"
            )
        return asked

    @field_validator("tenants")
    @classmethod
    def _distinct(cls, tenants: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tenants)) != len(tenants):
            raise ValueError("names a tenant twice")
        return tenants


class LedgerSettings(_Section):
    """The ledger's writer and its checkpoints."""

    linger_milliseconds: Annotated[float, Field(ge=0, le=1000)] = 20.0
    """How long a busy writer waits at most for more entries to share a commit."""
    checkpoint_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 1.0
    """How often a checkpoint is signed and published while entries come in."""
    max_unanchored_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    """How long the ledger may go without an anchor outside its own disk before it says so."""


class TimestampSettings(_Section):
    """One RFC 3161 timestamp authority."""

    name: Annotated[str, AfterValidator(_slug)]
    """What it is called here; names its files."""
    url: Annotated[str, AfterValidator(_web_address)]
    """Where it answers, http or https."""
    roots: Path
    """PEM file of the root certificates that its answers are verified against."""


class WitnessSettings(_Section):
    """One witness (C2SP tlog-witness)."""

    name: Annotated[str, AfterValidator(_slug)]
    """What it is called here; names its files."""
    url: Annotated[str, AfterValidator(_web_address)]
    """Its submission prefix, http or https; `/add-checkpoint` is added."""
    vkey: str
    """Its verifier key, of type 0x04."""


class AnchorsSettings(_Section):
    """Anchors: who else vouches for the ledger; [[anchors.timestamp]] and [[anchors.witness]] name them."""

    anchor_seconds: Annotated[int, Field(ge=1, le=86_400)] = 120
    """How often a grown ledger is anchored; not more than ledger.max_unanchored_seconds."""
    answer_seconds: Annotated[float, Field(gt=0, le=60)] = 10.0
    """Time that an authority or witness has for its whole answer."""
    max_answer_bytes: Annotated[int, Field(ge=1024, le=MIB)] = 128 * 1024
    """The largest answer that is read."""
    timestamp: tuple[TimestampSettings, ...] = ()
    """Timestamp authorities, each a table [[anchors.timestamp]] with name, url and roots."""
    witness: tuple[WitnessSettings, ...] = ()
    """Witnesses, each a table [[anchors.witness]] with name, url and vkey."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [one.name for one in self.timestamp] + [one.name for one in self.witness]
        if len(set(names)) != len(names):
            raise ValueError("anchors must have different names")
        return self


class TilesSettings(_Section):
    """The ledger as tiles that anybody can verify, and how much of it stays in the database."""

    publish_to: Annotated[str, AfterValidator(_tiles_place)] = ""
    """Where tiles are published: a folder (relative to the state folder), s3://, gs:// or az://; empty for nowhere."""
    publish_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 10.0
    """How often a grown ledger is published."""
    hot_entries: Annotated[int, Field(ge=0, le=2**53 - 1)] = 0
    """Newest entries that stay in the database, 1024 or more; older ones are read from tiles. 0 keeps all."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.hot_entries and not self.publish_to:
            raise ValueError("hot_entries needs publish_to: entries leave the database for published tiles only")
        if 0 < self.hot_entries < MIN_HOT_ENTRIES:
            raise ValueError(f"hot_entries must be 0 or at least {MIN_HOT_ENTRIES}")
        return self


class GateSettings(_Section):
    """Decisions and permits."""

    permit_seconds: Annotated[int, Field(ge=1, le=3600)] = 60
    """Life of a permit: outside the vault, the bound on how late a withdrawal can reach its holder."""
    reporting_seconds: Annotated[int, Field(ge=0, le=30 * 86_400)] = 300
    """How long after a permit's end a report of what was done is waited for before coverage calls the permit open."""
    request_window_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 24
    """How long a request_id is remembered."""
    unknown_regions: Annotated[tuple[Annotated[str, AfterValidator(_region)], ...], Field(min_length=1)] = (
        "US-IL",
        "US-TX",
        "US-CO",
        "US-WA",
        "EU",
    )
    """The regions whose law applies where nobody knows the region."""


class VaultSettings(_Section):
    """Photos and identifiers."""

    max_photo_bytes: Annotated[int, Field(ge=1024, le=2**31 - 1)] = 50 * MIB
    """The largest photo that is accepted."""
    max_photo_pixels: Annotated[int, Field(ge=1, le=2**31 - 1)] = 100_000_000
    """The most pixels that a photo may decode to."""
    segment_bytes: Annotated[int, Field(ge=64 * 1024, le=MIB)] = 256 * 1024
    """Size of an encrypted segment of a photo."""


class KeysSettings(_Section):
    """Key epochs: how long copies in backups outlive a destruction."""

    epoch_days: Annotated[int, Field(ge=1, le=365)] = 30
    """Life of a key-encryption key."""
    grace_days: Annotated[int, Field(ge=0, le=90)] = 7
    """Time after an epoch's end at which its key is destroyed."""
    passphrase_file: Path | None = None
    """File with the passphrase that seals the key files, readable by its owner alone; none leaves them unsealed."""


class LogSettings(_Section):
    """What the process says about itself."""

    level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """The least severe messages that are written: debug, info, warning or error."""


class Settings(BaseSettings):
    """All settings of one server."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter="__", case_sensitive=False
    )

    server: ServerSettings = ServerSettings()
    tenancy: TenancySettings = TenancySettings()
    ledger: LedgerSettings = LedgerSettings()
    anchors: AnchorsSettings = AnchorsSettings()
    tiles: TilesSettings = TilesSettings()
    gate: GateSettings = GateSettings()
    vault: VaultSettings = VaultSettings()
    keys: KeysSettings = KeysSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.vault.segment_bytes > self.server.max_message_bytes:
            raise ValueError("vault.segment_bytes must not exceed server.max_message_bytes")
        if self.anchors.anchor_seconds > self.ledger.max_unanchored_seconds:
            raise ValueError("anchors.anchor_seconds must not exceed ledger.max_unanchored_seconds")
        return self

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic-settings calls it
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is theirs
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - no .env file is read: it would be found by chance
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - none are kept in settings
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file


def load(state: Path, *, listen: str = "") -> Settings:
    """Read the settings of a state folder.

    Args:
        state: Folder with ``consentry.toml``.
        listen: Address that wins over file and environment, HOST:PORT; empty for none.

    Returns:
        The settings.

    Raises:
        ConsentryError: ``CONFIGURATION_INVALID``: names the file or variable, the key, and what is wrong.
    """
    path = state / FILE_NAME
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise _invalid(f"{path} is missing: make a state folder with `consentry init {state}`") from error
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _invalid(f"{path} is not TOML: {error}") from error
    settings = make(table, source=str(path))
    if not listen:
        return settings
    try:
        server = ServerSettings.model_validate({**settings.server.model_dump(), "listen": listen})
    except ValidationError as error:
        raise _invalid(f"--listen {_problem(error.errors()[0]['msg'])}", "server.listen") from error
    return settings.model_copy(update={"server": server})


def make(table: dict[str, Any], *, source: str) -> Settings:
    """Check settings from a table, with the environment on top.

    Args:
        table: Sections by name, as TOML gives them.
        source: Where they come from, for messages.

    Returns:
        The settings.

    Raises:
        ConsentryError: ``CONFIGURATION_INVALID``.
    """
    _refuse_unknown_variables(os.environ.keys())
    try:
        return Settings(**table)
    except ValidationError as error:
        first = error.errors()[0]
        names = [part for part in first["loc"] if isinstance(part, str)]
        key = ".".join(names[:2])
        variable = next((name for name in os.environ if name.upper() == PREFIX + "__".join(names[:2]).upper()), "")
        where = f"environment variable {variable}" if variable else source
        problem = "is not a setting" if first["type"] == "extra_forbidden" else _problem(first["msg"])
        raise _invalid(f"{where}: {key} {problem}" if key else f"{where}: {problem}", key) from error
    except SettingsError as error:
        raise _invalid(f"the environment: {error}: lists are written as JSON") from error


def document(table: dict[str, dict[str, str | Sequence[str]]]) -> str:
    """Write a settings file that holds some values and names every other setting with its default.

    Args:
        table: Values to set, by section and key.

    Returns:
        TOML text.
    """
    lines = [
        "# Settings of this Consentry server. A line that begins with '#' shows a default.",
        f"# An environment variable such as {PREFIX}GATE__PERMIT_SECONDS wins over this file.",
    ]
    for section, section_field in Settings.model_fields.items():
        model = section_field.annotation
        if not (isinstance(model, type) and issubclass(model, _Section)):
            raise TypeError(f"{section} is not a section")
        lines += ["", f"[{section}]  # {(model.__doc__ or '').rstrip('.')}"]
        for key, field in model.model_fields.items():
            lines.append(f"# {field.description}")
            value = table.get(section, {}).get(key)
            if value is not None:
                lines.append(f"{key} = {_toml(value)}")
            elif field.default is not None:
                lines.append(f"# {key} = {_toml(field.default)}")
            else:
                lines.append(f'# {key} = "..."')
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value)  # numbers, truth values and ASCII strings are written alike in TOML


def _refuse_unknown_variables(names: Sequence[str] | Any) -> None:
    keys = {
        key: f"{PREFIX}{section}__{key}".upper()
        for section, field in Settings.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    }
    for name in names:
        upper = name.upper()
        if not upper.startswith(PREFIX):
            continue
        rest = upper.removeprefix(PREFIX).lower()
        section = rest.partition("__")[0]
        if rest in keys:
            raise _invalid(f"environment variable {name} is not a setting: did you mean {keys[rest]}?", rest)
        if "__" in rest and section not in Settings.model_fields:
            raise _invalid(f"environment variable {name}: there is no section {section}", section)


def _problem(message: str) -> str:
    """Pydantic's words, as the end of a sentence that begins with the key."""
    text = message.removeprefix("Value error, ").removeprefix("Input ")
    return text[:1].lower() + text[1:] if text[:2].istitle() else text


def _invalid(problem: str, key: str = "") -> ConsentryError:
    return ConsentryError(Reason.CONFIGURATION_INVALID, problem, field=key, metadata={"setting": key} if key else None)
