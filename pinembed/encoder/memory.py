"""Keep freed memory for the next batch.

glibc gives every block over 32 MiB back to the system as soon as it is freed, and a convolutional tower allocates
hundreds of such blocks a batch: the kernel then spends more time clearing pages than the tower spends computing.
"""

from __future__ import annotations

import ctypes
import functools
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h
NEVER = 2**31 - 1


@functools.cache
def keep_freed_memory() -> bool:
    """Ask glibc to serve large blocks from its heap and to keep what is freed, for the whole process.

    Memory stays at its peak instead of going up and down. Other C libraries are left as they are.

    Returns:
        whether glibc was asked and agreed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return bool(libc.mallopt(M_MMAP_MAX, 0)) and bool(libc.mallopt(M_TRIM_THRESHOLD, NEVER))
