"""JPEG to pixels by shorter ways than Pillow's whole decode.

The fast way is torchvision's decoder: twice the speed of Pillow, and the same pixels but for the last bit. To load
torch's libraries takes a fifth of a second. Every run takes this path, however little it has to decode, so that an
image has the same vector whichever run encodes it.

The reduced way, on request, decodes a large JPEG at a half, a quarter or an eighth of its size. The picture stays at
least twice as large as the encoder needs it, so that the pixels differ by rounding: 0.2 of 255 on average for a
12-megapixel photo, and 2 at most.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinembed.images.decode import (
    DAMAGE,
    MAX_PIXELS,
    ORIENTATION_TAG,
    UPRIGHT_BY,
    decode_image,
    orientation_of,
    to_rgb,
    upright,
)
from pinembed.images.libtorch import RESIZE, Libtorch
from pinembed.images.preprocess import INTERPOLATIONS, is_strip, preprocess, resized_size, squared
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.quality.picture import Pixels, Resize, as_pixels, resize_by_pillow

Picture = tuple[NDArray[np.uint8], int, int]  # pixels_CHW, and width and height of the upright picture
See = Callable[[Pixels, Resize], None]
"""Is shown the upright picture as it was decoded, and what resizes it."""

JPEG_START = b"\xff\xd8\xff"
SPARE = 2  # times the size that the encoder needs
TURNED_BY_A_QUARTER = {5, 6, 7, 8}


class LoadJpeg(Protocol):
    """One way to load a JPEG; None for what has to go another way. `see` is shown the picture where it is one."""

    def __call__(self, content: bytes, preprocessing: Preprocessing, see: See | None = None, /) -> Picture | None: ...


def jpeg_loaders(*, fast: bool, reduced: bool) -> list[LoadJpeg]:
    """The shorter ways that are wanted and possible on this machine, the shortest first."""
    loaders: list[LoadJpeg] = [load_reduced] if reduced else []
    loader = fast_loader() if fast else None
    return loaders if loader is None else [*loaders, loader]


def load_reduced(content: bytes, preprocessing: Preprocessing, see: See | None = None, /) -> Picture | None:
    """The picture of a JPEG; None for what is not large enough, or has to be looked at by the common way."""
    if not content.startswith(JPEG_START):
        return None
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
            width_px, height_px = image.size
            if width_px * height_px > MAX_PIXELS or is_strip(image.size, preprocessing):
                return None
            needed = resized_size(image.size, preprocessing)
            image.draft(None, (SPARE * needed[0], SPARE * needed[1]))
            if image.size == (width_px, height_px):
                return None
            image.load()
            orientation = orientation_of(image)
            picture = upright(to_rgb(image), orientation)
            pixels_CHW = preprocess(picture, preprocessing)
    except (*DAMAGE, Image.DecompressionBombError, MemoryError):
        return None  # the common way says what is wrong
    if see is not None:
        see(as_pixels(picture), resize_by_pillow)
    if orientation in TURNED_BY_A_QUARTER:
        width_px, height_px = height_px, width_px
    return pixels_CHW, width_px, height_px


@functools.cache
def fast_loader() -> LoadJpeg | None:
    """What loads JPEGs; None where torch's libraries cannot be called, or do not load as Pillow does.

    Without AVX2 they resize otherwise. A process that has imported torch shares its libraries: none is loaded twice.
    """
    noise_HWC = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    try:
        torch = Libtorch()
        loader = functools.partial(_load_fast, torch)
        return loader if _resizes_alike(torch, noise_HWC) and _loads_alike(loader, _turned_jpeg(noise_HWC)) else None
    except (OSError, AttributeError, RuntimeError):
        return None


def _resizes_alike(torch: Libtorch, pixels_HWC: NDArray[np.uint8]) -> bool:
    ours_CHW = torch.resize(np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1)), (32, 24), "bicubic")
    theirs = Image.fromarray(pixels_HWC).resize((32, 24), INTERPOLATIONS["bicubic"])
    return _largest_difference(ours_CHW, np.asarray(theirs).transpose(2, 0, 1)) <= 1


def _loads_alike(loader: LoadJpeg, content: bytes) -> bool:
    preprocessing = Preprocessing(
        image_px=32, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bicubic", resize_mode="shortest"
    )
    ours = loader(content, preprocessing)
    theirs_CHW = preprocess(decode_image(content, name="the self-check"), preprocessing)
    return ours is not None and _largest_difference(ours[0], theirs_CHW) <= 2


def _turned_jpeg(pixels_HWC: NDArray[np.uint8]) -> bytes:
    """Whose EXIF turns it by a quarter, and stands behind another segment of its kind."""
    exif, file = Image.Exif(), io.BytesIO()
    exif[ORIENTATION_TAG] = 6
    Image.fromarray(pixels_HWC).save(file, "JPEG", quality=90, exif=exif)
    content = file.getvalue()
    return content[:2] + b"\xff\xe1\x00\x08other\0" + content[2:]


def _largest_difference(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> int:
    return 255 if ours.shape != theirs.shape else int(np.abs(ours.astype(int) - theirs.astype(int)).max())


def _load_fast(
    torch: Libtorch, content: bytes, preprocessing: Preprocessing, see: See | None = None, /
) -> Picture | None:
    """The picture of a JPEG; None for what Pillow has to look at: other formats, CMYK, strips, and anything damaged."""
    orientation = _plain_orientation(content, preprocessing) if content.startswith(JPEG_START) else None
    if orientation is None:
        return None
    try:
        picture_CHW = turned(torch.decode_jpeg(content), orientation)
    except RuntimeError:
        return None
    _, height_px, width_px = picture_CHW.shape
    size = resized_size((width_px, height_px), preprocessing)
    interpolation = preprocessing.interpolation if preprocessing.interpolation in RESIZE else "bicubic"
    resized_CHW = torch.resize(picture_CHW, size, interpolation)
    if see is not None:
        see(picture_CHW, torch.resize)
    return squared(resized_CHW, preprocessing).copy(), width_px, height_px


def _plain_orientation(content: bytes, preprocessing: Preprocessing) -> int | None:
    """How the picture is to be turned; None where the header does not promise one that both decoders read alike."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as header:
            is_plain = header.mode in {"RGB", "L"} and header.width * header.height <= MAX_PIXELS
            return orientation_of(header) if is_plain and not is_strip(header.size, preprocessing) else None
    except (*DAMAGE, Image.DecompressionBombError):
        return None


def turned(pixels_CHW: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The pixels as `decode.upright` turns a picture."""
    if orientation not in UPRIGHT_BY:
        return pixels_CHW
    if orientation in TURNED_BY_A_QUARTER:
        pixels_CHW = pixels_CHW.swapaxes(1, 2)
    if orientation in {3, 4, 7, 8}:
        pixels_CHW = pixels_CHW[:, ::-1]
    if orientation in {2, 3, 6, 7}:
        pixels_CHW = pixels_CHW[:, :, ::-1]
    return np.ascontiguousarray(pixels_CHW)
