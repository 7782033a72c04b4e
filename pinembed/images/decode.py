"""Bytes of an image file to an upright RGB picture, the same whatever the format, mode or camera position was.

Only raster formats that Pillow decodes itself are tried, by content and never by suffix: a `.jpg` that is PostScript
must not start an interpreter.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pinembed.errors import ImageError, MissingExtraError
from pinembed.images.read import locate_image, read_content

FORMATS = frozenset(
    ["JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "AVIF", "JPEG2000", "MPO", "HEIF", "ICO"]
)
MAX_PIXELS = 178_956_970  # Pillow's own limit against decompression bombs: 512 MiB of RGB
PNG_START = b"\x89PNG\r\n\x1a\n"
KNOWN_STARTS = {PNG_START: "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"GIF8": "GIF"}
LFS_START = b"version https://git-lfs"
TEXT_CHUNKS = {b"tEXt", b"zTXt", b"iTXt", b"iCCP"}
TRANSPARENT_SHOWS = (255, 255, 255)
ORIENTATION_TAG, PHOTOMETRIC_TAG = 0x0112, 262
OVERSHOOT = 0.1
UPRIGHT_BY = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
# what Pillow's decoders raise on damaged files beside OSError, by experience with mutated ones
DAMAGE = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError),
    *(OverflowError, ZeroDivisionError, AssertionError, struct.error),
)


def read_image(path: Path, *, at_least_px: int | None = None) -> Image.Image:
    """The picture in a file, for people to look at: RGB, 8 bit, upright; the first frame of an animation.

    Args:
        path: of the file, or one that leads through a tar or Parquet file, as a table's rows name it.
        at_least_px: as for `decode_image`.

    Raises:
        ImageError: the file is missing, unreadable, empty, truncated, too large or no image.
    """
    content, _ = read_content(locate_image(path))
    return decode_image(content, name=str(path), at_least_px=at_least_px)


def decode_image(content: bytes, *, name: str, at_least_px: int | None = None) -> Image.Image:
    """The picture in the bytes of a file: RGB, 8 bit, upright; the first frame of an animation.

    Args:
        content: of the file.
        name: of the file, for messages.
        at_least_px: a coarse look is enough; a JPEG may come at a fraction of its size, but no side below this.

    Raises:
        ImageError: truncated, too large, no image, or of a kind that cannot be decoded.
    """
    try:
        try:
            return _picture(content, name, at_least_px)
        except ValueError:
            if not content.startswith(PNG_START):
                raise
            return _picture(_without_text(content), name, at_least_px)  # Pillow gives up where text beside it is long
    except Image.DecompressionBombError as error:
        raise _too_large(name, "far too many pixels") from error
    except MemoryError as error:
        raise _too_large(name, "more pixels than memory is free for") from error
    except DAMAGE as error:
        truncated = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise ImageError(
            f"{name} is truncated: its end is missing." if truncated else f"{name} cannot be decoded: {_words(error)}",
            remedy="Replace the file with a whole one.",
            reason="truncated" if truncated else "broken",
        ) from error


def _picture(content: bytes, name: str, at_least_px: int | None) -> Image.Image:
    opened = _opened(content, name)
    if opened.width * opened.height > MAX_PIXELS:
        raise _too_large(name, f"{opened.width} x {opened.height} pixels")
    if at_least_px is not None:
        opened.draft("RGB", (at_least_px, at_least_px))
    opened.load()
    return upright(to_rgb(opened), orientation_of(opened))


def _opened(content: bytes, name: str) -> Image.Image:
    if content[4:8] == b"ftyp" and content[8:12] in HEIF_BRANDS:
        _register_heif(name)
    Image.init()
    try:
        return Image.open(io.BytesIO(content), formats=sorted(FORMATS & Image.OPEN.keys()))
    except UnidentifiedImageError as error:
        if content.startswith(LFS_START):
            raise ImageError(
                f"{name} is what Git LFS keeps in the place of a file.",
                remedy="Bring the file itself: git lfs pull",
                reason="not_an_image",
            ) from error
        kind = next((kind for start, kind in KNOWN_STARTS.items() if content.startswith(start)), None)
        if kind is not None:
            raise ImageError(
                f"{name} begins as a {kind} does, but no picture in it can be read.",
                remedy="Replace the file with a whole one.",
                reason="broken",
            ) from error
        raise ImageError(
            f"{name} is not an image: its first bytes are {content[:8]!r}.",
            remedy="Take the file out or replace it.",
            reason="not_an_image",
        ) from error


def _without_text(content: bytes) -> bytes:
    """A PNG without the texts and the colour profile beside its picture."""
    kept, start = [PNG_START], len(PNG_START)
    while start + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[start : start + 8])
        end = start + length + 12
        if kind not in TEXT_CHUNKS:
            kept.append(content[start:end])
        start = end
    return b"".join(kept)


def _register_heif(name: str) -> None:
    if "HEIF" in Image.OPEN:
        return
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        missing = MissingExtraError("Reading HEIC photos", extra="fast", package="pillow_heif")
        raise ImageError(f"{name}: {missing.message}", remedy=missing.remedy, reason="needs_heif") from error
    register_heif_opener()


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB of any mode; what is transparent shows white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _scaled_to_8_bit(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (*TRANSPARENT_SHOWS, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def _scaled_to_8_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits or floats, which `convert` would clip to white."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = _range_of(values, image.mode)
    scaled = np.clip((values - low) * (255.0 / max(high - low, 1e-12)), 0, 255)
    if _is_white_zero(image):
        scaled = 255 - scaled
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _range_of(values: NDArray[np.float32], mode: str) -> tuple[float, float]:
    """Which values are black and white.

    The white point is that of the type where it has one: 65535 for 16 bits, or 4095 where no value has more than the 12
    bits of many cameras and scanners; 1 for floats that, but for a few overshoots, do not exceed it. Other ranges are
    stretched from their least to their greatest value.
    """
    low, high = float(values.min()), float(values.max())
    if mode.startswith("I;16") or (mode == "I" and low >= 0 and 255 < high <= 65535):
        return 0.0, 65535.0 if high > 4095 else 4095.0
    if mode == "F" and low >= -OVERSHOOT and (high <= 1 or np.quantile(values, 0.99) <= 1 + OVERSHOOT):
        return 0.0, 1.0
    return (0.0, 255.0) if low >= 0 and high <= 255 else (low, high)


def _is_white_zero(image: Image.Image) -> bool:
    """Whether a TIFF of 16 bits means white by 0, which Pillow heeds in 8 bits alone."""
    tags = getattr(image, "tag_v2", {})
    return image.mode.startswith("I;16") and tags.get(PHOTOMETRIC_TAG) == 0


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation after loading (some decoders turn the picture themselves); 1 where EXIF is damaged."""
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except DAMAGE:
        return 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The picture as its EXIF orientation wants it shown."""
    return image.transpose(UPRIGHT_BY[orientation]) if orientation in UPRIGHT_BY else image


def _too_large(name: str, found: str) -> ImageError:
    return ImageError(
        f"{name} holds {found}; at most {MAX_PIXELS} are decoded.",
        remedy="Replace it with a smaller version; it may be a decompression bomb.",
        reason="too_large",
    )


def _words(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
