"""What the code knows of the machine, and that there is one cache folder."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from pinembed.encoder.backends.choose import model_folder
from pinembed.machine import cache_folder, keep_freed_memory, recall, remember
from pinembed.table.address import parse_address


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
    assert parse_address("s3://bucket/db/pins").lock_path.is_relative_to(folder)

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
