"""One image to what the encoder and the table need of it: the one way to pixels, of every command.

`encode`, `finetune`, `fuse` and `evaluate` go it in worker processes, by a LoadingPool; `search --image` goes it in its
own process, with the same pixels to the last bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pinembed.images.decode import decode_image
from pinembed.images.jpeg import LoadJpeg, jpeg_loaders
from pinembed.images.preprocess import preprocess
from pinembed.images.read import locate_image, read_content
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.item import Locator
from pinembed.nouns.measures import ImageMeasures, PictureMeasures
from pinembed.quality.measure import measure_image
from pinembed.quality.picture import Pixels, Resize, as_pixels, measure_picture, resize_by_pillow


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadRequest:
    """One image to load.

    Attributes:
        index: the caller's own number of this request.
        image: where its bytes lie.
        known_sha256: hashes of contents whose vector is already stored; an image with one of them is not decoded.
        is_measured: what is decoded is measured, too.
    """

    index: int
    image: Locator
    known_sha256: tuple[str, ...] = ()
    is_measured: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedImage:
    """An image that was read.

    Attributes:
        sha256: of the bytes that were decoded.
        size_bytes: number of them.
        mtime_ns: of the file when it was read.
        width_px: of the upright picture; 0 when the content is known.
        height_px: of the upright picture; 0 when the content is known.
        pixels_CHW: uint8, H = W = image_px; None when the content is known.
        measures: of what was decoded; None where that was not asked for.
        seconds: from opening the file to pixels.
    """

    sha256: str
    size_bytes: int
    mtime_ns: int
    width_px: int
    height_px: int
    pixels_CHW: NDArray[np.uint8] | None
    measures: ImageMeasures | None = None
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSetup:
    """What a worker process is told first.

    Attributes:
        preprocessing: of the encoder.
        fast_jpeg: decode JPEGs by torch's libraries; without, by Pillow, whose pixels differ in the last bit.
        reduced: decode large JPEGs at a part of their size.
    """

    preprocessing: Preprocessing
    fast_jpeg: bool = True
    reduced: bool = False


def load_image(request: LoadRequest, preprocessing: Preprocessing, shortcuts: Sequence[LoadJpeg] = ()) -> LoadedImage:
    """Read, hash, and where the content is new decode and preprocess one image.

    The shortcuts are faster ways for JPEG, asked in this order; what none of them takes is decoded by Pillow.

    Raises:
        ImageError: it cannot be read or decoded.
    """
    content, mtime_ns = read_content(request.image)
    sha256 = hashlib.sha256(content).hexdigest()
    width_px = height_px = 0
    pixels_CHW = None
    seen: list[PictureMeasures] = []

    def see(picture_CHW: Pixels, resize: Resize) -> None:
        seen.append(measure_picture(picture_CHW, resize))

    if sha256 not in request.known_sha256:
        shown = see if request.is_measured else None
        answers = (shortcut(content, preprocessing, shown) for shortcut in shortcuts)
        picture = next((answer for answer in answers if answer is not None), None)
        if picture is not None:
            pixels_CHW, width_px, height_px = picture
        else:
            image = decode_image(content, name=str(request.image))
            width_px, height_px = image.size
            pixels_CHW = preprocess(image, preprocessing)
            if shown is not None:
                shown(as_pixels(image), resize_by_pillow)
    return LoadedImage(
        sha256=sha256,
        size_bytes=len(content),
        mtime_ns=mtime_ns,
        width_px=width_px,
        height_px=height_px,
        pixels_CHW=pixels_CHW,
        measures=measure_image(content, seen[0]) if seen else None,
    )


def load_pixels(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """(3, H, W) uint8 of one image, loaded in this process: bit for bit what a LoadingPool gives.

    The path may lead through a tar or Parquet file, as a table's rows name it.

    Raises:
        ImageError: it cannot be read or decoded.
    """
    request = LoadRequest(index=0, image=locate_image(path))
    loaded = load_image(request, preprocessing, jpeg_loaders(fast=True, reduced=False))
    assert loaded.pixels_CHW is not None  # no content is known
    return loaded.pixels_CHW
