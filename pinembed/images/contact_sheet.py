"""Pictures for people: a contact sheet, a grid with titles and scores, and thumbnails inside of a page."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from pinembed.errors import ImageError
from pinembed.images.decode import read_image
from pinembed.outfolder import whole_file

COLUMNS = 5
CELL_PX = 232
PICTURE_PX = 208
TEXT_PX = 54
NOTE_LINES, NOTE_LINE_PX, NOTE_LINE_CHARS = 4, 16, 34
MARGIN_PX = 28
HEADING_PX = 74
GROUND = (250, 249, 247)
CARD = (255, 255, 255)
CARD_EDGE = (228, 225, 220)
INK = (38, 36, 34)
PALE_INK = (132, 126, 120)
ACCENT = (186, 62, 62)


@dataclass(frozen=True, kw_only=True, slots=True)
class SheetCell:
    """One picture of the sheet.

    Attributes:
        path: the image file; a grey field stands for one that cannot be read any more.
        title: cut to one line.
        score: a cosine, or another figure.
        note: a sentence below; cut to a few lines.
    """

    path: Path
    title: str
    score: float
    note: str = ""


def draw_sheet(cells: Sequence[SheetCell], *, heading: str, path: Path) -> None:
    """Draw the cells in rows of five and save a PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    columns = max(1, min(COLUMNS, len(cells)))
    rows = -(-len(cells) // columns)
    text_px = TEXT_PX + (NOTE_LINES * NOTE_LINE_PX if any(cell.note for cell in cells) else 0)
    width_px = max(2 * MARGIN_PX + columns * CELL_PX, 520)
    sheet = Image.new("RGB", (width_px, HEADING_PX + rows * (CELL_PX + text_px) + MARGIN_PX), GROUND)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (MARGIN_PX + 8, 26), heading, size_px=26, ink=INK, width_px=width_px - 2 * MARGIN_PX - 16)
    for index, cell in enumerate(cells):
        left_px = MARGIN_PX + index % columns * CELL_PX + 8
        top_px = HEADING_PX + index // columns * (CELL_PX + text_px)
        _draw_cell(sheet, draw, cell, index + 1, left_px, top_px, text_px)
    with whole_file(path, option="--sheet") as file:
        sheet.save(file, "PNG", optimize=True)


def _draw_cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    cell: SheetCell,
    rank: int,
    left_px: int,
    top_px: int,
    text_px: int,
) -> None:
    card_px = PICTURE_PX + 8
    box = (left_px, top_px, left_px + card_px, top_px + card_px + text_px)
    draw.rounded_rectangle(box, radius=10, fill=CARD, outline=CARD_EDGE)
    picture = _picture(cell.path)
    corner = (left_px + (card_px - picture.width) // 2, top_px + 5 + (PICTURE_PX - picture.height) // 2)
    sheet.paste(picture, corner)
    line_px = top_px + PICTURE_PX + 12
    _write(draw, (left_px + 10, line_px), cell.title, size_px=15, ink=INK, width_px=card_px - 20)
    _write(draw, (left_px + 10, line_px + 22), f"{rank}", size_px=14, ink=PALE_INK, width_px=60)
    score = f"{cell.score:.3f}"
    score_px = int(draw.textlength(score, font=ImageFont.load_default(14)))
    score_place = (left_px + card_px - 10 - score_px, line_px + 22)
    _write(draw, score_place, score, size_px=14, ink=ACCENT, width_px=80)
    note = textwrap.wrap(cell.note, NOTE_LINE_CHARS, max_lines=NOTE_LINES, placeholder=" …")
    for number, line in enumerate(note):
        place = (left_px + 10, line_px + 44 + number * NOTE_LINE_PX)
        _write(draw, place, line, size_px=12, ink=PALE_INK, width_px=card_px - 20)


def _picture(path: Path) -> Image.Image:
    try:
        return ImageOps.contain(read_image(path, at_least_px=2 * PICTURE_PX), (PICTURE_PX - 2, PICTURE_PX - 2))
    except ImageError:
        return Image.new("RGB", (PICTURE_PX - 2, PICTURE_PX - 2), CARD_EDGE)


def _write(
    draw: ImageDraw.ImageDraw,
    index: tuple[int, int],
    text: str,
    *,
    size_px: int,
    ink: tuple[int, int, int],
    width_px: int,
) -> None:
    """One line of text, with dots where it is too long."""
    font = ImageFont.load_default(size_px)
    line = " ".join(text.split())
    while line and draw.textlength(line, font=font) > width_px:
        line = line.rstrip("…")[:-1].rstrip() + "…" if len(line) > 1 else ""
    draw.text(index, line, font=font, fill=ink)


def thumbnail(path: Path, side_px: int) -> str:
    """A picture as a data address, at most so large; empty where it cannot be read."""
    try:
        image = read_image(path, at_least_px=2 * side_px)
    except ImageError:
        return ""
    image.thumbnail((side_px, side_px))
    written = io.BytesIO()
    image.convert("RGB").save(written, "WEBP", quality=70)
    return "data:image/webp;base64," + base64.b64encode(written.getvalue()).decode()
