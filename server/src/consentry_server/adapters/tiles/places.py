"""From the setting to the place: a folder, or object storage by its URL."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from obstore.exceptions import BaseError
from obstore.store import from_url

from consentry_server.adapters.tiles.folder import FolderTiles
from consentry_server.adapters.tiles.objects import ObjectTiles
from consentry_server.core.errors import ConsentryError, Reason

if TYPE_CHECKING:
    from pathlib import Path

    from consentry_server.services.ports_tiles import TileStore

CONNECT_TIMEOUT: Final = timedelta(seconds=2)
TIMEOUT: Final = timedelta(seconds=5)
MAX_RETRIES: Final = 1
RETRY_TIMEOUT: Final = timedelta(seconds=5)
"""Give up soon: the publisher comes again by itself, and who reads an old entry is told."""


def open_tiles(publish_to: str, ledger: str, *, state: Path) -> TileStore:
    """Name the place of one ledger's tiles. Nothing is touched yet.

    Args:
        publish_to: The setting: a folder, relative to the state folder, or a URL such as ``s3://bucket/prefix``, whose
            credentials are those that the platform gives (``AWS_ACCESS_KEY_ID`` and the like).
        ledger: The tenant's name; its tiles lie under it.
        state: The state folder.

    Returns:
        The store.

    Raises:
        ConsentryError: ``CONFIGURATION_INVALID``: the URL or its credentials cannot be used.
    """
    if "://" not in publish_to:
        return FolderTiles(state / publish_to / ledger)
    url = f"{publish_to.rstrip('/')}/{ledger}"
    try:
        store = from_url(
            url,
            client_options={
                "connect_timeout": CONNECT_TIMEOUT,
                "timeout": TIMEOUT,
                "allow_http": os.environ.get("AWS_ALLOW_HTTP", "") == "true",  # obstore reads it only without options
            },
            retry_config={"max_retries": MAX_RETRIES, "retry_timeout": RETRY_TIMEOUT},
        )
    except (BaseError, ValueError) as error:
        raise ConsentryError(
            Reason.CONFIGURATION_INVALID,
            f"tiles.publish_to {publish_to} cannot be used: give the bucket's URL, and credentials in the environment",
            field="tiles.publish_to",
        ) from error
    return ObjectTiles(store, url)
