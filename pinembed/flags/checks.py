"""The checks: each turns what is stored of a content into a score, and flags the contents beyond its threshold.

Every score grows with the damage. Thresholds were set on one half of 5,502 photos of groceries and measured on the
other (tests/benchmarks/audit_damage.py, docs/audit.md). A check whose rule changes gets a new version: what people
cleared is then asked about again.

Shape legend: N contents, H = W = LUMA_PX.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pinembed.nouns.measures import CHROMA_PX, LUMA_PX
from pinembed.quality.blocks import MOST_FILE_BYTES, MOST_TEXT_BYTES

Scores = NDArray[np.floating[Any]]
DUPLICATE, NEAR_DUPLICATE, FLOOD = "duplicate", "near_duplicate", "flood"
CAPTION_MISMATCH, OUTLIER, LEARNED = "caption_mismatch", "outlier", "learned"
PLACEHOLDER, MADE_BY_AI = "placeholder", "made_by_ai"
MIDDLE = slice(LUMA_PX // 4, LUMA_PX - LUMA_PX // 4)
GREY_CHROMA = 6  # of 255 from grey
MOST_PLACEHOLDER_BITS = 2.0
LEAST_BLURRED_BITS = 3.0  # what has less is of about one colour, and cannot be blurred


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is stored of N contents, in columns.

    Attributes:
        measures: the rows of NAME_measures.
        width_px: (N,) of the upright pictures.
        height_px: (N,) of the upright pictures.
        luma_NHW: brightness of the whole pictures.
        chroma_N: (N, 2, 8, 8) their colours.
    """

    measures: pa.Table
    width_px: NDArray[np.int64]
    height_px: NDArray[np.int64]
    luma_NHW: NDArray[np.uint8]
    chroma_N: NDArray[np.uint8]

    def column(self, name: str) -> Scores:
        """A column of numbers."""
        column: Scores = self.measures[name].to_numpy().astype(np.float32)
        return column

    def number(self, name: str, index: int) -> float:
        """One value of a column of numbers."""
        return float(self.measures[name][index].as_py())

    def texts(self, name: str) -> list[str]:
        """A column of texts."""
        texts: list[str] = self.measures[name].to_pylist()
        return texts


def contents_of(measures: pa.Table, *, width_px: NDArray[np.int64], height_px: NDArray[np.int64]) -> Contents:
    """The rows of NAME_measures, with the sizes of their pictures."""
    return Contents(
        measures=measures,
        width_px=width_px,
        height_px=height_px,
        luma_NHW=_joined(measures["luma"]).reshape(-1, LUMA_PX, LUMA_PX),
        chroma_N=_joined(measures["chroma"]).reshape(-1, 2, CHROMA_PX, CHROMA_PX),
    )


def _joined(column: pa.ChunkedArray) -> NDArray[np.uint8]:
    """The bytes of all values, one after another, without a Python object for each."""
    parts = [np.empty(0, dtype=np.uint8)]
    for chunk in column.chunks:
        offsets = np.frombuffer(chunk.buffers()[1], dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        if len(chunk):
            parts.append(np.frombuffer(chunk.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]])
    return np.concatenate(parts)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One look at one content.

    Attributes:
        name: as flags have it.
        score: of N contents; more is worse.
        threshold: the least score that is flagged.
        evidence: of the content with this index and this score, a sentence.
        version: of the rule.
    """

    name: str
    score: Callable[[Contents], Scores]
    threshold: float
    evidence: Callable[[Contents, int, float], str]
    version: int = 1


def _quantile(luma_NHW: NDArray[np.uint8], share: float) -> Scores:
    flat = luma_NHW.reshape(-1, luma_NHW.shape[1] * luma_NHW.shape[2])
    rank = int(share * flat.shape[1])
    return np.partition(flat, rank, axis=1)[:, rank].astype(np.float32)


def _dark(contents: Contents) -> Scores:
    return np.float32(1) - _quantile(contents.luma_NHW, 0.95) / 255


def _light(contents: Contents) -> Scores:
    """Brightness of the whole, half of it that of the middle's dark parts: an object on a white ground has some."""
    mean_N = contents.luma_NHW.mean(axis=(1, 2), dtype=np.float32)
    light: Scores = (_quantile(contents.luma_NHW[:, MIDDLE, MIDDLE], 0.1) + mean_N) / 510
    return light


