"""Decoded images: kept where that is faster and fits, decoded anew otherwise, and the same pixels either way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pinembed.catalogue.folder import read_catalogue
from pinembed.errors import ImageError
from pinembed.images import pixel_cache as pixels
from pinembed.images.pixel_cache import PixelCache
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.item import Item
from pinembed.nouns.progress import SILENT
from tests.conftest import CliResult

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
