"""Made damage and made copies on a folder of photos: what the checks of `audit` find of it, beside CleanVision.

    python tests/benchmarks/audit_damage.py PHOTOS --work WORK [--half tuned] [--cleanvision PYTHON]

PHOTOS is split in two by chance, with a seed; thresholds were chosen on the half `tuned`, and the figures in
docs/audit.md are of the other one. Each photo of a sample is damaged in every way and written as a JPEG; a score's AUC
says how often a damaged photo is ranked above a whole one. Copies are searched among all photos of the half and all
copies of one kind.
PYTHON is an interpreter that has CleanVision, which then scores the same files in the same run.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from pinembed.flags.checks import CHECKS, Contents, contents_of
from pinembed.flags.copies import Copy, find_copies
from pinembed.images.decode import decode_image
from pinembed.quality.measure import measure_image
from pinembed.quality.picture import as_pixels, measure_picture, resize_by_pillow

Change = Callable[[Image.Image, int], Image.Image]


def gain(factor: float, offset: float = 0) -> Change:
    table = [min(255, max(0, round(value * factor + offset))) for value in range(256)] * 3
    return lambda image, _: image.point(table)


def blurred(share: float) -> Change:
    return lambda image, _: image.filter(ImageFilter.GaussianBlur(share * max(image.size)))


def placeholder(image: Image.Image, number: int) -> Image.Image:
    ground, ink = 180 + number * 7 % 65, 90 + number * 11 % 80
    made = Image.new("RGB", image.size, (ground, ground, ground))
    draw = ImageDraw.Draw(made)
    text = ("No image", "NO IMAGE\nAVAILABLE", "Image coming soon", "?", "")[number % 5]
    draw.text((image.width // 4, image.height // 2 - 8), text, fill=(ink, ink, ink))
    if number % 2:
        box = (image.width // 3, image.height // 3, 2 * image.width // 3, 8 * image.height // 15)
        draw.rectangle(box, outline=(ink, ink, ink), width=3)
    return made


def crop(left: float, top: float, right: float, bottom: float) -> Change:
    def cut(image: Image.Image, _: int) -> Image.Image:
        width, height = image.size
        return image.crop(
            (round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom)))
        )

    return cut


def border(colour: tuple[int, int, int]) -> Change:
    return lambda image, _: ImageOps.expand(image, round(0.05 * image.width), colour)


# damage: the check that should see it, the change, the JPEG quality, and CleanVision's score for it
DAMAGE: dict[str, tuple[str, Change, int, str]] = {
    "blur, sigma 1.2 % of the side": ("blurry", blurred(0.012), 90, "blurry_score"),
    "blur, sigma 2 % of the side": ("blurry", blurred(0.02), 90, "blurry_score"),
    "JPEG quality 10": ("compressed", gain(1), 10, ""),
    "32 px": ("tiny", lambda image, _: image.resize((32, 32)), 90, "odd_size_score"),
    "placeholder": ("placeholder", placeholder, 90, "low_information_score"),
    "overexposed, x 3": ("light", gain(3), 90, "light_score"),
    "overexposed, x 1.2 + 130": ("light", gain(1.2, 130), 90, "light_score"),
    "underexposed, x .2": ("dark", gain(0.2), 90, "dark_score"),
    "underexposed, x .12": ("dark", gain(0.12), 90, "dark_score"),
    "contrast 3 %": ("low_information", gain(0.03, 120), 90, "low_information_score"),
}
COPIES: dict[str, tuple[Change, int]] = {
    "recoded at quality 60": (gain(1), 60),
    "resized to 5/8": (lambda image, _: image.resize((image.width * 5 // 8, image.height * 5 // 8)), 85),
    "cropped by 5 % on each side": (crop(0.05, 0.05, 0.05, 0.05), 85),
    "cropped by 5 % on two sides": (crop(0.05, 0, 0, 0.05), 85),
    "cropped by 2.5 % on each side": (crop(0.025, 0.025, 0.025, 0.025), 85),
    "mirrored": (lambda image, _: ImageOps.mirror(image), 85),
    "with a white border of 5 %": (border((255, 255, 255)), 85),
    "with a dark border of 5 %": (border((20, 20, 30)), 85),
}
WHOLE, DAMAGED = "whole-", "damaged-"
BY_CLEANVISION = """
import json, sys
from cleanvision import Imagelab
lab = Imagelab(data_path=sys.argv[1])
lab.find_issues(n_jobs=1, verbose=False)
scores = {path: dict(row) for path, row in lab.issues.iterrows()}
json.dump({"scores": scores}, open(sys.argv[2], "w"), default=float)
"""


def halves(folder: Path) -> dict[str, list[Path]]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"})
    order = np.random.default_rng(0).permutation(len(files))
    parts = {"tuned": order[: len(files) // 2], "other": order[len(files) // 2 :]}
    return {name: [files[index] for index in sorted(part)] for name, part in parts.items()}


def as_jpeg(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def measured(files: Sequence[Path]) -> Contents:
    rows, sizes = [], []
    for path in files:
        content = path.read_bytes()
        image = decode_image(content, name=str(path))
        fields = dataclasses.asdict(measure_image(content, measure_picture(as_pixels(image), resize_by_pillow)))
        rows.append({**fields.pop("picture"), **fields})
        sizes.append(image.size)
    width_px, height_px = np.array(sizes, dtype=np.int64).T
    return contents_of(pa.Table.from_pylist(rows), width_px=width_px, height_px=height_px)


def auc(whole: NDArray[np.floating], damaged: NDArray[np.floating]) -> float:
    """Share of pairs in which the damaged one has the greater score; equal ones count half."""
    above = np.searchsorted(np.sort(whole), damaged, side="left") + np.searchsorted(
        np.sort(whole), damaged, side="right"
    )
    return float(above.sum() / (2 * len(whole) * len(damaged)))


def cleanvision(python: str, folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    found = folder.parent / f"{folder.name}.json"
    subprocess.run([python, "-c", BY_CLEANVISION, str(folder), str(found)], check=True, capture_output=True)
    loaded: dict[str, dict[str, dict[str, float]]] = json.loads(found.read_text())
    return loaded


def write(folder: Path, files: Sequence[Path], change: Change, quality: int, prefix: str = "") -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, path in enumerate(files):
        image = decode_image(path.read_bytes(), name=str(path))
        place = folder / f"{prefix}{number:05d}.jpg"
        place.write_bytes(as_jpeg(change(image, number), quality))
        written.append(place)
    return written


def cleanvision_figures(python: str, folder: Path, score: str) -> tuple[float, float]:
    """AUC and recall of a folder of damaged photos and whole ones, with which its size check compares.

    Its scores fall with damage; its own thresholds decide what it flags.
    """
    scores = cleanvision(python, folder)["scores"]
    parts = [
        np.array([-row[score] for path, row in scores.items() if Path(path).name.startswith(prefix)])
        for prefix in (WHOLE, DAMAGED)
    ]
    flag = f"is_{score.removesuffix('_score')}_issue"
    flagged = [bool(row[flag]) for path, row in scores.items() if Path(path).name.startswith(DAMAGED)]
    return auc(*parts), float(np.mean(flagged))


def damage(files: Sequence[Path], work: Path, python: str | None) -> None:
    contents = measured(write(work / "whole", files, gain(1), 85))
    clean = {check.name: check.score(contents) for check in CHECKS}
    thresholds = {check.name: check for check in CHECKS}
    flagged = {name: int((clean[name] >= check.threshold).sum()) for name, check in thresholds.items()}
    say(f"of {len(files)} whole photos are flagged: {flagged}")
    say(f"{'damage':32} {'check':16} {'AUC':>7} {'recall':>7}  CleanVision's AUC and recall")
    for number, (name, (check, change, quality, score)) in enumerate(DAMAGE.items()):
        folder = work / f"damage-{number}"
        found = thresholds[check].score(measured(write(folder, files, change, quality, DAMAGED)))
        recall = float((found >= thresholds[check].threshold).mean())
        line = f"{name:32} {check:16} {auc(clean[check], found):7.4f} {recall:7.3f}"
        if python and score:
            write(folder, files, gain(1), 85, WHOLE)
            theirs = cleanvision_figures(python, folder, score)
            line += f"  {theirs[0]:7.4f} {theirs[1]:7.3f} ({score.removesuffix('_score')})"
        say(line)


def copies(half: Sequence[Path], files: Sequence[Path], work: Path) -> None:
    originals = measured(half)
    index_of = {path: index for index, path in enumerate(half)}
    count = len(half)

    def search(luma: NDArray[np.uint8], chroma: NDArray[np.uint8], first: int) -> list[Copy]:
        return list(find_copies(luma, chroma, first=first, advance=lambda _: None))

    among = search(originals.luma_NHW, originals.chroma_N, 1)
    say(f"{len(among)} of the {count} photos themselves repeat another one, as the search has it")
    for one in among:
        say(f"  {half[one.index].name} = {half[one.of].name}, {one.similarity:.3f}")
    say(f"{'copies':32} {'recall':>7} {'precision':>9}   (a copy that is said to repeat another photo is wrong)")
    right = wrong = 0
    for number, (name, (change, quality)) in enumerate(COPIES.items()):
        made = measured(write(work / f"copies-{number}", files, change, quality))
        luma = np.concatenate([originals.luma_NHW, made.luma_NHW])
        found = search(luma, np.concatenate([originals.chroma_N, made.chroma_N]), count)
        hits = sum(one.of == index_of[files[one.index - count]] for one in found)
        right, wrong = right + hits, wrong + len(found) - hits
        say(f"{name:32} {hits / len(files):7.4f} {hits / max(len(found), 1):9.4f}")
    strict = right / (right + wrong + len(among))
    say(f"all: precision {right / (right + wrong):.4f}; {strict:.4f} if the photos' own pairs were wrong")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--half", choices=("tuned", "other"), default="other")
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--cleanvision", help="interpreter that has it")
    wanted = parser.parse_args()
    half = halves(wanted.photos)[wanted.half]
    files = [half[index] for index in np.random.default_rng(0).permutation(len(half))[: wanted.sample]]
    damage(files, wanted.work, wanted.cleanvision)
    copies(half, files, wanted.work)


if __name__ == "__main__":
    main()
