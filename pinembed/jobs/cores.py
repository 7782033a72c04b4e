"""How many CPU cores a run has."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """CPU cores that this process may use, which a container or `taskset` may have cut down."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
