"""Decoded images: the same pixels for every command, kept where that is faster and fits, decoded anew otherwise."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

from pinembed.catalogue.folder import read_catalogue
from pinembed.errors import ImageError
from pinembed.images import pixel_cache as pixels
from pinembed.images import pool as pool_module
from pinembed.images.loading import LoadedImage, LoadRequest, WorkerSetup, load_pixels
from pinembed.images.pixel_cache import PixelCache, decoded_batches
from pinembed.images.pool import LoadingPool
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.item import Item
from pinembed.nouns.progress import SILENT
from tests.conftest import CliResult, draw_item

SIDE_PX = 24
IMAGE_BYTES = 3 * SIDE_PX * SIDE_PX
PREPROCESSING = Preprocessing(image_px=SIDE_PX, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def store(items: tuple[Item, ...], *, limit: int) -> PixelCache:
    return PixelCache(items, PREPROCESSING, limit_bytes=limit * IMAGE_BYTES, progress=SILENT)


@pytest.fixture
def items(catalogue_folder: Path) -> tuple[Item, ...]:
    return tuple(read_catalogue(catalogue_folder).items)


def test_all_images_that_fit_stay_decoded(items: tuple[Item, ...]) -> None:
    report = store(items, limit=1000).report
    assert (report.kept, report.images, report.kept_bytes) == (len(items), len(items), len(items) * IMAGE_BYTES)
    assert 0 < report.read_ms <= report.decode_ms
    assert f"{len(items)} of {len(items)} stay decoded" in str(report)


@pytest.mark.parametrize("limit", [0, 5])
def test_images_beyond_the_limit_are_decoded_anew_to_the_same_pixels(items: tuple[Item, ...], limit: int) -> None:
    whole, part = store(items, limit=1000), store(items, limit=limit)
    assert part.report.kept == limit
    for indices in ([3, 9, 3], [9, 0, 20]):
        part.prepare([20, 21])
        assert torch.equal(part.batch(indices), whole.batch(indices))


def test_images_are_decoded_whenever_they_are_shown_where_that_is_faster(
    items: tuple[Item, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = store(items, limit=1000)
    monkeypatch.setattr(pixels, "_seconds_to_read", lambda kept: 1e3)
    swapping = store(items, limit=1000)
    assert (swapping.report.kept, swapping.report.kept_bytes) == (0, 0)
    assert str(swapping.report).endswith("reading a kept one 1000000.00 ms: images are decoded whenever they are shown")
    assert torch.equal(swapping.batch([1, 2]), whole.batch([1, 2]))


def test_broken_images_take_no_place(items: tuple[Item, ...]) -> None:
    items[1].path.write_bytes(b"no picture")
    found = store(items, limit=1000)
    assert found.broken == (items[1].file_name,)
    assert found.report.kept == len(found) == len(items) - 1
    assert torch.equal(found.batch([1]), store(items[2:], limit=1000).batch([0]))


def test_next_batch_is_decoded_while_this_one_is_in_use(items: tuple[Item, ...]) -> None:
    part = store(items, limit=0)
    part.prepare([4])
    part._begun[4].result()
    items[4].path.unlink()
    assert part.batch([4]).shape == (1, 3, SIDE_PX, SIDE_PX)
    with pytest.raises(ImageError):
        part.batch([4])


def test_finetune_tells_and_writes_down_whether_images_stay_decoded(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = cli("finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "1")
    assert "decoding takes" in result.words
    report = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["pixels"]
    assert report["kept"] == report["images"] > 0
    assert report["read_ms"] <= report["decode_ms"]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Item, ...]:
    """Pictures of which some go the fast way and some go Pillow's."""
    folder = tmp_path_factory.mktemp("kinds")
    noise = Image.effect_noise((160, 90), 60)
    picture = Image.merge(
        "RGB", (noise, noise.rotate(180), draw_item("red", "circle", 0).resize((160, 90)).getchannel(0))
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "plain.jpg", quality=90)
    picture.save(folder / "turned.jpg", quality=90, exif=exif)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.resize((1200, 20)).save(folder / "strip.jpg")
    picture.save(folder / "picture.png")
    return tuple(Item(id=path.name, file_name=path.name, path=path) for path in sorted(folder.iterdir()))


