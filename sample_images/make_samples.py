"""Draw the sample shop: pictures of made-up products, and a table that describes them.

Run it as `python sample_images/make_samples.py`. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import csv
import random
from pathlib import Path

from canvas import Sprite
from PIL import Image
from scenes import draw_view, view_scene
from shop import CATEGORIES, VIEWS_PER_PRODUCT, Product, description, stock, title

SEED = 7
COLUMNS = (
    "file_name",
    "id",
    "product",
    "title",
    "description",
    "category",
    "color",
    "pattern",
    "style",
    "price",
    "split",
)
WEBP = {"quality": 75, "method": 6}
_SHEET_COLUMNS, _SHEET_ROWS = 10, 4
_SHEET_CELL_PX, _SHEET_GUTTER_PX = 116, 4


def draw_product(product: Product, seed: int) -> Image.Image:
    """Return the product alone, on a transparent ground."""
    sprite = Sprite()
    CATEGORIES[product.category].draw(sprite, product.look, random.Random(f"shape {seed} {product.key}"))
    return sprite.image()


def draw_photo(product: Product, cutout: Image.Image, view: int, seed: int) -> Image.Image:
    """Return one view of the product, counted from 0."""
    rng = random.Random(f"view {seed} {product.key} {view}")
    scene = view_scene(view, rng)
    return draw_view(cutout, CATEGORIES[product.category].place, product.look.base, scene, rng)


def describe(product: Product, view: int, seed: int) -> dict[str, str]:
    """Return the table row of one view."""
    item = f"{product.key}-{view + 1}"
    rng = random.Random(f"text {seed} {item}")
    category, color, pattern, style = product.values
    return {
        "file_name": f"images/{item}.webp",
        "id": item,
        "product": product.key,
        "title": title(product, view, rng),
        "description": description(product, rng),
        "category": category,
        "color": color,
        "pattern": pattern,
        "style": style,
        "price": f"{product.price:.2f}",
        "split": product.split,
    }


def write_samples(out: Path, seed: int) -> list[dict[str, str]]:
    """Write images/*.webp and metadata.csv below `out`; return the table's rows."""
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for product in stock(seed):
        cutout = draw_product(product, seed)
        for view in range(VIEWS_PER_PRODUCT):
            row = describe(product, view, seed)
            draw_photo(product, cutout, view, seed).save(out / row["file_name"], "WEBP", **WEBP)
            rows.append(row)
    with (out / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return rows


def draw_contact_sheet(out: Path, rows: list[dict[str, str]]) -> Image.Image:
    """Return the first views of some products, side by side, read from the written files."""
    first = [row for row in rows if row["id"].endswith("-1")]
    step = _SHEET_CELL_PX + _SHEET_GUTTER_PX
    size = (_SHEET_COLUMNS * step + _SHEET_GUTTER_PX, _SHEET_ROWS * step + _SHEET_GUTTER_PX)
    sheet = Image.new("RGB", size, "white")
    names = list(CATEGORIES)
    for down in range(_SHEET_ROWS):
        for right in range(_SHEET_COLUMNS):
            # Each row starts with another category, so that like does not stand above like.
            category = names[(right + 3 * down) % len(names)]
            row = [row for row in first if row["category"] == category][down]
            with Image.open(out / row["file_name"]) as photo:
                cell = photo.resize((_SHEET_CELL_PX, _SHEET_CELL_PX), Image.Resampling.LANCZOS)
            sheet.paste(cell, (_SHEET_GUTTER_PX + right * step, _SHEET_GUTTER_PX + down * step))
    return sheet


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder to write to")
    parser.add_argument("--contact-sheet", type=Path, help="also draw an overview to this file (.png or .jpg)")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed draws another shop")
    arguments = parser.parse_args()
    rows = write_samples(arguments.out, arguments.seed)
    if arguments.contact_sheet:
        draw_contact_sheet(arguments.out, rows).save(arguments.contact_sheet, quality=88, optimize=True)


if __name__ == "__main__":
    main()
