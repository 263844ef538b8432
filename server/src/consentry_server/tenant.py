"""One tenant, wired: its ledger, keys, blobs and services. Only ``app.py`` makes them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import resources
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog

from consentry_server.adapters.anchors.files import AnchoredFiles
from consentry_server.adapters.anchors.folder import AnchorFolder
from consentry_server.adapters.blobs.local import LocalBlobs
from consentry_server.adapters.grpc.tenants import Tenant
from consentry_server.adapters.images.pillow import PillowMasker
from consentry_server.adapters.kms.keyfile import KeyFile
from consentry_server.adapters.kms.private_files import read_passphrase
from consentry_server.adapters.lock.file import FileLockRecord
from consentry_server.adapters.pdf.cover import TypstCover
from consentry_server.adapters.sqlite.index import SqliteIndexStore
from consentry_server.adapters.sqlite.keystore import SqliteKeyStore
from consentry_server.adapters.sqlite.shelf import SqliteShelf
from consentry_server.adapters.sqlite.store import SqliteLedgerStore
from consentry_server.adapters.tiles.places import open_tiles
from consentry_server.anchoring import authorities, witnesses
from consentry_server.core.errors import ConsentryError, Reason
from consentry_server.core.law import load_pack
from consentry_server.core.ledger.export import VKEY_PATH
from consentry_server.core.ledger.rotation import KEYS_PATH
from consentry_server.core.record.codec import to_plain
from consentry_server.core.record.facts import Tenant as TenantFacts
from consentry_server.services.activation import Activation
from consentry_server.services.anchors import Anchors
from consentry_server.services.audit import Audit
from consentry_server.services.checkpoints import Checkpoints
from consentry_server.services.coverage import Coverage
from consentry_server.services.derived import Derived
from consentry_server.services.ends import Ends
from consentry_server.services.enforcement import Enforcement
from consentry_server.services.evidence import Evidence, EvidenceSettings
from consentry_server.services.explaining import Explaining
from consentry_server.services.gate import Gate
from consentry_server.services.identifiers import Identifiers
from consentry_server.services.index import LedgerIndex
from consentry_server.services.indexer import Indexer
from consentry_server.services.issuer import Issuer
from consentry_server.services.keys import Keys
from consentry_server.services.leftovers import Leftovers
from consentry_server.services.notice_diff import NoticeDiffs
from consentry_server.services.notices import Notices
from consentry_server.services.packs import Packs
from consentry_server.services.people import People
from consentry_server.services.photos import PhotoLimits, Photos
from consentry_server.services.posture import Postures, PostureSettings
from consentry_server.services.registry import Registry
from consentry_server.services.rehearsal import Rehearsal
from consentry_server.services.releases import Releases
from consentry_server.services.replaying import Replaying
from consentry_server.services.retention import Retention
from consentry_server.services.reviews import Reviews
from consentry_server.services.rotation import Rotation, settle
from consentry_server.services.sealing import Sealing
from consentry_server.services.sequencer import Sequencer
from consentry_server.services.statements import Statements
from consentry_server.services.tiered import TieredStore
from consentry_server.services.tiles import TilePublisher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from consentry_server.config import Settings
    from consentry_server.core.law import Pack
    from consentry_server.core.ledger.note import VerifierKey
    from consentry_server.core.ledger.rotation import KeyChain
    from consentry_server.services.book import Book
    from consentry_server.services.ports import LedgerStore
    from consentry_server.services.ports_tiles import TileStore

ACTOR = "system"

_log = structlog.get_logger("tenant")


class TenantFolders:
    """Where a tenant's things are: data, keys and lock apart, so that one backup does not hold them all."""

    def __init__(self, state: Path, tenant: str) -> None:
        self.data = state / "tenants" / tenant
        self.keys = state / "keys" / tenant
        self.lock = state / "locks" / tenant

    @property
    def ledger(self) -> Path:
        """The ledger's database."""
        return self.data / "ledger.db"

    @property
    def index(self) -> Path:
        """The ledger's index; made anew where it is missing."""
        return self.data / "index.db"

    @property
    def key_store(self) -> Path:
        """The wrapped keys' database."""
        return self.keys / "keys.db"

    @property
    def key_file(self) -> Path:
        """The epoch keys."""
        return self.keys / "epochs.key"

    @property
    def anchors(self) -> Path:
        """What others signed of the ledger's checkpoints."""
        return self.data / "anchors"

    @property
    def published_key(self) -> Path:
        """The ledger's public key."""
        return self.data / VKEY_PATH

    @property
    def published_keys(self) -> Path:
        """Every public key that the ledger has had."""
        return self.data / KEYS_PATH


