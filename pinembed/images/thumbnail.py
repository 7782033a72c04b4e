"""A small picture inside of a page, as an address that holds its bytes."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from pinembed.errors import ImageError
from pinembed.images.decode import read_image


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
