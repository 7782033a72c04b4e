"""Upright RGB picture to the pixels that the image tower takes, pixel for pixel as open_clip does it.

Source: open_clip.transform.image_transform and torchvision's Resize, CenterCrop and pad, which a test compares with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinembed.nouns.encoder_spec import Preprocessing

INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
STRIP_RATIO = 16  # a picture this many times longer than wide is cropped before it is resized


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop or pad as open_clip's evaluation transform does, up to the conversion to float.

    The picture is RGB, upright, of any size.

    Returns:
        (3, H, W) uint8, H = W = image_px; `Encoder.standardise` does the rest.
    """
    resample = INTERPOLATIONS.get(preprocessing.interpolation, Image.Resampling.BICUBIC)
    size = resized_size(image.size, preprocessing)
    if is_strip(image.size, preprocessing):
        resized = _middle_of_strip(image, size, preprocessing.image_px, resample)
    else:
        resized = image.resize(size, resample)
    return squared(np.asarray(resized).transpose(2, 0, 1), preprocessing)


def resized_size(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """Width and height of the whole picture once it is resized, before what is too much is cropped."""
    side_px, (width_px, height_px) = preprocessing.image_px, size
    if preprocessing.resize_mode == "squash":
        return side_px, side_px
    if preprocessing.resize_mode == "longest":
        ratio = max(size) / side_px  # open_clip rounds a very thin side to 0 pixels and fails; here it keeps 1
        return max(1, round(width_px / ratio)), max(1, round(height_px / ratio))
    long_px = int(side_px * max(size) / min(size))
    return (side_px, long_px) if width_px <= height_px else (long_px, side_px)


def is_strip(size: tuple[int, int], preprocessing: Preprocessing) -> bool:
    """So long and thin that the whole of it, resized, would take gigabytes."""
    return preprocessing.resize_mode == "shortest" and max(size) > STRIP_RATIO * min(size)


def squared(pixels_CHW: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The middle of what is too long, and grey around what is too short: (3, image_px, image_px)."""
    side_px = preprocessing.image_px
    _, height_px, width_px = pixels_CHW.shape
    if (height_px, width_px) == (side_px, side_px):
        return np.ascontiguousarray(pixels_CHW)
    if min(height_px, width_px) >= side_px:
        top, left = round((height_px - side_px) / 2.0), round((width_px - side_px) / 2.0)
        return np.ascontiguousarray(pixels_CHW[:, top : top + side_px, left : left + side_px])
    square_CHW = np.full((3, side_px, side_px), preprocessing.fill_color, dtype=np.uint8)
    top, left = (side_px - height_px) // 2, (side_px - width_px) // 2
    square_CHW[:, top : top + height_px, left : left + width_px] = pixels_CHW
    return square_CHW


def _middle_of_strip(
    image: Image.Image, size: tuple[int, int], side_px: int, resample: Image.Resampling
) -> Image.Image:
    """The square in the middle, resized out of the strip: the same pixels but for the last bit."""
    left, top = round((size[0] - side_px) / 2.0), round((size[1] - side_px) / 2.0)
    x_scale, y_scale = image.width / size[0], image.height / size[1]
    box = (left * x_scale, top * y_scale, (left + side_px) * x_scale, (top + side_px) * y_scale)
    return image.resize((side_px, side_px), resample, box=box)
