"""What is measured on one image: its pixels and the bytes around them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pinembed.images.libtorch import Libtorch
from pinembed.nouns.measures import PictureMeasures
from pinembed.quality.blocks import metadata_blocks
from pinembed.quality.measure import measure_image
from pinembed.quality.picture import as_pixels, measure_picture, resize_by_pillow
from pinembed.reports.encode import EncodeReport
from pinembed.table.address import parse_address
from pinembed.table.quality_tables import MeasureTable

pytest_plugins = ("tests.encoding_fixtures",)


def measured(image: Image.Image) -> PictureMeasures:
    return measure_picture(as_pixels(image.convert("RGB")), resize_by_pillow)


def scene(size: tuple[int, int] = (320, 240), seed: int = 0) -> Image.Image:
    """Boxes of all sizes and colours, as sharp as a photo is at most."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, (120, 130, 140))
    draw = ImageDraw.Draw(image)
    for _ in range(300):
        x, y, side = rng.integers(0, size[0]), rng.integers(0, size[1]), rng.integers(3, 40)
        draw.rectangle((x, y, x + side, y + side // 2 + 1), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def jpeg(image: Image.Image, quality: int = 85, **given: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, **given)
    return file.getvalue()


def test_blur_lowers_sharpness_whatever_the_contrast() -> None:
    whole = scene()
    pale = whole.point([128 + (value - 128) // 4 for value in range(256)] * 3)
    blurred = whole.filter(ImageFilter.GaussianBlur(5))
    assert measured(blurred).sharpness < 0.08 < 0.15 < measured(whole).sharpness
    assert measured(pale).sharpness == pytest.approx(measured(whole).sharpness, rel=0.1)


@pytest.mark.parametrize("size", [(320, 240), (1300, 900), (31, 47), (2000, 3), (1, 1)])
def test_both_decoders_measure_alike_whatever_the_size(size: tuple[int, int]) -> None:
    try:
        torch = Libtorch()
    except (OSError, AttributeError):
        pytest.skip("torch's libraries cannot be called")
    picture_CHW = as_pixels(scene(size))
    fast, slow = measure_picture(picture_CHW, torch.resize), measure_picture(picture_CHW, resize_by_pillow)
    for name in ("luma", "chroma"):
        both = [np.frombuffer(getattr(found, name), dtype=np.uint8).astype(int) for found in (fast, slow)]
        assert np.abs(both[0] - both[1]).max() <= 3
    assert (fast.sharpness, fast.entropy, fast.ground) == (slow.sharpness, slow.entropy, slow.ground)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_measures_are_those_of_their_definitions(seed: int) -> None:
    image = scene((256, 256), seed)
    found = measured(image)
    small_HWC = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    luma_HW = small_HWC @ np.array([77, 150, 29]) // 256
    assert found.luma == luma_HW.astype(np.uint8).tobytes()
    halves = [(small_HWC[..., channel] - luma_HW).reshape(8, 4, 8, 4).mean(axis=(1, 3)) / 2 for channel in (2, 0)]
    assert found.chroma == np.clip(np.rint(128 + np.stack(halves)), 0, 255).astype(np.uint8).tobytes()
    green_LW = np.asarray(image)[np.linspace(0, 255, 48).astype(int), :, 1]
    counts = np.bincount(green_LW.ravel(), minlength=256)
    shares = counts[counts > 0] / counts.sum()
    assert found.entropy == pytest.approx(-(shares * np.log2(shares)).sum(), abs=1e-9)
    assert found.ground == counts.reshape(16, 16).sum(axis=1).max() / counts.sum()


def test_one_colour_has_no_entropy_and_is_all_ground() -> None:
    found = measured(Image.new("RGB", (200, 100), (70, 70, 70)))
    assert (found.entropy, found.ground, found.cut) == (0.0, 1.0, 0.0)


def test_a_grey_bottom_is_measured_as_cut_and_a_grey_picture_is_not() -> None:
    image = scene((200, 100))
    image.paste((128, 128, 128), (0, 70, 200, 100))
    again = Image.open(io.BytesIO(jpeg(image)))
    assert measured(image).cut == pytest.approx(0.3)
    assert measured(again).cut == pytest.approx(0.3, abs=0.12)  # the blocks at the edge ring
    assert measured(Image.new("RGB", (200, 100), (128, 128, 128))).cut == 0


@pytest.mark.parametrize("quality", [5, 10, 20, 50, 85, 95])
def test_jpeg_quality_is_read_from_the_tables(quality: int) -> None:
    found = measure_image(jpeg(scene(), quality), measured(scene()))
    assert found.jpeg_quality == pytest.approx(quality, abs=1)


def test_other_formats_have_no_jpeg_quality() -> None:
    file = io.BytesIO()
    scene().save(file, "PNG")
    assert measure_image(file.getvalue(), measured(scene())).jpeg_quality == 0
    assert list(metadata_blocks(b"GIF89a" + bytes(100))) == []


@pytest.mark.parametrize("reduced", [False, True])
def test_encode_measures_each_new_content_once_in_the_decoders_pass(
    run: Callable[..., EncodeReport], folder: Path, table: str, *, reduced: bool
) -> None:
    (folder / "photo.jpg").write_bytes(jpeg(scene((640, 480))))
    (folder / "copy.jpg").write_bytes(jpeg(scene((640, 480))))
    run(measure=True, reduced_decode=reduced)
    stored = MeasureTable(parse_address(table)).current()
    assert stored.num_rows == 7  # contents, of eight files
    assert set(stored["jpeg_quality"].to_pylist()) == {0, 75, 85}
    version = MeasureTable(parse_address(table)).dataset.version  # type: ignore[union-attr]
    run(measure=True)
    assert MeasureTable(parse_address(table)).dataset.version == version  # type: ignore[union-attr]


def test_encode_measures_nothing_unless_asked(run: Callable[..., EncodeReport], table: str) -> None:
    run()
    assert MeasureTable(parse_address(table)).current().num_rows == 0
