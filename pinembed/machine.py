"""What the code knows of the machine: how many cores a run has, how memory is freed, where the cache folder lies."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
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
