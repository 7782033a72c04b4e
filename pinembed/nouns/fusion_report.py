"""FusionReport: how fused items are found beside images alone, and which of the two an encoder stores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pinembed.nouns.evaluation import RetrievalScores
from pinembed.nouns.fusion import Fusion

ITEM_DIRECTIONS = ("text_to_item", "image_to_item")


@dataclass(frozen=True, kw_only=True)
class ItemFigures:
    """Search among items.

    Attributes:
        text_to_item: texts of the metadata ask, none of them one that the item carries. None where no honest query can
            be made.
        image_to_item: each item's bare image asks the other items. None where none has a right answer.
    """

    text_to_item: RetrievalScores | None
    image_to_item: RetrievalScores | None

    def to_json(self) -> dict[str, Any]:
        return {name: (found := getattr(self, name)) and found.to_json() for name in ITEM_DIRECTIONS}


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
            "fusion": asdict(self.fusion),
            "items": self.items,
            "query_fields": list(self.query_fields),
            **self.fused.to_json(),
            "image_only": self.image_only.to_json(),
            "difference": self.difference.to_json(),
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

    def to_json(self) -> dict[str, Any]:
        return {
            "fusion": None if self.fusion is None else asdict(self.fusion),
            "reason": self.reason,
            "val": None if self.val is None else self.val.to_json(),
            "test": None if self.test is None else self.test.to_json(),
        }
