"""ImageMeasures: what one image file shows of its own quality, whatever it shows a picture of.

Shape legend: H = W = LUMA_PX or CHROMA_PX.
"""

from __future__ import annotations

from dataclasses import dataclass

MEASURES_VERSION = 2
LUMA_PX = 32
CHROMA_PX = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureMeasures:
    """What the decoded picture shows.

    Attributes:
        luma: 32 x 32 bytes; brightness of the whole picture, whatever its shape, row by row.
        chroma: 2 x 8 x 8 bytes; blue and red differences (Cb, Cr), 128 is grey.
        sharpness: energy of neighbouring pixels' differences over that of pixels four apart, at some 256 px; 1/16 for a
            picture without any detail at that size, .2 for a usual photo.
        entropy: of the brightness of single pixels, bits; 0 for one colour.
        ground: share of the pixels that have the commonest of 16 brightnesses.
        cut: share of rows at the bottom that are the grey with which decoders fill what is missing.
    """

    luma: bytes
    chroma: bytes
    sharpness: float
    entropy: float
    ground: float
    cut: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageMeasures:
    """What the picture shows, and what the bytes around it say.

    Attributes:
        picture: measured on the pixels.
        jpeg_quality: 1 to 100, as libjpeg would name its quantisation table; 0 for other formats.
        made_by_ai: what in the file says that it is made by AI, a sentence; empty where nothing does.
        has_unread: the file holds more metadata than is looked at.
    """

    picture: PictureMeasures
    jpeg_quality: int
    made_by_ai: str
    has_unread: bool