@pytest.fixture(scope="module")
def encoded(kinds: tuple[Item, ...]) -> torch.Tensor:
    """Their pixels as `encode` gets them."""
    requests = [LoadRequest(index=index, image=item.path) for index, item in enumerate(kinds)]
    with LoadingPool(WorkerSetup(preprocessing=PREPROCESSING), workers=2, image_limit_s=60, ahead=2) as pool:
        answers = dict(pool.load(requests))
    found = [answers[index] for index in range(len(kinds))]
    return torch.stack([torch.from_numpy(one.pixels_CHW) for one in found if isinstance(one, LoadedImage)])


@pytest.mark.parametrize("limit", [0, 1000])
def test_training_sees_the_very_pixels_that_encode_sees(
    kinds: tuple[Item, ...], encoded: torch.Tensor, limit: int
) -> None:
    assert torch.equal(store(kinds, limit=limit).batch(range(len(kinds))), encoded)


def test_query_image_has_the_very_pixels_that_encode_sees(kinds: tuple[Item, ...], encoded: torch.Tensor) -> None:
    query = torch.stack([torch.from_numpy(load_pixels(item.path, PREPROCESSING)) for item in kinds])
    assert torch.equal(query, encoded)


def test_pixels_are_the_same_whether_torch_is_imported_before_or_after_or_never(kinds: tuple[Item, ...]) -> None:
    program = """
import sys, hashlib
from pathlib import Path
from pinembed.images.loading import load_pixels
from pinembed.nouns.encoder_spec import Preprocessing
when, path = sys.argv[1:]
if when == "before":
    import torch, torchvision
pixels = load_pixels(Path(path), Preprocessing(image_px=24, mean=(0.5,) * 3, std=(0.5,) * 3))
if when == "after":
    import torch, torchvision
    assert torch.from_numpy(pixels).float().mean() > 0
print(hashlib.sha256(pixels.tobytes()).hexdigest())
"""
    path = str(next(item.path for item in kinds if item.file_name == "plain.jpg"))
    printed = {
        subprocess.run([sys.executable, "-c", program, when, path], capture_output=True, text=True, check=True).stdout
        for when in ("before", "after", "never")
    }
    assert len(printed) == 1


@pytest.fixture
def troubled_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadingPool]:
    monkeypatch.setattr(pool_module, "WORKER", "tests.troubled_worker")
    with LoadingPool(WorkerSetup(preprocessing=PREPROCESSING), workers=2, image_limit_s=3) as pool:
        yield pool


def test_image_that_crashes_its_decoder_or_never_ends_is_broken_and_costs_no_other(
    troubled_pool: LoadingPool, tmp_path: Path
) -> None:
    names = ["a.png", "crash.png", "endless.png", "b.png", "c.png"]
    for name in names:
        draw_item("red", "circle", 0).save(tmp_path / name)
    items = [Item(id=name, file_name=name, path=tmp_path / name) for name in names]

    cache = PixelCache(items, PREPROCESSING, limit_bytes=0, progress=SILENT, pool=troubled_pool)

    assert cache.broken == ("crash.png", "endless.png")
    assert [item.file_name for item in cache.items] == ["a.png", "b.png", "c.png"]
    assert cache.batch([0, 2]).shape == (2, 3, SIDE_PX, SIDE_PX)
    found = list(decoded_batches(items, troubled_pool, batch_size=2))
    assert [batch.indices for batch in found] == [(0,), (3,), (4,)]
    assert [batch.broken for batch in found] == [("crash.png",), ("endless.png",), ()]


def test_all_splits_of_a_run_load_by_one_pool(items: tuple[Item, ...]) -> None:
    assert store(items[:3], limit=0)._pool is store(items[3:], limit=0)._pool
