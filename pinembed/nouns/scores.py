"""Retrieval figures with intervals, slices of a split, and the verdict of a comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pinembed.nouns.encoder_spec import Fusion
from pinembed.stored import fields_of

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
        queries: queries that have at least one positive in the gallery.
        gallery: candidates that each query chooses from.
        recall_at_1: share of queries with a positive in first place; `recall_at_5`, `recall_at_10` alike.
        mrr: mean of 1 / rank of the first positive.
        map: mean average precision over all positives.
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

    A direction is None where no query has a positive, e.g. image_to_image when each item is a group of its own.

    Attributes:
        knn5: majority of the 5 nearest labelled images; None without a group.
        label_zero_shot: the class name nearest to the image; None without a group.
    """

    text_to_image: RetrievalScores | None
    image_to_text: RetrievalScores | None
    image_to_image: RetrievalScores | None
    knn5: Accuracy | None = None
    label_zero_shot: Accuracy | None = None


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
        return {"encoder": self.encoder, "fingerprint": self.fingerprint, **fields_of(self.scores)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """Some items of a split.

    Attributes:
        name: for people and scripts, e.g. `category: fruit` or `text: missing`.
        indices: of its items in the sequence that was cut up, ascending.
    """

    name: str
    indices: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceScores:
    """One encoder on the queries of one slice; each still chooses from the complete gallery.

    Attributes:
        name: of the slice.
        images: that belong to it.
        large: it holds enough images to stop a promotion.
        text_to_image: mAP; None where no query of the slice has a positive. The other directions alike.
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


ITEM_DIRECTIONS = ("text_to_item", "image_to_item")


@dataclass(frozen=True, kw_only=True)
class ItemFigures:
    """Search among items.

    Attributes:
        text_to_item: texts of the metadata ask, none of them one that the item carries. None where no honest query can
            be made.
        image_to_item: each item's bare image asks the other items. None where none has a positive.
    """

    text_to_item: RetrievalScores | None
    image_to_item: RetrievalScores | None


@dataclass(frozen=True, kw_only=True)
class ItemScores:
    """Items under a fusion beside the same items as images alone, asked by the same queries.

    Attributes:
        fusion: the weights.
        items: that were searched.
        query_fields: columns whose values asked, each while the items did not carry it.
        fused: figures of the fused items.
        image_only: figures of the images alone.
        difference: fused minus image-only, with paired intervals.
    """

    fusion: Fusion
    items: int
    query_fields: tuple[str, ...]
    fused: ItemFigures
    image_only: ItemFigures
    difference: ItemFigures

    def to_json(self) -> dict[str, Any]:
        """The fused items' figures stand at the top level."""
        return {
            "fusion": self.fusion,
            "items": self.items,
            "query_fields": self.query_fields,
            **fields_of(self.fused),
            "image_only": self.image_only,
            "difference": self.difference,
        }


@dataclass(frozen=True, kw_only=True)
class ItemComparison:
    """Items of two encoders as `encode` stores them, asked by the same queries.

    Attributes:
        query_fields: columns whose values asked, each while no item carried it.
        challenger: figures of the one.
        champion: figures of the other.
        difference: challenger minus champion, with paired intervals.
    """

    query_fields: tuple[str, ...]
    challenger: ItemFigures
    champion: ItemFigures
    difference: ItemFigures


@dataclass(frozen=True, kw_only=True)
class FusionReport:
    """What `pinembed finetune` did about the metadata in an item's vector.

    Attributes:
        fusion: that the encoder stores; None for vectors of the image alone.
        reason: why; a sentence.
        val: figures of the best weights on the validation split; None where nothing could be measured.
        test: figures of the chosen weights on the gate split; None where there was nothing to judge, or no split.
    """

    fusion: Fusion | None
    reason: str
    val: ItemScores | None
    test: ItemScores | None


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

    def most_telling(self, count: int) -> list[SliceChange]:
        """At most `count` slices in their order: those that are worse, then the largest."""
        ranked = sorted(self.slices, key=lambda found: (not found.worse, -found.images))[:count]
        return [found for found in self.slices if found in ranked]


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
