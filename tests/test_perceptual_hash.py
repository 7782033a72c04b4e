"""The hashes at a DATA folder's images: made once, kept in the cache folder, not believed where they may be wrong."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.splits import SplitDecision, decide_splits
from pinembed.images import near_duplicates
from pinembed.images import perceptual_hash as hashes
from pinembed.images.perceptual_hash import ImageHash, hash_image, recall_hashes, remember_hashes
from pinembed.nouns.progress import Silent
from tests.test_near_duplicates import encoded, photo, write_shop

IMAGES = 24


class Counted(Silent):
    """Counts the images that are looked at."""

    def __init__(self) -> None:
        self.images = 0

    def advance(self, n: int = 1, note: str = "") -> None:
        self.images += n


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PINEMBED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hashes"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    pictures = {f"{index:02}.jpg": encoded(photo(index // 2, 96), 90 - index % 2) for index in range(IMAGES)}
    return write_shop(tmp_path / "shop", pictures, title=[f"thing {index}" for index in range(IMAGES)])


def decided(shop: Path) -> tuple[SplitDecision, int]:
    progress = Counted()
    return decide_splits(read_catalogue(shop), group=None, progress=progress), progress.images


def test_a_second_decision_looks_at_nothing_and_is_the_same(shop: Path, cache: Path) -> None:
    first, looked_at_first = decided(shop)
    second, looked_at_second = decided(shop)
    assert (looked_at_first, looked_at_second) == (IMAGES, 0)
    assert second == first
    assert len(first.near_duplicates.pairs) == IMAGES // 2
    (kept,) = cache.iterdir()
    assert kept.stat().st_size < 400 * IMAGES + 4000


def test_a_relative_path_and_a_link_to_the_folder_find_the_same_looks(
    shop: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decided(shop)
    monkeypatch.chdir(shop.parent)
    Path("link").symlink_to(shop)
    assert decided(Path(shop.name))[1] == 0
    assert decided(Path("link"))[1] == 0


def test_only_new_and_changed_files_are_looked_at_again(shop: Path, cache: Path) -> None:
    decided(shop)
    (shop / "images" / "04.jpg").write_bytes(encoded(photo(99, 96), 90))  # no longer that of 05.jpg
    found, looked_at = decided(shop)
    assert looked_at == 1
    assert len(found.near_duplicates.pairs) == IMAGES // 2 - 1

    os.utime(shop / "images" / "06.jpg", ns=(0, 0))
    assert decided(shop)[1] == 1
    assert decided(shop)[1] == 0


def test_an_image_that_cannot_be_decoded_is_looked_at_each_time(shop: Path, cache: Path) -> None:
    (shop / "images" / "04.jpg").write_bytes(b"no image")
    first, _ = decided(shop)
    written_ns = next(cache.iterdir()).stat().st_mtime_ns
    second, looked_at = decided(shop)
    assert looked_at == 1
    assert second == first
    assert len(first.near_duplicates.broken) == 1
    assert next(cache.iterdir()).stat().st_mtime_ns == written_ns  # nothing new, nothing written


@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty", "other bytes", "a folder"])
def test_damaged_looks_are_ignored_and_made_anew(damage: str, shop: Path, cache: Path) -> None:
    first, _ = decided(shop)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    if damage == "a folder":
        kept.unlink()
        kept.mkdir()
    else:
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        contents = {"cut short": whole[:-100], "one bit": bytes(flipped), "empty": b"", "other bytes": b"{}" * 999}
        kept.write_bytes(contents[damage])
    second, looked_at = decided(shop)
    assert looked_at == IMAGES
    assert second == first
    if damage != "a folder":
        assert decided(shop)[1] == 0


def test_looks_of_another_version_are_ignored(shop: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decided(shop)
    monkeypatch.setattr(hashes, "version", lambda _: "0.0")
    assert decided(shop)[1] == IMAGES


def test_a_cache_that_cannot_be_written_costs_only_time(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PINEMBED_CACHE", str(tmp_path / "file" / "cache"))
    assert decided(shop)[1] == IMAGES
    assert decided(shop)[1] == IMAGES


def test_a_stopped_look_is_not_in_vain(shop: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(Counted):
        def advance(self, n: int = 1, note: str = "") -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(near_duplicates, "BATCH", 8)
    with pytest.raises(KeyboardInterrupt):
        decide_splits(read_catalogue(shop), group=None, progress=Stopped())
    assert decided(shop)[1] == IMAGES - 8


def test_runs_that_write_at_once_leave_one_whole_file(shop: Path, cache: Path) -> None:
    items = read_catalogue(shop).items
    found = {item.file_name: hash_image(item.path) for item in items}

    def write(number: int) -> None:
        for count in range(1, 10):
            remember_hashes(shop, dict(list(found.items())[: number + count]))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(cache.iterdir())) == 1
    recalled = recall_hashes(shop)
    assert recalled
    assert all(same(look, found[name]) for name, look in recalled.items())


def same(one: ImageHash, other: ImageHash) -> bool:
    return (
        (one.sha256, one.size_bytes, one.mtime_ns) == (other.sha256, other.size_bytes, other.mtime_ns)
        and one.perceptual_hash.bits_H.tolist() == other.perceptual_hash.bits_H.tolist()
        and one.perceptual_hash.colour.tolist() == other.perceptual_hash.colour.tolist()
    )


def test_the_oldest_looks_go_where_all_together_are_too_many(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(photo(0), 90))
    look = {"photo.jpg": hash_image(path)}
    folders = [tmp_path / name for name in ("old", "middle", "new")]
    remember_hashes(folders[0], look)
    size_bytes = next(cache.iterdir()).stat().st_size
    monkeypatch.setattr(hashes, "KEPT_BYTES", round(2.5 * size_bytes))
    (old,) = cache.iterdir()
    os.utime(old, (1, 1))
    remember_hashes(folders[1], look)
    (middle,) = set(cache.iterdir()) - {old}
    os.utime(middle, (2, 2))
    remember_hashes(folders[2], look)
    assert [bool(recall_hashes(folder)) for folder in folders] == [False, True, True]

    monkeypatch.setattr(hashes, "KEPT_BYTES", 1)
    remember_hashes(folders[1], look)  # the newest stays whatever its size
    assert [bool(recall_hashes(folder)) for folder in folders] == [False, True, False]
