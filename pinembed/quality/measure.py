"""The bytes of an image file and its decoded picture to ImageMeasures."""

from __future__ import annotations

import struct

from pinembed.nouns.measures import ImageMeasures, PictureMeasures
from pinembed.quality.blocks import TABLES, UNREAD, Block, metadata_blocks
from pinembed.quality.provenance import made_by_ai
from pinembed.quality.signature import signature_of

# the coarsest values of a table are cut at 255, so only its first ones tell low qualities apart; these add up to 105 in
# libjpeg's brightness table of quality 50, ITU-T T.81, table K.1
VALUES, SUM_AT_50 = 8, 105


def measure_image(content: bytes, picture: PictureMeasures) -> ImageMeasures:
    """What the file shows of its own quality."""
    blocks = list(metadata_blocks(content))
    says = made_by_ai(blocks, signature=lambda: signature_of(content))
    return ImageMeasures(
        picture=picture,
        jpeg_quality=_jpeg_quality(blocks),
        made_by_ai=says,
        has_unread=any(block.kind == UNREAD for block in blocks),
    )


def _jpeg_quality(blocks: list[Block]) -> int:
    """By the coarseness of the first brightness table, as libjpeg scales it; 0 where there is none."""
    tables = next((block.content for block in blocks if block.kind == TABLES), b"")
    if not tables or tables[0] & 0x0F:
        return 0
    size_bytes = 2 if tables[0] >> 4 else 1
    if len(tables) < 1 + VALUES * size_bytes:
        return 0
    total = sum(struct.unpack_from(f">{VALUES}{'H' if size_bytes == 2 else 'B'}", tables, 1))
    scale = 100.0 * total / SUM_AT_50
    quality: float = 5000.0 / scale if scale > 100 else (200.0 - scale) / 2
    return min(max(round(quality), 1), 100)
