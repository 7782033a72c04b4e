"""What converting wide-gamut photos to sRGB would change in their vectors, and whether it would help.

Photos of sRGB are given the values that a camera of the wide gamut writes for the same colours. Their vectors are
compared with those of the photos themselves: read as they are (profile ignored), and converted back as a viewer does.

usage: PYTHONPATH=. python tests/benchmarks/wide_gamut.py IMAGES ENCODER [--images 500]
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFilter

from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.images.decode import read_image
from pinembed.images.preprocess import preprocess
from tests.icc import adobe_rgb, display_p3

SRGB = ImageCms.createProfile("sRGB")
BATCH = 32


def embedded(encoder: Encoder, photos: Iterable[Image.Image]) -> NDArray[np.float32]:
    """(N, D) of norm 1."""
    pixels_NCHW = np.stack([preprocess(photo, encoder.preprocessing) for photo in photos])
    starts = range(0, len(pixels_NCHW), BATCH)
    parts = [encoder.embed_images(torch.from_numpy(pixels_NCHW[start : start + BATCH])) for start in starts]
    return torch.cat(parts).numpy()


def rewritten(photo: Image.Image) -> Image.Image:
    """Saved once more as a JPEG of quality 85, as a yardstick."""
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=85)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def neighbours(queries_ND: NDArray[np.float32], gallery_ND: NDArray[np.float32]) -> NDArray[np.int64]:
    """The 10 nearest of each, itself left out."""
    scores_NN = queries_ND @ gallery_ND.T
    np.fill_diagonal(scores_NN, -2)
    return np.argsort(-scores_NN, axis=1)[:, :10]


def line(name: str, changed_ND: NDArray[np.float32], plain_ND: NDArray[np.float32]) -> str:
    cosines = (changed_ND * plain_ND).sum(axis=1)
    near, before = neighbours(changed_ND, plain_ND), neighbours(plain_ND, plain_ND)
    kept = np.mean([len({*a} & {*b}) / 10 for a, b in zip(near.tolist(), before.tolist(), strict=True)])
    itself = np.mean((changed_ND @ plain_ND.T).argmax(axis=1) == np.arange(len(plain_ND)))
    quantiles = np.quantile(cosines, [0.5, 0.05, 0])
    figures = "  ".join(f"{value:.4f}" for value in quantiles)
    return f"{name:28} {figures}     {kept:.3f}      {itself:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--images", type=int, default=500)
    given = parser.parse_args()
    paths = sorted(path for path in given.photos.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    chosen = paths[:: max(1, len(paths) // given.images)][: given.images]
    photos = [read_image(path).resize((320, 320)) for path in chosen]
    encoder = load_encoder(given.encoder)
    plain_ND = embedded(encoder, photos)
    print(f"{len(photos)} photos              cosine: median, 5 %, least     same of 10   itself first")  # noqa: T201
    for name, make in (("Display P3", display_p3), ("Adobe RGB", adobe_rgb)):
        wide = ImageCms.ImageCmsProfile(io.BytesIO(make()))
        written = [ImageCms.profileToProfile(photo, SRGB, wide) for photo in photos]
        back = [ImageCms.profileToProfile(photo, wide, SRGB) for photo in written]
        print(line(f"{name}, as it is", embedded(encoder, written), plain_ND))  # noqa: T201
        print(line(f"{name}, converted", embedded(encoder, back), plain_ND))  # noqa: T201
    print(line("JPEG of quality 85", embedded(encoder, map(rewritten, photos)), plain_ND))  # noqa: T201
    soft = [photo.filter(ImageFilter.GaussianBlur(1)) for photo in photos]
    print(line("blur of 1 pixel", embedded(encoder, soft), plain_ND))  # noqa: T201


if __name__ == "__main__":
    main()
