"""Upright RGB picture to the pixels that the image tower takes, pixel for pixel as open_clip does it.

Source: open_clip.transform.image_transform and torchvision's Resize, CenterCrop and pad, which a test compares with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinembed.nouns.encoder_spec import Preprocessing

INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
STRIP_RATIO = 16  # a resized picture this many times longer than wide is cropped before it is resized


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop or pad as open_clip's evaluation transform does, up to the conversion to float.

    Args:
        image: RGB, upright, of any size.
        preprocessing: side, interpolation and mode.

    Returns:
        (3, H, W) uint8, H = W = image_px; `Encoder.standardise` does the rest.
    """
    side_px = preprocessing.image_px
    resample = INTERPOLATIONS.get(preprocessing.interpolation, Image.Resampling.BICUBIC)
    if preprocessing.resize_mode == "squash":
        squared = image.resize((side_px, side_px), resample)
    elif preprocessing.resize_mode == "longest":
        squared = _padded(_resized_to_longest(image, side_px, resample), side_px, preprocessing.fill_color)
    else:
        squared = _cropped_to_shortest(image, side_px, resample)
    return np.ascontiguousarray(np.asarray(squared).transpose(2, 0, 1))


def _cropped_to_shortest(image: Image.Image, side_px: int, resample: Image.Resampling) -> Image.Image:
    """The short side becomes side_px, the middle of the long side stays."""
    width_px, height_px = image.size
    short_px, long_px = min(image.size), max(image.size)
    resized_px = int(side_px * long_px / short_px)
    size = (side_px, resized_px) if width_px <= height_px else (resized_px, side_px)
    left, top = round((size[0] - side_px) / 2.0), round((size[1] - side_px) / 2.0)
    if resized_px > STRIP_RATIO * side_px:
        # the whole strip resized would take gigabytes; the box gives the same pixels but for the last bit
        x_scale, y_scale = width_px / size[0], height_px / size[1]
        box = (left * x_scale, top * y_scale, (left + side_px) * x_scale, (top + side_px) * y_scale)
        return image.resize((side_px, side_px), resample, box=box)
    return image.resize(size, resample).crop((left, top, left + side_px, top + side_px))


def _resized_to_longest(image: Image.Image, side_px: int, resample: Image.Resampling) -> Image.Image:
    """The long side becomes side_px; open_clip rounds a very thin side to 0 pixels and fails, here it keeps 1."""
    ratio = max(image.size) / side_px
    return image.resize((max(1, round(image.width / ratio)), max(1, round(image.height / ratio))), resample)


def _padded(image: Image.Image, side_px: int, fill_color: int) -> Image.Image:
    """The picture in the middle of a square of one grey."""
    square = Image.new("RGB", (side_px, side_px), (fill_color,) * 3)
    square.paste(image, ((side_px - image.width) // 2, (side_px - image.height) // 2))
    return square
