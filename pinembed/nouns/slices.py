"""Slices: parts of a split that a mean over everything would hide."""

from __future__ import annotations

from dataclasses import dataclass

from pinembed.nouns.evaluation import Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Some items of a split.

    Attributes:
        name: for people and scripts, e.g. `category: fruit` or `text: missing`.
        places: of its items in the sequence that was cut up, ascending.
    """

    name: str
    places: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceScores:
    """One encoder on the queries of one slice; each still chooses from the complete gallery.

    Attributes:
        name: of the slice.
        images: that belong to it.
        large: it holds enough images to stop a promotion.
        text_to_image: mAP; None where no query of the slice has a right answer. The other directions alike.
    """

    name: str
    images: int
    large: bool
    text_to_image: Estimate | None
    image_to_text: Estimate | None
    image_to_image: Estimate | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceChange:
    """Two encoders on the queries of one slice, mAP as the mean over the directions that have queries.

    Attributes:
        name: of the slice.
        images: that belong to it.
        large: it holds enough images to stop a promotion.
        challenger: mean mAP.
        champion: mean mAP.
        difference: challenger minus champion with its paired 95 % interval.
        p_worse: probability of a loss this large by chance; of large slices adjusted for how many they are (Holm).
        worse: the loss is significant; in a large slice it stops the promotion.
    """

    name: str
    images: int
    large: bool
    challenger: float
    champion: float
    difference: Estimate
    p_worse: float
    worse: bool
