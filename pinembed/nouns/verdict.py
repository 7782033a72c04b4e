"""Verdict: whether one encoder takes the place of another."""

from __future__ import annotations

from dataclasses import dataclass

from pinembed.nouns.evaluation import DIRECTIONS, Estimate, Evaluation, Scores
from pinembed.nouns.fusion_report import ItemComparison
from pinembed.nouns.slices import SliceChange


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether a challenger takes the champion's place.

    Attributes:
        promoted: it does.
        reason: why, or why not; a sentence.
        clusters: groups that were resampled; where there are fewer than 5, single queries were.
        mean_map: difference of the mean mAP over all directions, with its paired 95 % interval.
        text_mean_map: the same over the two directions that involve text; None where neither has a query.
        text_to_image: difference of the mAP of one direction; None where it has no query. The others alike.
        slices: the same for parts of the split; one that is large and significantly worse stops the promotion.
    """

    promoted: bool
    reason: str
    clusters: int
    mean_map: Estimate
    text_mean_map: Estimate | None
    text_to_image: Estimate | None
    image_to_text: Estimate | None
    image_to_image: Estimate | None
    slices: tuple[SliceChange, ...] = ()

    @property
    def directions(self) -> dict[str, Estimate]:
        """Those that have queries, by name."""
        return {name: found for name in DIRECTIONS if (found := getattr(self, name)) is not None}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A challenger beside one rival on the same queries.

    Attributes:
        against: the rival's figures.
        difference: challenger minus rival, with paired intervals.
        verdict: whether the challenger should take the rival's place.
        items: both as items of image and metadata; None where neither fuses, or none was asked.
    """

    against: Evaluation
    difference: Scores
    verdict: Verdict
    items: ItemComparison | None = None
