"""Seeded pictures that compress and decode as photos do: 1/f noise in three colours, with a few sharp edges.

Noise of one scale compresses badly and flat shapes too well, and both lead decoders astray. Photos have about the same
contrast at every scale, which is what the octaves here give: 640 x 480 takes some 75 kB at quality 88, and 12
megapixels 1.7 MB.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

QUALITY = 88


def photo(seed: int, size: tuple[int, int]) -> Image.Image:
    """One picture of that width and height."""
    random = np.random.default_rng(seed)
    small = (max(1, size[0] // 16), max(1, size[1] // 16))
    colors = [Image.fromarray(noise(random, small, 24)).resize(size, Image.Resampling.BILINEAR) for _ in range(3)]
    pixels_HWC = 120 + noise(random, size, 60)[:, :, None] + np.stack([np.asarray(color) for color in colors], axis=2)
    image = Image.fromarray(pixels_HWC.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        left, top = random.integers(0, size[0]), random.integers(0, size[1])
        box = (left, top, left + random.integers(20, size[0] // 3), top + random.integers(20, size[1] // 3))
        draw.ellipse(tuple(int(edge) for edge in box), outline=tuple(random.integers(0, 256, 3).tolist()), width=3)
    return image


def noise(random: np.random.Generator, size: tuple[int, int], contrast: float) -> np.ndarray:
    """Noise of every grain from a quarter of the picture to a pixel, the finer the fainter."""
    cells = 4
    summed_HW = np.zeros((2, 2), dtype=np.float32)
    while True:
        cells = min(cells, size[0])
        grid = (cells, max(2, round(cells * size[1] / size[0])))
        larger = Image.fromarray(summed_HW).resize(grid, Image.Resampling.BICUBIC)
        grain_HW = random.uniform(-1, 1, (grid[1], grid[0])).astype(np.float32)
        summed_HW = np.asarray(larger) + grain_HW * np.float32(contrast / (cells / 4) ** 0.45)
        if cells == size[0]:
            return summed_HW
        cells *= 2


def make_photos(folder: Path, *, count: int, size: tuple[int, int]) -> Path:
    """A folder of them; one that is there is taken as it is."""
    if not folder.is_dir():
        partial = folder.with_name(f".{folder.name}")
        partial.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            photo(index, size).save(partial / f"{index:05}.jpg", quality=QUALITY)
        partial.rename(folder)
    return folder
