"""Image file to an upright RGB picture."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

from pinembed.errors import ImageError


def read_image(path: Path) -> Image.Image:
    """The picture in a file: RGB, 8 bit, upright.

    Raises:
        ImageError: the file is missing, unreadable, empty, truncated or no image.
    """
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            return upright.convert("RGB")
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path} is not an image.", remedy="Take the file out or replace it.", reason="not_an_image"
        ) from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(
            f"{path} cannot be decoded: {error}", remedy="Replace the file with a whole one.", reason="broken"
        ) from error
