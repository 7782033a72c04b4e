"""What the code knows of the machine, and that there is one cache folder."""

from __future__ import annotations

import errno
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from pinembed.encoder.backends.choose import model_folder
from pinembed.machine import cache_folder, keep_freed_memory, recall, remember, running_neighbours, wait_policy


def test_freed_memory_is_kept_where_the_c_library_is_glibc() -> None:
    assert keep_freed_memory() is (platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("own", [False, True])
def test_everything_that_is_cached_lies_in_one_folder(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PINEMBED_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    folder = tmp_path / "user" / "pinembed"
    if own:  # goes before the user's cache
        folder = tmp_path / "own"
        monkeypatch.setenv("PINEMBED_CACHE", str(folder))

    assert cache_folder() == folder
    assert model_folder("fingerprint", 64).is_relative_to(folder)

    remember("memory", "key", "value")
    assert (folder / "memory.json").is_file()
    assert recall("memory") == {"key": "value"}


def test_the_cache_lies_in_the_home_folder_where_nothing_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PINEMBED_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert cache_folder() == tmp_path / ".cache" / "pinembed"


@pytest.mark.parametrize(
    ("running", "wanted", "cores", "chosen"),
    [
        (0, 2, 2, {"GOMP_SPINCOUNT": "10000"}),
        (1, 2, 2, {"OMP_WAIT_POLICY": "PASSIVE"}),
        (3, 2, 64, {"GOMP_SPINCOUNT": "10000"}),  # a container with two of many cores
    ],
)
def test_threads_sleep_where_neighbours_want_the_cores_and_spin_shortly_elsewhere(
    running: int, wanted: int, cores: int, chosen: dict[str, str]
) -> None:
    assert wait_policy(given={}, running=running, wanted=wanted, cores=cores) == chosen


@pytest.mark.parametrize("own", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_the_users_own_wait_policy_wins(own: str) -> None:
    assert wait_policy(given={own: "x"}, running=9, wanted=2, cores=2) == {}


def test_a_busy_neighbour_is_seen() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as neighbour:
        try:
            assert any(running_neighbours() >= 1 for _ in range(20))
        finally:
            neighbour.kill()


def test_a_memory_that_cannot_be_kept_leaves_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setenv("PINEMBED_CACHE", str(tmp_path))
    monkeypatch.setattr(Path, "replace", full)
    remember("memory", "key", "value")
    assert list(tmp_path.iterdir()) == []
