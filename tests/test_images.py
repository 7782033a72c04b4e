"""Image files to pixels: every format, mode and damage that a catalogue of years collects."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pinembed.errors import ImageError
from pinembed.images import decode, read
from pinembed.images.decode import decode_image, read_image
from pinembed.images.jpeg import Picture
from pinembed.images.preprocess import preprocess
from pinembed.nouns.encoder_spec import Preprocessing

SIDE_PX = 32


def gradient(width_px: int = 40, height_px: int = 30, mode: str = "RGB") -> Image.Image:
    """Red grows to the right, green downwards: every corner is different."""
    x, y = np.meshgrid(np.linspace(0, 255, width_px), np.linspace(0, 255, height_px))
    rgb = np.stack([x, y, np.full_like(x, 90)], axis=2).astype(np.uint8)
    return Image.fromarray(rgb).convert(mode)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def mean_difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.float32) - np.asarray(other, np.float32)).mean())


def preprocessing(**changes: object) -> Preprocessing:
    settings: dict[str, object] = {"image_px": SIDE_PX, "mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4), **changes}
    return Preprocessing(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [(41, 30), (30, 41), (32, 32), (10, 7), (97, 33), (33, 200), (1, 1), (640, 480)])
def test_preprocess_equals_open_clip_transform(mode: str, interpolation: str, size: tuple[int, int]) -> None:
    from open_clip.transform import image_transform

    settings = preprocessing(resize_mode=mode, interpolation=interpolation, fill_color=7)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8))
    theirs = image_transform(
        SIDE_PX, False, settings.mean, settings.std, resize_mode=mode, interpolation=interpolation, fill_color=7
    )(image).numpy()

    ours = preprocess(image, settings)

    assert ours.dtype == np.uint8
    assert ours.shape == (3, SIDE_PX, SIDE_PX)
    mean, std = (np.array(values, np.float32).reshape(3, 1, 1) for values in (settings.mean, settings.std))
    np.testing.assert_allclose((ours.astype(np.float32) / 255 - mean) / std, theirs, atol=1e-5)


@pytest.mark.parametrize("size", [(30_000, 2), (2, 30_000)])
def test_preprocess_thin_strip_keeps_its_middle_in_little_memory(size: tuple[int, int]) -> None:
    strip = gradient(*size)

    pixels = preprocess(strip, preprocessing())

    assert pixels.shape == (3, SIDE_PX, SIDE_PX)
    along = 0 if size[0] > size[1] else 1
    assert abs(float(pixels[along].mean()) - 127.5) < 2


def test_preprocess_strip_cropped_first_equals_resized_first_to_the_last_bit() -> None:
    strip = gradient(1100, 50)
    resized = strip.resize((int(32 * 1100 / 50), 32), Image.Resampling.BICUBIC)
    left = round((resized.width - 32) / 2)
    expected = np.asarray(resized.crop((left, 0, left + 32, 32))).transpose(2, 0, 1).astype(int)

    pixels = preprocess(strip, preprocessing()).astype(int)

    assert np.abs(pixels - expected).max() <= 1


def test_preprocess_longest_side_of_a_thin_strip_keeps_one_row() -> None:
    pixels = preprocess(Image.new("RGB", (3000, 2), "red"), preprocessing(resize_mode="longest"))

    assert pixels[0].max() > 200


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_turned_upright(orientation: int, kind: str) -> None:
    upright = gradient()
    turned_by = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if turned_by is None else upright.transpose(turned_by)
    exif = Image.Exif()
    exif[0x0112] = orientation

    decoded = decode_image(encoded(stored, kind, exif=exif), name="photo")

    assert decoded.size == upright.size
    assert mean_difference(decoded, upright) < 6


def test_exif_that_is_damaged_leaves_the_picture_as_it_is() -> None:
    content = encoded(gradient(), "JPEG", exif=b"Exif\x00\x00MM\x00\x2a\xff\xff\xff\xff")

    assert decode_image(content, name="photo").size == (40, 30)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    decoded = decode_image(encoded(gradient(mode="CMYK"), "JPEG", quality=95), name="print")

    assert mean_difference(decoded, gradient()) < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_show_white(mode: str) -> None:
    image = Image.new(mode, (20, 10), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    image.paste((10, 10, 10, 255) if mode == "RGBA" else (10, 255), (0, 0, 10, 10))

    decoded = decode_image(encoded(image, "PNG"), name="cutout")

    assert decoded.getpixel((2, 5)) == (10, 10, 10)
    assert decoded.getpixel((15, 5)) == (255, 255, 255)


def test_palette_with_transparency_shows_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.putpixel((0, 0), 1)

    decoded = decode_image(encoded(image, "PNG", transparency=0), name="cutout")

    assert decoded.getpixel((0, 0)) == (200, 0, 0)
    assert decoded.getpixel((3, 3)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_and_not_whitened(kind: str) -> None:
    values = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)

    decoded = decode_image(encoded(Image.fromarray(values), kind), name="scan")

    assert np.abs(np.asarray(decoded)[:, :, 0].astype(int) - values // 257).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 255.0), (-3.0, 900.0)])
def test_float_tiff_uses_the_whole_range(low: float, high: float) -> None:
    values = np.linspace(low, high, 40 * 30, dtype=np.float32).reshape(30, 40)
    values[0, 1] = np.nan

    grey = np.asarray(decode_image(encoded(Image.fromarray(values), "TIFF"), name="scan"))[:, :, 0]

    assert grey.min() == 0
    assert grey.max() == 255


@pytest.mark.parametrize("mode", ["1", "L", "P", "YCbCr"])
def test_other_modes_become_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "YCbCr" else "PNG"
    decoded = decode_image(encoded(gradient(mode=mode), kind), name="picture")

    assert (decoded.mode, decoded.size) == ("RGB", (40, 30))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue", "green")]

    decoded = decode_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]), name="moving")

    assert mean_difference(decoded, frames[0]) < 6


def test_heic_is_read_with_its_extra() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()

    assert mean_difference(decode_image(encoded(gradient(), "HEIF"), name="phone"), gradient()) < 12


def test_heic_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)

    with pytest.raises(ImageError, match="Reading HEIC photos needs the package pillow_heif") as caught:
        decode_image(b"\x00\x00\x00\x18ftypheic" + b"\x00" * 64, name="phone.heic")

    assert caught.value.reason == "needs_heif"
    assert "pinembed[fast]" in caught.value.remedy


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF"])
def test_wrong_suffix_does_not_matter(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.bmp"
    path.write_bytes(encoded(gradient(), kind))

    assert read_image(path).size == (40, 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "AVIF"])
def test_truncated_file_is_refused(kind: str) -> None:
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8))
    content = encoded(noisy, kind)

    with pytest.raises(ImageError) as caught:
        decode_image(content[: len(content) // 2], name="cut")

    assert caught.value.reason in {"truncated", "broken", "not_an_image"}
    if kind in {"JPEG", "PNG", "BMP"}:
        assert caught.value.message == "cut is truncated: its end is missing."


def test_text_is_not_an_image() -> None:
    with pytest.raises(ImageError, match=r"notes\.jpg is not an image: its first bytes are b'dear dia'"):
        decode_image(b"dear diary, today", name="notes.jpg")


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 5, b"tEXt") + b"a\0bcd" + bytes(4), "PNG"),
        (b"\xff\xd8" + b"\xff\xe1\0\0" * 9, "JPEG"),
        (b"RIFF\0\0\0\0WEBP" + b"XMP \0\0\0\0" * 9, "WebP"),
        (b"GIF87a", "GIF"),
    ],
)
def test_a_file_of_metadata_alone_is_told_as_one_of_its_format_without_a_picture(content: bytes, kind: str) -> None:
    with pytest.raises(ImageError, match=f"bomb begins as a {kind} does, but no picture in it can be read") as caught:
        decode_image(content, name="bomb")
    assert caught.value.reason == "broken"


def test_postscript_in_a_jpg_starts_no_interpreter() -> None:
    with pytest.raises(ImageError, match="is not an image"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", name="evil.jpg")


def test_decompression_bomb_is_refused_without_being_decoded() -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")

    with pytest.raises(ImageError, match="at most 178956970 are decoded") as caught:
        decode_image(bomb, name="bomb.png")

    assert caught.value.reason == "too_large"


def test_empty_missing_and_strange_files_have_their_reasons(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    reasons = {}
    for name in ("empty.jpg", "gone.jpg", "pipe.jpg"):
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name)
        reasons[name] = caught.value.reason

    assert reasons == {"empty.jpg": "empty", "gone.jpg": "missing_file", "pipe.jpg": "not_a_file"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(encoded(gradient(), "PNG"))
    (tmp_path / "secret.png").chmod(0)

    with pytest.raises(ImageError, match="cannot be read: Permission denied"):
        read_image(tmp_path / "secret.png")


def test_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "live.png"
    path.write_bytes(encoded(gradient(), "PNG"))
    states = []

    def fstat(descriptor: int) -> os.stat_result:
        status = os.stat(descriptor)
        states.append(status)
        if len(states) == 1:
            with path.open("ab") as file:
                file.write(b"more")
        return status

    monkeypatch.setattr(read.os, "fstat", fstat)

    with pytest.raises(ImageError, match="changed while it was read") as caught:
        read.read_file(path)

    assert caught.value.reason == "changed_while_read"


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_mutated_files_give_a_picture_or_a_named_reason(kind: str) -> None:
    rng = np.random.default_rng(1)
    whole = encoded(gradient(), kind)
    outcomes = set()
    for _ in range(120):
        mutated = bytearray(whole)
        for index in rng.integers(0, len(whole), 6):
            mutated[index] = rng.integers(0, 256)
        outcomes.add(outcome_of(bytes(mutated)))

    assert outcomes <= {"RGB", "broken", "truncated", "not_an_image", "too_large"}
    assert len(outcomes) > 1


def outcome_of(content: bytes) -> str:
    try:
        return decode_image(content, name="mutant").mode
    except ImageError as error:
        return error.reason


def test_limit_on_pixels_is_pillows_own() -> None:
    assert Image.MAX_IMAGE_PIXELS is not None
    assert decode.MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


@pytest.fixture
def load_jpeg() -> Callable[[bytes, Preprocessing], Picture | None]:
    from pinembed.images import jpeg as fast_jpeg

    loader = fast_jpeg.fast_loader()
    if loader is None:
        pytest.skip("torchvision does not resize as Pillow does on this processor")
    return loader


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_fast_jpeg_gives_pillows_pixels(
    load_jpeg: Callable[[bytes, Preprocessing], Picture | None], orientation: int, resize_mode: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(gradient(160, 90), "JPEG", quality=80, exif=exif)
    settings = preprocessing(resize_mode=resize_mode)
    slow = decode_image(content, name="photo")

    fast = load_jpeg(content, settings)

    assert fast is not None
    assert fast[1:] == slow.size
    assert np.abs(fast[0].astype(int) - preprocess(slow, settings).astype(int)).max() <= 1


def test_fast_jpeg_needs_torchs_libraries_and_does_not_import_torch() -> None:
    program = "import sys; from pinembed.images.libtorch import Libtorch; Libtorch(); print('torch' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "False"


def test_fast_jpeg_of_grey_and_progressive_files_gives_pillows_pixels(
    load_jpeg: Callable[[bytes, Preprocessing], Picture | None],
) -> None:
    for content in (encoded(gradient(mode="L"), "JPEG"), encoded(gradient(), "JPEG", progressive=True)):
        fast = load_jpeg(content, preprocessing())

        assert fast is not None
        slow = preprocess(decode_image(content, name="photo"), preprocessing())
        assert np.abs(fast[0].astype(int) - slow.astype(int)).max() <= 1


def test_fast_jpeg_leaves_to_pillow_what_pillow_does_better(
    load_jpeg: Callable[[bytes, Preprocessing], Picture | None],
) -> None:
    whole = encoded(gradient(160, 90), "JPEG")
    strange = {
        "png": encoded(gradient(), "PNG"),
        "cmyk": encoded(gradient(mode="CMYK"), "JPEG"),
        "truncated": whole[: len(whole) // 2],
        "header only": whole[:12],
        "strip": encoded(gradient(2000, 4), "JPEG"),
    }

    assert {name: load_jpeg(content, preprocessing()) for name, content in strange.items()} == dict.fromkeys(strange)


def save_tiff_16(path: Path, values: NDArray[np.uint16], *, photometric: int = 1) -> Path:
    image = Image.fromarray(values)
    image.save(path, tiffinfo={262: photometric})
    return path


@pytest.mark.parametrize(
    ("top", "photometric", "mean"), [(65535, 1, 127.5), (4095, 1, 127.5), (65535, 0, 127.5), (4095, 0, 127.5)]
)
def test_grey_of_16_bits_fills_the_range_that_its_values_have(
    top: int, photometric: int, mean: float, tmp_path: Path
) -> None:
    ramp = np.linspace(0, top, 64 * 48).astype(np.uint16).reshape(48, 64)
    read = np.asarray(read_image(save_tiff_16(tmp_path / "a.tif", ramp, photometric=photometric)))
    assert read.mean() == pytest.approx(mean, abs=2)
    assert bool(read[0, 0, 0] > read[-1, -1, 0]) == (photometric == 0)  # white is zero there


@pytest.mark.parametrize("overshoot", [1.0, 1.001, 1.08])
def test_floats_a_little_above_one_are_as_bright_as_those_up_to_one(overshoot: float, tmp_path: Path) -> None:
    ramp = np.linspace(0, overshoot, 64 * 48, dtype=np.float32).reshape(48, 64)
    Image.fromarray(ramp).save(tmp_path / "f.tif")
    assert np.asarray(read_image(tmp_path / "f.tif")).mean() == pytest.approx(127.5 * overshoot, abs=3)
