"""JPEG to pixels by torchvision: twice the speed of Pillow, and the same pixels but for the last bit.

It loads torch, which takes a second: a worker asks for it when there is much to decode. Of torchvision it takes the
native library alone; to import the package takes longer than torch does, for models that nobody asks for.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pinembed.images.decode import DAMAGE, MAX_PIXELS
from pinembed.images.loading import Picture
from pinembed.images.preprocess import INTERPOLATIONS, is_strip, resized_size, squared
from pinembed.nouns.encoder_spec import Preprocessing

JPEG_START = b"\xff\xd8\xff"
RGB = 3  # torchvision's ImageReadMode.RGB


def prepare() -> bool:
    """Set torch up for one process among several.

    Returns:
        False where torchvision lacks its decoder, or torch's resizing is not Pillow's, as without AVX2.
    """
    torch.set_num_threads(1)
    if not _has_decoder():
        return False
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
        picture_CHW = torch.ops.image.decode_jpeg(encoded, RGB, True)  # upright, as EXIF has it
    except RuntimeError:
        return None
    _, height_px, width_px = picture_CHW.shape
    size = resized_size((width_px, height_px), preprocessing)
    resized_CHW = _resized(picture_CHW, size, preprocessing.interpolation)
    return squared(resized_CHW, preprocessing), width_px, height_px


def _has_decoder() -> bool:
    """Load torchvision's native library of decoders."""
    package = importlib.util.find_spec("torchvision")
    folders = package.submodule_search_locations or [] if package is not None else []
    libraries = [path for folder in folders for path in Path(folder).glob("image*.so")]
    try:
        for library in libraries:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    except OSError:  # made for another torch
        return False
    return hasattr(torch.ops.image, "decode_jpeg")


def _is_plain(content: bytes, preprocessing: Preprocessing) -> bool:
    """Whether the header promises a picture that both decoders read alike."""
    try:
        with Image.open(io.BytesIO(content), formats=["JPEG"]) as header:
            pixels = header.width * header.height
            return header.mode in {"RGB", "L"} and pixels <= MAX_PIXELS and not is_strip(header.size, preprocessing)
    except (*DAMAGE, Image.DecompressionBombError):
        return False


def _resized(picture_CHW: torch.Tensor, size: tuple[int, int], interpolation: str) -> NDArray[np.uint8]:
    mode = interpolation if interpolation in INTERPOLATIONS else "bicubic"
    width_px, height_px = size
    resized_BCHW = torch.nn.functional.interpolate(
        picture_CHW[None], size=(height_px, width_px), mode=mode, antialias=True
    )
    pixels_CHW: NDArray[np.uint8] = resized_BCHW[0].numpy()
    return pixels_CHW
