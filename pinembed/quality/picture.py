"""A decoded picture to its PictureMeasures, on a sample of its pixels, so that decoding hardly takes longer.

Sharpness is a ratio of two differences, so that it depends neither on contrast nor, much, on what is shown: in a
picture without detail, pixels that are four apart differ four times as much as neighbours, and 16 times in the square.

Shape legend: C channels (red, green, blue), H height, W width, L lines that were sampled.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinembed.nouns.measures import CHROMA_PX, LUMA_PX, PictureMeasures

Pixels = NDArray[np.uint8]
Resize = Callable[[Pixels, tuple[int, int], str], Pixels]
"""(C, H, W), width and height, and the name of an interpolation, to (C, height, width), with antialiasing."""

SEEN_PX = 256  # the long side is measured between this and twice as many pixels
LINES, FEWEST_LINES = 48, 12
FAR = 4
FLAT = 0.01  # squared difference that rounding alone makes
LEVEL_BITS = 4
MISSING_GREY, GREY_SPAN = 128, 3
LUMA_OF_RGB = np.array([77, 150, 29], dtype=np.float32) / 256
CELLS = np.kron(np.eye(CHROMA_PX, dtype=np.float32), np.ones((LUMA_PX // CHROMA_PX, 1), np.float32))  # sums of cells
# half the mean of blue less luma and of red less luma, from sums of red, luma and blue
CHROMA_OF_SUMS = np.array([[0, -1, 1], [1, -1, 0]], dtype=np.float32) * (0.5 * (CHROMA_PX / LUMA_PX) ** 2)


def measure_picture(picture_CHW: Pixels, resize: Resize) -> PictureMeasures:
    """Measure an upright RGB picture of any size."""
    luma_HW, chroma_2X = _thumbnail(picture_CHW, resize)
    rows_LW, columns_LH = _lines(picture_CHW[1]), _lines(picture_CHW[1].T)
    counts = np.bincount(rows_LW.astype(np.uint8).ravel(), minlength=256).astype(np.float64)
    return PictureMeasures(
        luma=luma_HW.tobytes(),
        chroma=chroma_2X.tobytes(),
        sharpness=_sharpness(rows_LW, columns_LH),
        entropy=_entropy(counts, rows_LW.size),
        ground=float(counts.reshape(1 << LEVEL_BITS, -1).sum(axis=1).max()) / rows_LW.size,
        cut=_cut(picture_CHW),
    )


def as_pixels(image: Image.Image) -> Pixels:
    """(3, H, W) of an RGB picture."""
    return np.asarray(image).transpose(2, 0, 1)


def resize_by_pillow(pixels_CHW: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    """What torch's libraries do faster, within 1 of 255."""
    picture = Image.fromarray(np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0)))
    return np.asarray(picture.resize(size, Image.Resampling[interpolation.upper()])).transpose(2, 0, 1)


def _thumbnail(picture_CHW: Pixels, resize: Resize) -> tuple[Pixels, Pixels]:
    """Luma (32, 32) and chroma (2, 8 x 8); large pictures are sampled first, some 64 pixels for each of these."""
    step = max(1, min(picture_CHW.shape[1:]) // SEEN_PX)
    small_CHW = resize(picture_CHW[:, ::step, ::step], (LUMA_PX, LUMA_PX), "bilinear").astype(np.float32)
    # whole numbers below 2**24 are exact, also as parts of 256, and so are their sums
    luma_HW = (LUMA_OF_RGB @ small_CHW.reshape(3, -1)).astype(np.uint8).reshape(LUMA_PX, LUMA_PX)
    small_CHW[1] = luma_HW
    chroma_2X = CHROMA_OF_SUMS @ (CELLS.T @ small_CHW @ CELLS).reshape(3, -1)
    return luma_HW, np.minimum(np.rint(128 + chroma_2X), 255).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def _evenly(count: int, among: int) -> NDArray[np.int64]:
    """(count,) indices, the first and the last among them; most pictures of a catalogue have one of a few sizes."""
    return np.linspace(0, among - 1, count).astype(np.int64)


def _lines(plane_HW: Pixels) -> NDArray[np.float32]:
    """(L, W / step) evenly spaced rows of a picture whose long side is brought below twice SEEN_PX."""
    step = max(1, max(plane_HW.shape) // SEEN_PX)
    if min(plane_HW.shape) < step:  # a strip that is thinner than that
        step = 1
    height, width = (side // step for side in plane_HW.shape)
    lines = min(max(FEWEST_LINES, LINES // step), height)
    at = _evenly(lines, height)
    if step == 1:
        return plane_HW[at].astype(np.float32)
    rows = plane_HW[(at[:, None] * step + np.arange(step)).ravel(), : width * step].astype(np.float32)
    sums = rows.reshape(lines, step, width * step).sum(axis=1)  # whole numbers, and so exact
    means: NDArray[np.float32] = sums.reshape(lines, width, step) @ np.ones(step, np.float32) / np.float32(step * step)
    return means


def _entropy(counts: NDArray[np.float64], total: int) -> float:
    """Bits of one of these values."""
    bits = float(np.vdot(counts, np.log2(np.maximum(counts, 1))))
    return max(0.0, math.log2(total) - bits / total)


def _sharpness(*directions: NDArray[np.float32]) -> float:
    near = far = FLAT
    for lines_LW in directions:
        if lines_LW.shape[1] > FAR:
            near += _mean_square(lines_LW[:, 1:] - lines_LW[:, :-1])
            far += _mean_square(lines_LW[:, FAR:] - lines_LW[:, :-FAR])
    return near / far


def _mean_square(differences_LW: NDArray[np.float32]) -> float:
    return float(np.vdot(differences_LW, differences_LW)) / differences_LW.size


def _cut(picture_CHW: Pixels) -> float:
    """Share of rows, from the bottom, that are grey throughout; 0 where the whole picture is."""
    if _off_grey(picture_CHW[:, -1]).max() > GREY_SPAN:
        return 0.0
    is_missing_H = (_off_grey(picture_CHW).max(axis=(0, 2)) <= GREY_SPAN).tolist()
    return 0.0 if all(is_missing_H) else is_missing_H[::-1].index(False) / len(is_missing_H)


def _off_grey(picture: Pixels) -> NDArray[np.int16]:
    """How far each value is from the grey of what is missing."""
    return np.abs(picture.astype(np.int16) - MISSING_GREY)
