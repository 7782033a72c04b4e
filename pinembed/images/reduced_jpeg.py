"""A large JPEG to pixels by way of a half, a quarter or an eighth of its size, which the decoder gives for less work.

The picture stays at least twice as large as the encoder needs it, so that the pixels differ by rounding: 0.2 of 255 on
average for a 12-megapixel photo, and 2 at most.
"""

from __future__ import annotations

import io

from PIL import Image

from pinembed.images.decode import DAMAGE, MAX_PIXELS, orientation_of, to_rgb, upright
from pinembed.images.loading import Picture
from pinembed.images.preprocess import is_strip, preprocess, resized_size
from pinembed.nouns.encoder_spec import Preprocessing

JPEG_START = b"\xff\xd8\xff"
SPARE = 2  # times the size that the encoder needs
TURNED_BY_A_QUARTER = {5, 6, 7, 8}


def load_jpeg(content: bytes, preprocessing: Preprocessing) -> Picture | None:
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
