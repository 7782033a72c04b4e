"""Large JPEGs decoded at a part of their size: nearly the same pixels, and only where there is enough of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pinembed.images.decode import decode_image
from pinembed.images.jpeg import load_reduced
from pinembed.images.preprocess import preprocess
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.reports.encode import EncodeReport
from tests.encoding import counts, rows_of

pytest_plugins = ("tests.encoding_fixtures",)


def preprocessing(resize_mode: str = "shortest") -> Preprocessing:
    return Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize_mode=resize_mode)


def photo(width_px: int, height_px: int, **options: Any) -> bytes:
    """A smooth picture with a little noise, as a camera gives it."""
    y, x = np.mgrid[0:height_px, 0:width_px] / (width_px / 9)
    smooth = np.stack([128 + 90 * np.sin(x + 2 * y), 128 + 90 * np.cos(2 * x - y), 128 + 60 * np.sin(x * y)], axis=2)
    noisy = smooth + np.random.default_rng(0).normal(0, 3, smooth.shape)
    stream = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_reduced_picture_is_upright_and_nearly_the_whole_ones(orientation: int, resize_mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = photo(640, 480, exif=exif)
    whole = decode_image(content, name="photo")

    reduced = load_reduced(content, preprocessing(resize_mode))

    assert reduced is not None
    pixels_CHW, *size = reduced
    assert tuple(size) == whole.size
    difference = np.abs(pixels_CHW.astype(int) - preprocess(whole, preprocessing(resize_mode)).astype(int))
    assert difference.mean() < 1
    assert difference.max() <= 6


def test_reduced_decoding_leaves_what_is_small_odd_or_broken_to_the_common_way() -> None:
    whole = photo(640, 480)
    png = io.BytesIO()
    Image.new("RGB", (640, 480)).save(png, "PNG")
    left = {
        "less than four times what is needed": photo(126, 126),
        "strip": photo(2000, 100),
        "png": png.getvalue(),
        "truncated": whole[: len(whole) // 2],
        "header only": whole[:12],
    }

    assert {name: load_reduced(content, preprocessing()) for name, content in left.items()} == dict.fromkeys(left)
    assert load_reduced(photo(128, 128), preprocessing()) is not None


def test_encode_with_reduced_decoding_stores_the_whole_size_and_a_vector_like_the_whole_ones(
    run: Callable[..., EncodeReport], tmp_path: Path, table: str
) -> None:
    photos = tmp_path / "large"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(photo(640, 480))

    run(photos, reduced_decode=True)
    run(photos, table=f"{table}-whole")

    reduced, whole = rows_of(table)["a.jpg"], rows_of(f"{table}-whole")["a.jpg"]
    assert (reduced["width_px"], reduced["height_px"], reduced["sha256"]) == (640, 480, whole["sha256"])
    assert reduced["vector"] != whole["vector"]
    assert np.dot(reduced["vector"], whole["vector"]) > 0.99
    assert counts(run(photos)) == {"unchanged": 1}
