"""What the code knows of the machine: cores, device, how memory is freed, the cache folder and what it remembers."""

from __future__ import annotations

import ctypes
import functools
import getpass
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pinembed.errors import OutputError, UsageError
from pinembed.outfolder import whole_file

if TYPE_CHECKING:
    import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from glibc's malloc.h
NEVER = 2**31 - 1
GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap", "/dev/nvhost-gpu", "/dev/kfd")
LARGEST_INT = 2**63 - 1
LARGEST_OF_FLOAT = 2**53  # from there on a float64 does not hold every whole number
WAIT_VARIABLES = frozenset({"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"})
SHORT_SPIN = "10000"
LOADAVG = Path("/proc/loadavg")
MOMENTS, MOMENT_S = 3, 0.004


def user_name() -> str:
    """Who runs this, as the system knows it; the user's number where it knows no name, as in many containers."""
    try:
        return getpass.getuser()
    except (KeyError, ImportError, OSError):
        return f"user {os.getuid()}"


def usable_cores() -> int:
    """CPU cores that this process may use, which a container or `taskset` may have cut down."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def wait_policy(*, given: Mapping[str, str], running: int, wanted: int, cores: int) -> dict[str, str]:
    """How the threads of torch's OpenMP wait for each other, as environment variables.

    By default they spin for some milliseconds, which is ruin beside neighbours: the thread that spins burns the core
    that the one it waits for has lost. There, sleeping at once is two to five times as fast
    (tests/benchmarks/wait_policy.py). On a free machine a thirtieth of that spin is as fast, for a tenth less CPU time
    (tests/benchmarks/busy_machine.py).

    Args:
        given: environment of the user, whose own setting wins.
        running: other threads that run on the machine now.
        wanted: threads of this process.
        cores: of the machine.

    Source: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    """
    if WAIT_VARIABLES & given.keys():
        return {}
    return {"OMP_WAIT_POLICY": "PASSIVE"} if running + wanted > cores else {"GOMP_SPINCOUNT": SHORT_SPIN}


def set_wait_policy() -> None:
    """Choose it for this process and those that it starts; before torch is imported, which reads it once."""
    running = running_neighbours()
    os.environ.update(
        wait_policy(given=os.environ, running=running, wanted=usable_cores(), cores=os.cpu_count() or running + 1)
    )


def running_neighbours() -> int:
    """Threads of others that want a core: the fewest of three moments, so that a passing one does not count."""
    moments = []
    for _ in range(MOMENTS):
        try:
            running = LOADAVG.read_text().split()[3].partition("/")[0]
        except (OSError, IndexError):  # not Linux
            return 0
        moments.append(int(running) - 1)  # without the one that asks
        time.sleep(MOMENT_S)
    return max(0, min(moments))


def choose_device(name: str = "auto") -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        UsageError: the device that was named is not there.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {name} cannot be used here: {str(error).splitlines()[0]}",
            remedy="Give auto, cpu, or a device that `pinembed doctor` lists.",
        ) from error
    return device


def device_name(name: str = "auto") -> str:
    """Name of the device that `choose_device` gives; where it can only be the CPU, without loading torch.

    Raises:
        UsageError: the device that was named is not there.
    """
    if name == "cpu" or (name == "auto" and _has_no_gpu()):
        return "cpu"
    return str(choose_device(name))


def _has_no_gpu() -> bool:
    """Whether no driver of a GPU is there; False where that cannot be told by looking at files."""
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"} and not Path("/dev/kfd").exists()
    return sys.platform == "linux" and (is_hidden or not any(Path(file).exists() for file in GPU_FILES))


def mtime_ns_of(status: os.stat_result) -> int:
    """Last change of a file, nanoseconds since 1970; what 64 bits cannot hold counts as the year 2262."""
    return max(-LARGEST_INT, min(status.st_mtime_ns, LARGEST_INT))


def disk_of(folder: str) -> int:
    """The number of the disk that a folder lies on, links followed, as far as 64 bits with a sign hold it.

    Raises:
        OSError: the folder is not there.
    """
    return os.stat(folder).st_dev & LARGEST_INT  # noqa: PTH116


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
    with suppress(OutputError), whole_file(path) as file:
        file.write_text(json.dumps(kept, indent=1), encoding="utf-8")


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
