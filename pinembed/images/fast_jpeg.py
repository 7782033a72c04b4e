"""JPEG to pixels by torchvision: twice the speed of Pillow, and the same pixels but for the last bit.

It loads torch, which takes seconds: a worker asks for it when there is much to decode.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg
from torchvision.transforms.v2 import functional as F

from pinembed.images.decode import DAMAGE, MAX_PIXELS
from pinembed.images.loading import Picture
from pinembed.images.preprocess import INTERPOLATIONS, is_strip, resized_size, squared
from pinembed.nouns.encoder_spec import Preprocessing

JPEG_START = b"\xff\xd8\xff"
MODES = {"bicubic": F.InterpolationMode.BICUBIC, "bilinear": F.InterpolationMode.BILINEAR}


def prepare() -> bool:
    """Set torch up for one process among several; False where its resizing is not Pillow's, as without AVX2."""
    torch.set_num_threads(1)
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    theirs = np.asarray(Image.fromarray(noise).resize((32, 24), INTERPOLATIONS["bicubic"])).transpose(2, 0, 1)
    ours = _resized(torch.from_numpy(noise.transpose(2, 0, 1).copy()), (32, 24), "bicubic")
    return bool(np.abs(ours.astype(int) - theirs.astype(int)).max() <= 1)


def load_jpeg(content: bytes, preprocessing: Preprocessing) -> Picture | None:
    """The picture of a JPEG; None for what Pillow has to look at: other formats, CMYK, strips, and anything damaged."""
    if not content.startswith(JPEG_START) or not _is_plain(content, preprocessing):
        return None
    try:
        encoded = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        picture_CHW = decode_jpeg(encoded, mode=ImageReadMode.RGB, apply_exif_orientation=True)
    except RuntimeError:
        return None
    _, height_px, width_px = picture_CHW.shape
    size = resized_size((width_px, height_px), preprocessing)
    resized_CHW = _resized(picture_CHW, size, preprocessing.interpolation)
    return squared(resized_CHW, preprocessing), width_px, height_px


def _is_plain(content: bytes, preprocessing: Preprocessing) -> bool:
    """Whether the header promises a picture that both decoders read alike."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as header:
            pixels = header.width * header.height
            return header.mode in {"RGB", "L"} and pixels <= MAX_PIXELS and not is_strip(header.size, preprocessing)
    except (*DAMAGE, Image.DecompressionBombError):
        return False


def _resized(picture_CHW: torch.Tensor, size: tuple[int, int], interpolation: str) -> NDArray[np.uint8]:
    mode = MODES.get(interpolation, F.InterpolationMode.BICUBIC)
    resized_CHW: torch.Tensor = F.resize(picture_CHW, [size[1], size[0]], interpolation=mode, antialias=True)
    pixels_CHW: NDArray[np.uint8] = resized_CHW.numpy()
    return pixels_CHW
