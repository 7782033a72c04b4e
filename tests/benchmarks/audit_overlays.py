"""Why `audit` looks for no text and no watermarks: what plain detectors make of drawn ones.

    python tests/benchmarks/audit_overlays.py PHOTOS [--sample N]

A price tag and a pale diagonal watermark are drawn on photos of the half that thresholds were not chosen on
(`audit_damage.py`). Three measures that need no model see them beside the same photos without: thin bright or dark
strokes (top-hat and its opposite), pixels of one extreme brightness in patches, and how steep the steepest edges are.
Printed are each one's AUC, and its precision where it finds half of the overlays and one photo in twenty has one.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from audit_damage import as_jpeg, auc, halves
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Floats = NDArray[np.float64]
SIDE_PX, QUALITY = 320, 85
STROKE_PX, STRONG, EXTREME = 7, 50, 250
PREVALENCE, RECALL = 0.05, 0.5


def tagged(image: Image.Image, number: int) -> Image.Image:
    made = image.copy()
    font = ImageFont.load_default(image.width // 9)
    place = (image.width * (number % 3) // 6, image.height * (number % 5) // 6)
    words = ("SALE -50%", "NEW!", "3 FOR 2", "FREE SHIPPING")[number % 4]
    ImageDraw.Draw(made).text(place, words, fill=((255, 255, 255), (220, 20, 30), (10, 10, 10))[number % 3], font=font)
    return made


def watermarked(image: Image.Image, number: int) -> Image.Image:
    layer = Image.new("RGBA", image.size, (255, 255, 255, 0))
    font = ImageFont.load_default(image.width // 8)
    ImageDraw.Draw(layer).text((image.width // 8, image.height // 3), "SAMPLE", fill=(255, 255, 255, 90), font=font)
    turned = layer.rotate(20 + number % 20)
    return Image.alpha_composite(image.convert("RGBA"), turned).convert("RGB")


def strokes(grey: Image.Image) -> float:
    opened = grey.filter(ImageFilter.MinFilter(STROKE_PX)).filter(ImageFilter.MaxFilter(STROKE_PX))
    closed = grey.filter(ImageFilter.MaxFilter(STROKE_PX)).filter(ImageFilter.MinFilter(STROKE_PX))
    values, low, high = (np.asarray(one, dtype=np.int16) for one in (grey, opened, closed))
    return float(((values - low > STRONG) | (high - values > STRONG)).mean())


def extremes(grey: Image.Image) -> float:
    values = np.asarray(grey)
    return float(((values >= EXTREME) | (values <= 255 - EXTREME)).mean())


def steepness(grey: Image.Image) -> float:
    values = np.asarray(grey, dtype=np.int16)
    return float(np.percentile(np.abs(np.diff(values, axis=1)), 99))


MEASURES: dict[str, Callable[[Image.Image], float]] = {
    "thin strokes": strokes,
    "extreme pixels": extremes,
    "steep edges": steepness,
}
OVERLAYS = {"price tag": tagged, "watermark": watermarked}


def measured(image: Image.Image) -> list[float]:
    grey = Image.open(io.BytesIO(as_jpeg(image, QUALITY))).convert("L")
    return [measure(grey) for measure in MEASURES.values()]


def precision(whole: Floats, drawn: Floats) -> float:
    """Where RECALL of the overlays are found and PREVALENCE of all photos have one."""
    threshold = np.quantile(drawn, 1 - RECALL)
    hits, false = PREVALENCE * (drawn >= threshold).mean(), (1 - PREVALENCE) * (whole >= threshold).mean()
    return float(hits / (hits + false))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--sample", type=int, default=400)
    wanted = parser.parse_args()
    half = halves(wanted.photos)["other"]
    files = [half[index] for index in np.random.default_rng(0).permutation(len(half))[: wanted.sample]]
    photos = [Image.open(path).convert("RGB").resize((SIDE_PX, SIDE_PX)) for path in files]
    whole = np.array([measured(photo) for photo in photos])
    for name, draw in OVERLAYS.items():
        drawn = np.array([measured(draw(photo, number)) for number, photo in enumerate(photos)])
        for column, measure in enumerate(MEASURES):
            pair = whole[:, column], drawn[:, column]
            sys.stdout.write(f"{name:10} {measure:15} AUC {auc(*pair):.3f}, precision {precision(*pair):.2f}\n")


if __name__ == "__main__":
    main()