def _blur(contents: Contents) -> Scores:
    """1 for a picture without any detail, and towards 0 for one with much; nothing of a picture of one colour."""
    blur = np.clip(1 - (contents.column("sharpness") - 1 / 16), 0, 1)
    return np.where(contents.column("entropy") < LEAST_BLURRED_BITS, 0, blur).astype(np.float32)


def _tiny(contents: Contents) -> Scores:
    return 1 / np.maximum(np.minimum(contents.width_px, contents.height_px), 1).astype(np.float32)


def _odd_shape(contents: Contents) -> Scores:
    longer, shorter = (side(contents.width_px, contents.height_px) for side in (np.maximum, np.minimum))
    return (longer / np.maximum(shorter, 1)).astype(np.float32)


def _compression(contents: Contents) -> Scores:
    quality = contents.column("jpeg_quality")
    return np.where(quality > 0, 1 - quality / 100, 0).astype(np.float32)


def _placeholder(contents: Contents) -> Scores:
    """How much of the picture is one grey ground, where all of it is grey and there is little more."""
    off_grey = np.abs(contents.chroma_N.astype(np.int16) - 128)
    grey_share = (off_grey <= GREY_CHROMA).mean(axis=(1, 2, 3))
    is_plain = contents.column("entropy") < MOST_PLACEHOLDER_BITS
    return np.where(is_plain, contents.column("ground") * grey_share, 0).astype(np.float32)


def _says_ai(contents: Contents) -> Scores:
    return np.array([bool(says) for says in contents.texts("made_by_ai")], dtype=np.float32)


CHECKS = (
    Check(
        name=MADE_BY_AI,
        score=_says_ai,
        threshold=1.0,
        evidence=lambda contents, index, _: str(contents.measures["made_by_ai"][index]),
    ),
    Check(
        name="unread_metadata",
        score=lambda contents: contents.column("has_unread"),
        threshold=1.0,
        evidence=lambda _, __, ___: (
            f"The file holds more metadata than is looked at ({MOST_FILE_BYTES >> 20} MiB, of packed text "
            f"{MOST_TEXT_BYTES >> 20}): whether it says that it is made by AI is not known."
        ),
    ),
    Check(
        name=PLACEHOLDER,
        score=_placeholder,
        threshold=0.8,
        evidence=lambda _, __, score: f"Grey throughout, {score:.0%} of it one ground.",
    ),
    Check(
        name="blurry",
        score=_blur,
        threshold=0.965,
        evidence=lambda contents, index, _: (
            f"Neighbouring pixels differ by {contents.number('sharpness', index):.3f} of what distant ones do; "
            "sharp photos by .1 to .3."
        ),
    ),
    Check(
        name="dark",
        score=_dark,
        threshold=0.75,
        evidence=lambda _, __, score: f"The brightest parts reach {1 - score:.0%} of white.",
    ),
    Check(
        name="light",
        score=_light,
        threshold=0.79,
        evidence=lambda _, __, score: f"The whole and the darkest parts of its middle have {score:.0%} of white.",
    ),
    Check(
        name="low_information",
        score=lambda contents: np.float32(1) - contents.column("entropy") / 8,
        threshold=0.65,
        evidence=lambda contents, index, _: (
            f"{contents.number('entropy', index):.1f} bits a pixel; photos have 5 to 8."
        ),
    ),
    Check(
        name="tiny",
        score=_tiny,
        threshold=1 / 64,
        evidence=lambda contents, index, _: f"{contents.width_px[index]} x {contents.height_px[index]} pixels.",
    ),
    Check(
        name="odd_shape",
        score=_odd_shape,
        threshold=3.0,
        evidence=lambda contents, index, score: (
            f"{contents.width_px[index]} x {contents.height_px[index]} pixels, {score:.1f} times as long as wide."
        ),
    ),
    Check(
        name="compressed",
        score=_compression,
        threshold=0.75,
        evidence=lambda _, __, score: f"A JPEG of quality {100 * (1 - score):.0f}.",
    ),
    Check(
        name="cut",
        score=lambda contents: contents.column("cut"),
        threshold=0.02,
        evidence=lambda _, __, score: f"The lowest {score:.0%} are the grey of a file that was cut off.",
    ),
)
COPY_VERSIONS = {DUPLICATE: 1, NEAR_DUPLICATE: 1, FLOOD: 1}
VECTOR_VERSIONS = {CAPTION_MISMATCH: 2, OUTLIER: 2, LEARNED: 1}
VERSIONS = {check.name: check.version for check in CHECKS} | COPY_VERSIONS | VECTOR_VERSIONS
