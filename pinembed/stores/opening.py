"""An obstore store for a place, from the environment and --storage-option; the only module that makes one."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinembed.errors import MissingExtraError, UsageError
from pinembed.stores.address import Address, Place
from pinembed.stores.answers import telling
from pinembed.stores.options import storage_options

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CLIENT_OPTIONS = frozenset(
    {
        *("allow_http", "allow_invalid_certificates", "connect_timeout", "http1_only", "http2_only", "proxy_url"),
        *("pool_idle_timeout", "pool_max_idle_per_host", "read_timeout", "timeout", "user_agent"),
        "randomize_addresses",
    }
)
"""Of HTTP, and not of a provider; obstore wants them apart."""
LANCE_ONLY = frozenset({"client_max_retries", "client_retry_timeout", "download_retry_count", "max_retries"})
BOOLEANS = frozenset({"allow_http", "allow_invalid_certificates", "http1_only", "http2_only", "randomize_addresses"})
PREFIXES = ("aws_", "google_", "azure_")
TIMES = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "300s"}
MAX_RETRIES, RETRY_S = 4, 20.0
"""A store that is away is told in well under a minute; obstore itself would try for three."""


def open_store(place: Place) -> ObjectStore:
    """The store of a container, or of a folder; keys are relative to it.

    Raises:
        MissingExtraError: obstore is not installed.
        UsageError: a storage option that the provider does not have.
        StoreError: a store cannot be made of the environment and the options.
    """
    try:
        from obstore.store import LocalStore
    except ImportError as error:
        raise MissingExtraError(f"{place}", extra="cloud", package="obstore") from error
    if isinstance(place, Path):
        return LocalStore(place)
    return _opened(Address(place.scheme, place.container), tuple(sorted(storage_options().items())))


@functools.lru_cache(maxsize=32)
def _opened(container: Address, options: tuple[tuple[str, str], ...]) -> ObjectStore:
    from obstore.exceptions import UnknownConfigurationKeyError
    from obstore.store import from_url

    provider, client = _sorted(dict(options))
    try:
        with telling(container):
            made: ObjectStore = from_url(
                container.root,
                config=provider or None,
                client_options=client,
                retry_config={"max_retries": MAX_RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)},
            )
            return made
    except Exception as error:
        if isinstance(error.__cause__, UnknownConfigurationKeyError):
            raise UsageError(
                f"--storage-option: {str(error.__cause__).splitlines()[0]}",
                remedy="Give Lance's keys, such as aws_endpoint, aws_region, aws_access_key_id, allow_http.",
            ) from error
        raise


def _sorted(options: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Options of the provider, and those of HTTP."""
    provider: dict[str, str] = {}
    client: dict[str, Any] = dict(TIMES)
    for key, value in options.items():
        plain = key
        for prefix in PREFIXES:
            plain = plain.removeprefix(prefix)
        if plain in CLIENT_OPTIONS:
            client[plain] = value.strip().lower() in {"1", "true", "yes", "on"} if plain in BOOLEANS else value
        elif key not in LANCE_ONLY:
            provider[key] = value
    return provider, client