class RunningTenant:
    """Starts and stops one tenant.

    Args:
        state: The state folder.
        name: The tenant.
        settings: All settings.
        encrypted_in_transit: Whether the listener speaks TLS: a fact of 740 ILCS 14/15(e).
        clock: Gives the time, UTC; the system's by default.
    """

    def __init__(
        self,
        state: Path,
        name: str,
        settings: Settings,
        *,
        encrypted_in_transit: bool,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.name = name
        self._clock = clock or now
        self.folders = TenantFolders(state, name)
        self._state = state
        self.ledger = f"{settings.tenancy.trust_domain}/{name}"
        self._settings = settings
        self._encrypted_in_transit = encrypted_in_transit
        self._stack = AsyncExitStack()
        self.leftovers: Leftovers

    async def start(self, *, create: bool = False) -> Tenant:
        """Open everything, finish what a crash interrupted, and record that the system runs.

        Args:
            create: Make a new tenant: keys, database, first entries.

        Returns:
            The tenant's services.

        Raises:
            ConsentryError: Something cannot be opened or does not belong together; nothing is served then.
        """
        try:
            return await self._start(create=create)
        except BaseException:
            await self._stack.aclose()
            raise

    async def aclose(self) -> None:
        """Finish what was accepted and close everything, in the reverse order."""
        await self._stack.aclose()

    async def _start(self, *, create: bool) -> Tenant:
        settings, folders, stack = self._settings, self.folders, self._stack
        for folder in (folders.data, folders.keys, folders.lock):
            if create:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            elif not folder.is_dir():
                raise ConsentryError(
                    Reason.CONFIGURATION_INVALID,
                    f"{folder} is missing: put it back from where it is kept; nothing new is made in its place",
                )
        if not create and not (folders.ledger.is_file() and folders.ledger.stat().st_size):
            raise ConsentryError(
                Reason.DATA_DAMAGED,
                f"{folders.ledger} is missing or empty: keep what is beside it, and restore it from a backup; nothing "
                "new is made in its place",
            )
        lock = FileLockRecord(folders.lock)
        lock.hold()
        stack.callback(lock.release)
        keys = await asyncio.to_thread(self._open_keys, create=create)
        stack.callback(keys.close)
        tiles = tile_store(self._state, self.name, settings)
        store = TieredStore(SqliteLedgerStore(folders.ledger), tiles)
        stack.callback(store.close)
        sequencer = Sequencer(
            store,
            ledger=self.ledger,
            clock=self._clock,
            random=os.urandom,
            linger_seconds=settings.ledger.linger_milliseconds / 1000,
            request_window=timedelta(hours=settings.gate.request_window_hours),
        )
        await sequencer.start()
        stack.push_async_callback(sequencer.aclose)
        rotations = await sequencer.submit(lambda book: book.tenant.key_rotations)
        chain = await asyncio.to_thread(settle, self.ledger, keys, rotations)
        checkpoints = Checkpoints(
            ledger=self.ledger,
            store=store,
            keys=keys,
            lock=lock,
            clock=self._clock,
            every_seconds=settings.ledger.checkpoint_seconds,
            chain=chain,
        )
        await checkpoints.start(create=create)
        await asyncio.to_thread(publish_keys, folders, chain)
        stack.push_async_callback(checkpoints.aclose)
        if tiles is not None:
            publisher = TilePublisher(
                store=store,
                tiles=tiles,
                checkpoints=checkpoints,
                sequencer=sequencer,
                every_seconds=settings.tiles.publish_seconds,
                hot_entries=settings.tiles.hot_entries,
            )
            await publisher.start()
            stack.push_async_callback(publisher.aclose)
        blobs = LocalBlobs(folders.data / "blobs")
        await blobs.start()
        stack.push_async_callback(blobs.aclose)
        index = LedgerIndex(ledger=self.ledger, store=store, kept=SqliteIndexStore(folders.index))
        indexer = Indexer(index)
        await indexer.start()
        stack.push_async_callback(indexer.aclose)
        packs = bundled_packs()
        compiled = Packs([pack for pack, _ in packs], store.fetch_document)
        services = self._wire(sequencer, store, index, keys, checkpoints, blobs, compiled)
        await sequencer.submit(lambda book: self._say_what_the_system_is(book, packs, compiled))
        await services.retention.start()
        stack.push_async_callback(services.retention.aclose)
        self.leftovers = Leftovers(sequencer=sequencer, keys=keys, blobs=blobs, photos=services.photos)
        self.leftovers.start()
        stack.push_async_callback(self.leftovers.aclose)
        await checkpoints.publish()
        if not create:
            await services.anchors.start()
        stack.push_async_callback(services.anchors.aclose)
        return services

    def _open_keys(self, *, create: bool) -> Keys:
        sealed_by = self._settings.keys.passphrase_file
        passphrase = None if sealed_by is None else read_passphrase(sealed_by)
        custody = KeyFile(self.folders.key_file, self.name, passphrase=passphrase)
        if create and not self.folders.key_file.exists():
            custody.create(self._clock())
        store = SqliteKeyStore(self.folders.key_store, self.name)
        keys = Keys(self.name, custody, store, clock=self._clock, random=os.urandom)
        keys.start(create=create)
        return keys

    def _wire(
        self,
        sequencer: Sequencer,
        store: LedgerStore,
        index: LedgerIndex,
        keys: Keys,
        checkpoints: Checkpoints,
        blobs: LocalBlobs,
        packs: Packs,
    ) -> Tenant:
        settings = self._settings
        issuer = Issuer(ledger=self.ledger, keys=keys)
        people = People(sequencer=sequencer, store=store, issuer=issuer)
        sealing = Sealing(keys=keys, random=os.urandom)
        gate = Gate(
            sequencer=sequencer,
            keys=keys,
            issuer=issuer,
            packs=packs,
            sealing=sealing,
            people=people,
            engine_version=engine_version(),
            permit_life=timedelta(seconds=settings.gate.permit_seconds),
            unknown_regions=frozenset(settings.gate.unknown_regions),
        )
        retention = Retention(
            sequencer=sequencer,
            store=store,
            keys=keys,
            issuer=issuer,
            blobs=blobs,
            gate=gate,
            unrecoverable_after=timedelta(days=settings.keys.epoch_days + settings.keys.grace_days),
        )
        audit = Audit(store=store, index=index, issuer=issuer, checkpoints=checkpoints)
        anchors = self._anchors(store, checkpoints, audit)
        limits = PhotoLimits(settings.vault.max_photo_bytes, settings.vault.max_photo_pixels)
        registry = Registry(sequencer=sequencer, store=store, people=people, sealing=sealing, retention=retention)
        return Tenant(
            gate=gate,
            notices=Notices(sequencer=sequencer, store=store),
            notice_diffs=NoticeDiffs(store=store, reader=audit.reader),
            releases=Releases(sequencer=sequencer, issuer=issuer, people=people, sealing=sealing, retention=retention),
            registry=registry,
            activation=Activation(sequencer=sequencer, packs=packs, bundled=bundled_packs()),
            reviews=Reviews(sequencer=sequencer, store=store, registry=registry, sealing=sealing, packs=packs),
            statements=Statements(sequencer=sequencer, sealing=sealing),
            photos=Photos(
                sequencer=sequencer,
                gate=gate,
                keys=keys,
                issuer=issuer,
                people=people,
                blobs=blobs,
                masker=PillowMasker(limits.max_pixels),
                limits=limits,
                clock=self._clock,
                random=os.urandom,
            ),
            identifiers=Identifiers(
                sequencer=sequencer, gate=gate, keys=keys, issuer=issuer, clock=self._clock, random=os.urandom
            ),
            retention=retention,
            audit=audit,
            anchors=anchors,
            coverage=Coverage(
                reader=audit.reader,
                index=index,
                clock=self._clock,
                reporting=timedelta(seconds=settings.gate.reporting_seconds),
            ),
            checkpoints=checkpoints,
            evidence=evidence(store, self.folders, checkpoints.key, self._clock),
            people=people,
            sequencer=sequencer,
            rotation=Rotation(sequencer=sequencer, keys=keys, checkpoints=checkpoints),
            derived=Derived(sequencer=sequencer, store=store, gate=gate),
            ends=Ends(sequencer=sequencer, people=people, sealing=sealing, retention=retention),
            enforcement=Enforcement(sequencer=sequencer),
            postures=Postures(
                sequencer=sequencer,
                store=store,
                packs=packs,
                settings=posture_settings(settings),
                anchored=partial(_anchored, anchors),
            ),
            rehearsal=Rehearsal(
                sequencer=sequencer,
                people=people,
                packs=packs,
                unknown_regions=frozenset(settings.gate.unknown_regions),
            ),
            explaining=Explaining(
                reader=audit.reader,
                store=store,
                packs=Packs(packs.all(), store.fetch_document),  # its own: days of old must not slow down checks
                engine=engine_version(),
                unknown_regions=frozenset(settings.gate.unknown_regions),
                reference=lambda subject_id: store.fetch_reference(people.lookup(subject_id)),
            ),
            replaying=Replaying(
                store=store,
                shelf=SqliteShelf,
                packs=lambda: Packs(packs.all(), store.fetch_document),
                engine=engine_version(),
                unknown_regions=frozenset(settings.gate.unknown_regions),
            ),
        )

    def _anchors(self, store: LedgerStore, checkpoints: Checkpoints, audit: Audit) -> Anchors:
        async def prove(old_size: int, size: int) -> Sequence[bytes]:
            return (await audit.consistency(old_size, size)).hashes

        settings = self._settings
        return Anchors(
            checkpoints=checkpoints,
            store=store,
            prove=prove,
            kept=AnchorFolder(self.folders.data),
            authorities=authorities(settings),
            witnesses=witnesses(settings),
            clock=self._clock,
            anchor_seconds=settings.anchors.anchor_seconds,
            max_unanchored_seconds=settings.ledger.max_unanchored_seconds,
        )

    async def rotate_key(self, services: Tenant) -> KeyChain:
        """Take a new ledger key and publish it.

        Args:
            services: What ``start`` returned.

        Returns:
            Every key the ledger has had, the new one last.

        Raises:
            ConsentryError: See ``Rotation.rotate``.
        """
        chain = await services.rotation.rotate(ACTOR)
        await asyncio.to_thread(publish_keys, self.folders, chain)
        return chain

    def _say_what_the_system_is(self, book: Book, packs: tuple[tuple[Pack, bytes], ...], compiled: Packs) -> None:
        """Record build, settings and packs: a new ledger begins so; a running one says what is new.

        Raises:
            ConsentryError: ``CONFIGURATION_INVALID``: other packs are active than this process has.
        """
        tenancy = self._settings.tenancy
        stated = to_plain(
            TenantFacts(
                entity_type=tenancy.entity_type,
                encrypted_at_rest=True,
                encrypted_in_transit=self._encrypted_in_transit,
                protection_at_least_other_sensitive=tenancy.protection_at_least_other_sensitive,
            )
        )
        known = book.tenant
        if book.next_index == 0:
            book.append("ledger.created", ACTOR, {"tenant": stated, "tenant_name": self.name})
        elif stated != to_plain(_flags_of(known)):
            book.append("settings.changed", ACTOR, {"tenant": stated})
        active = {pack.pack_id: pack for pack in known.packs if not pack.own}
        for pack, data in packs:
            if pack.id not in active or pack.version > active[pack.id].version:
                book.documents[pack.sha256] = data
                body = {"pack": {"pack_id": pack.id, "version": pack.version, "sha256": pack.sha256}}
                book.append("pack.activated", ACTOR, body)
        compiled.start(book.tenant.packs)
        book.append(
            "system.started",
            ACTOR,
            {
                "engine": engine_version(),
                "settings_sha256": settings_sha256(self._settings),
                "unknown_regions": sorted(self._settings.gate.unknown_regions),
            },
        )


def publish_keys(folders: TenantFolders, chain: KeyChain) -> None:
    """Write the ledger's public keys beside its data: the newest one alone, and all of them.

    Raises:
        ConsentryError: ``STORAGE_FULL`` or ``STORAGE_FAILED``.
    """
    for path, data in (
        (folders.published_keys, chain.encode()),
        (folders.published_key, f"{chain.newest.vkey}\n".encode()),
    ):
        beside = path.with_name(f".{path.name}.new")
        try:
            beside.write_bytes(data)
            beside.replace(path)
        except OSError as error:
            reason = Reason.STORAGE_FULL if error.errno == errno.ENOSPC else Reason.STORAGE_FAILED
            raise ConsentryError(
                reason, f"{path} cannot be written: {error.strerror}; mend that, then start again"
            ) from error


def tile_store(state: Path, name: str, settings: Settings) -> TileStore | None:
    """Where a tenant's tiles are published, or None where they are not."""
    publish_to = settings.tiles.publish_to
    return open_tiles(publish_to, name, state=state) if publish_to else None


def now() -> datetime:
    """The time, UTC."""
    return datetime.now(UTC)


def engine_version() -> str:
    """Version of the code that decides, as decisions name it."""
    return version("consentry-server")


def evidence(
    store: LedgerStore, folders: TenantFolders, key: VerifierKey, clock: Callable[[], datetime] = now
) -> Evidence:
    """What makes evidence packs of a ledger; it needs no secret and no running server.

    Args:
        store: For reading.
        folders: Where the tenant's things are.
        key: The ledger's published key.
        clock: Gives the time, UTC.
    """
    verifier = (resources.files("consentry_server.standalone") / "verify.py").read_bytes()
    return Evidence(
        store=store,
        settings=EvidenceSettings(key, engine_version(), verifier),
        renderer=TypstCover(),
        anchors=AnchoredFiles(folders.anchors),
        clock=clock,
    )


def settings_sha256(settings: Settings) -> str:
    """Hash of every setting, so that the ledger says under which settings the system ran."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def bundled_packs() -> tuple[tuple[Pack, bytes], ...]:
    """The law packs this build carries, compiled, with their exact bytes; the same for every tenant."""
    folder = resources.files("consentry_server.core.law") / "packs"
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    return tuple((load_pack(data, name=entry.name), data) for entry in files for data in (entry.read_bytes(),))


def posture_settings(settings: Settings) -> PostureSettings:
    """What settings say that posture looks at."""
    processors = settings.tenancy.processors
    return PostureSettings(
        permit_seconds=settings.gate.permit_seconds,
        unknown_regions=frozenset(settings.gate.unknown_regions),
        processors=None if processors is None else frozenset(processors),
        bundled=tuple(pack for pack, _data in bundled_packs()),
    )


async def _anchored(anchors: Anchors) -> str:
    """What is wrong with the ledger's anchors; empty where nothing is."""
    state = await anchors.state()
    return "" if state.anchored else state.sentence


def _flags_of(known: TenantFacts) -> TenantFacts:
    """What settings say of the tenant, without what entries recorded since."""
    return TenantFacts(
        entity_type=known.entity_type,
        encrypted_at_rest=known.encrypted_at_rest,
        encrypted_in_transit=known.encrypted_in_transit,
        protection_at_least_other_sensitive=known.protection_at_least_other_sensitive,
    )
