"""Evaluation: how well an encoder finds the right items of a split, with an interval for every figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

METRICS = ("recall@1", "recall@5", "recall@10", "mrr", "map")
DIRECTIONS = ("text_to_image", "image_to_text", "image_to_image")


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over queries, or a difference of two, and its 95 % interval by a bootstrap over groups."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievalScores:
    """One direction of retrieval.

    Attributes:
        queries: queries that have at least one right answer in the gallery.
        gallery: candidates that each query chooses from.
        recall_at_1: share of queries with a right answer in first place; `recall_at_5`, `recall_at_10` alike.
        mrr: mean of 1 / rank of the first right answer.
        map: mean average precision over all right answers.
    """

    queries: int
    gallery: int
    recall_at_1: Estimate
    recall_at_5: Estimate
    recall_at_10: Estimate
    mrr: Estimate
    map: Estimate

    @property
    def estimates(self) -> tuple[Estimate, ...]:
        """In the order of METRICS."""
        return (self.recall_at_1, self.recall_at_5, self.recall_at_10, self.mrr, self.map)

    def to_json(self) -> dict[str, Any]:
        """`recall@1` ... `map` as numbers, and their intervals by the same names under `interval_95`."""
        named = dict(zip(METRICS, self.estimates, strict=True))
        return {
            "queries": self.queries,
            "gallery": self.gallery,
            **{name: estimate.value for name, estimate in named.items()},
            "interval_95": {name: [estimate.low, estimate.high] for name, estimate in named.items()},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Accuracy:
    """Share of queries that get the right group.

    Attributes:
        queries: images that were classified.
        gallery: what they were compared with: labelled images for knn5, class names for label_zero_shot.
        gallery_split: the split that the labelled images come from; None for class names.
        accuracy: over all queries.
    """

    queries: int
    gallery: int
    gallery_split: str | None
    accuracy: Estimate

    def to_json(self) -> dict[str, Any]:
        return {
            "queries": self.queries,
            "gallery": self.gallery,
            "gallery_split": self.gallery_split,
            "accuracy": self.accuracy.value,
            "interval_95": [self.accuracy.low, self.accuracy.high],
        }


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All figures of one encoder on one split, or the differences of two encoders on the same queries.

    A direction is None where no query has a right answer, e.g. image_to_image when each item is a group of its own.

    Attributes:
        knn5: majority of the 5 nearest labelled images; None without a group.
        label_zero_shot: the class name nearest to the image; None without a group.
    """

    text_to_image: RetrievalScores | None
    image_to_text: RetrievalScores | None
    image_to_image: RetrievalScores | None
    knn5: Accuracy | None
    label_zero_shot: Accuracy | None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """One encoder's figures.

    Attributes:
        encoder: the reference that the user gave.
        fingerprint: of its EncoderSpec.
    """

    encoder: str
    fingerprint: str
    scores: Scores

    def to_json(self) -> dict[str, Any]:
        """The figures stand beside the name."""
        return {
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            **{direction: getattr(self.scores, direction) for direction in DIRECTIONS},
            "knn5": self.scores.knn5,
            "label_zero_shot": self.scores.label_zero_shot,
        }
