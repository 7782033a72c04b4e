"""What the code knows of the machine: cores, how memory is freed, the cache folder and what is remembered there."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import platform
from contextlib import suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h
NEVER = 2**31 - 1


def usable_cores() -> int:
    """CPU cores that this process may use, which a container or `taskset` may have cut down."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cache_folder() -> Path:
    """Where pinembed keeps what it may lose at any time: the folder PINEMBED_CACHE, or pinembed in the user's cache.

    The user's cache is XDG_CACHE_HOME, or ~/.cache without it. The folder need not exist yet.
    """
    own = os.environ.get("PINEMBED_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pinembed"


def recall(name: str) -> dict[str, str]:
    """Everything that was remembered in the cache folder under this name, by key."""
    try:
        stored = json.loads(_path(name).read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in stored.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def remember(name: str, key: str, value: str, *, at_most: int | None = None) -> None:
    """Best effort: where the cache cannot be written, the next run has to find out again.

    Args:
        name: of the memory.
        key: of the value; a value of the same key is replaced.
        value: to be remembered.
        at_most: values that are kept, the latest; None keeps all.
    """
    path = _path(name)
    kept = {**{other: old for other, old in recall(name).items() if other != key}, key: value}
    if at_most is not None:
        kept = dict(list(kept.items())[-at_most:])
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps(kept, indent=1), encoding="utf-8")
        partial.replace(path)


def _path(name: str) -> Path:
    return cache_folder() / f"{name}.json"


@functools.cache
def keep_freed_memory() -> bool:
    """Ask glibc to serve large blocks from its heap and to keep what is freed, for the whole process.

    glibc gives every block over 32 MiB back to the system as soon as it is freed, and a convolutional tower allocates
    hundreds of such blocks a batch: the kernel then spends more time clearing pages than the tower spends computing.
    Memory stays at its peak instead of going up and down. Other C libraries are left as they are.

    Returns:
        whether glibc was asked and agreed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0)) and bool(libc.mallopt(M_TRIM_THRESHOLD, NEVER))
