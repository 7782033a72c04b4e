"""Parts of a measured split: the queries of some items, each against the complete gallery.

Shape legend: N images, T distinct texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.metrics.intervals import estimate
from pinembed.metrics.split import MAP, SplitScores
from pinembed.nouns.scores import DIRECTIONS, Slice, SliceScores

LARGE_IMAGES = 30
LARGE_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class SplitPart:
    """The queries of a slice.

    Attributes:
        name: of the slice.
        images: that belong to it.
        is_large: at least 30 images and 5 % of the split.
        has_image_N: which images ask.
        has_text_T: which texts ask: those of at least one of the images.
    """

    name: str
    images: int
    is_large: bool
    has_image_N: Tensor
    has_text_T: Tensor

    def of(self, scores: SplitScores) -> SplitScores:
        """What the slice's queries got."""
        return SplitScores(
            text_to_image=scores.text_to_image.of(self.has_text_T),
            image_to_text=scores.image_to_text.of(self.has_image_N),
            image_to_image=scores.image_to_image.of(self.has_image_N),
        )


def split_parts(slices: Sequence[Slice], text_of_N: Tensor, texts: int) -> tuple[SplitPart, ...]:
    """Slices of the images of a split as queries.

    Args:
        slices: places are those of images.
        text_of_N: which text belongs to an image; -1 for an item without text.
        texts: distinct texts of the split.
    """
    return tuple(_part(found, text_of_N, texts) for found in slices)


def _part(found: Slice, text_of_N: Tensor, texts: int) -> SplitPart:
    images = len(text_of_N)
    has_image_N = torch.zeros(images, dtype=torch.bool)
    has_image_N[list(found.indices)] = True
    has_text_T = torch.zeros(texts, dtype=torch.bool)
    has_text_T[text_of_N[has_image_N & (text_of_N >= 0)]] = True
    return SplitPart(
        name=found.name,
        images=len(found.indices),
        is_large=len(found.indices) >= max(LARGE_IMAGES, LARGE_SHARE * images),
        has_image_N=has_image_N,
        has_text_T=has_text_T,
    )


def slice_scores(part: SplitPart, scores: SplitScores, *, seed: int = 0) -> SliceScores:
    """Mean average precision of the slice's queries by direction, with intervals."""
    found = {
        name: estimate(of_slice.values_QM[:, MAP : MAP + 1], of_slice.cluster_Q, seed=seed)[0]
        if of_slice.queries
        else None
        for name, of_slice in zip(DIRECTIONS, part.of(scores).directions, strict=True)
    }
    return SliceScores(name=part.name, images=part.images, large=part.is_large, **found)
