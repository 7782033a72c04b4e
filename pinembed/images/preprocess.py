"""Upright RGB picture to the pixels that the image tower takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pinembed.nouns.encoder_spec import Preprocessing

INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def preprocess(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resize and crop as open_clip's evaluation transform does, up to the conversion to float.

    Returns:
        (3, H, W) uint8, H = W = image_px; `Encoder.standardise` does the rest.
    """
    side_px = preprocessing.image_px
    width_px, height_px = image.size
    size = (
        (side_px, int(side_px * height_px / width_px))
        if width_px <= height_px
        else (int(side_px * width_px / height_px), side_px)
    )
    resized = image.resize(size, INTERPOLATIONS[preprocessing.interpolation])
    left, top = round((size[0] - side_px) / 2), round((size[1] - side_px) / 2)
    cropped = resized.crop((left, top, left + side_px, top + side_px))
    return np.ascontiguousarray(np.asarray(cropped).transpose(2, 0, 1))
