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

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinembed.images.decode import DAMAGE, MAX_PIXELS, UPRIGHT_BY, orientation_of, to_rgb, upright
from pinembed.images.libtorch import RESIZE, Libtorch
from pinembed.images.preprocess import INTERPOLATIONS, is_strip, preprocess, resized_size, squared
from pinembed.nouns.encoder_spec import Preprocessing

Picture = tuple[NDArray[np.uint8], int, int]  # pixels_CHW, and width and height of the upright picture
LoadJpeg = Callable[[bytes, Preprocessing], Picture | None]

JPEG_START = b"\xff\xd8\xff"
SPARE = 2  # times the size that the encoder needs
TURNED_BY_A_QUARTER = {5, 6, 7, 8}


def jpeg_loaders(*, fast: bool, reduced: bool) -> list[LoadJpeg]:
    """The shorter ways that are wanted and possible on this machine, the shortest first."""
    loaders: list[LoadJpeg] = [load_reduced] if reduced else []
    loader = fast_loader() if fast else None
    return loaders if loader is None else [*loaders, loader]


def load_reduced(content: bytes, preprocessing: Preprocessing) -> Picture | None:
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
            pixels_CHW = preprocess(upright(to_rgb(image), orientation), preprocessing)
    except (*DAMAGE, Image.DecompressionBombError, MemoryError):
        return None  # the common way says what is wrong
    if orientation in TURNED_BY_A_QUARTER:
        width_px, height_px = height_px, width_px
    return pixels_CHW, width_px, height_px


@functools.cache
def fast_loader() -> LoadJpeg | None:
    """What loads JPEGs; None where torch's libraries cannot be called, or do not resize as Pillow does.

    Without AVX2 they do not. A process that has imported torch shares its libraries, which are not loaded twice.
    """
    try:
        torch = Libtorch()
        noise_CHW = np.random.default_rng(0).integers(0, 256, (3, 61, 83), np.uint8)
        ours_CHW = torch.resize(noise_CHW, (32, 24), "bicubic")
    except (OSError, AttributeError, RuntimeError):
        return None
    noise = Image.fromarray(np.ascontiguousarray(noise_CHW.transpose(1, 2, 0)))
    theirs_CHW = np.asarray(noise.resize((32, 24), INTERPOLATIONS["bicubic"])).transpose(2, 0, 1)
    if np.abs(ours_CHW.astype(int) - theirs_CHW.astype(int)).max() > 1:
        return None
    return functools.partial(_load_fast, torch)


def _load_fast(torch: Libtorch, content: bytes, preprocessing: Preprocessing) -> Picture | None:
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
