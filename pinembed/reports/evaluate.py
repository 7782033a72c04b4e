"""EvaluateReport: what an encoder found on a split, alone or beside others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.nouns.scores import Comparison, Evaluation, ItemScores, RetrievalScores, SliceScores


@dataclass(frozen=True, kw_only=True)
class StorageFormat:
    """What retrieval costs when image embeddings are stored in this form; queries stay fp32.

    Attributes:
        form: e.g. `fp16` or `int8`.
        encode_options: of `pinembed encode`, by which it stores this form; None where it does not.
        bytes_per_item: of one image.
        table_bytes: of all items of the catalogue, without ids and metadata.
        text_to_image: None where no query has a positive; image_to_image alike.
        largest_loss: of mAP against fp32, in the worse of the two directions, at the far end of its 95 % interval.
        recommended: the smallest form of those that `encode` stores and that lose at most .01 so.
    """

    form: str
    encode_options: str | None
    bytes_per_item: int
    table_bytes: int
    text_to_image: RetrievalScores | None
    image_to_image: RetrievalScores | None
    largest_loss: float
    recommended: bool


@dataclass(frozen=True, kw_only=True)
class EvaluateReport:
    """What `pinembed evaluate` measured.

    Attributes:
        group: the column whose equal values are positives; None: equal item or equal text.
        text: columns that make the text of an item, or the template.
        images: images of the split that were embedded.
        broken: file names of images that could not be decoded; they take no part.
        encoder: the encoder's figures, those of images and texts, whatever its items are made of.
        fused_items: figures of its items as `encode` stores them; None where they are their images alone.
        slices: the encoder's figures on parts of the split.
        comparisons: the encoder beside each rival, in the order in which they were given; empty without one.
        storage_formats: the encoder's figures by the form in which embeddings are stored; empty unless asked for.
        plot: the picture of the comparisons or slices; None unless asked for.
    """

    data: str
    split: str
    group: str | None
    text: tuple[str, ...]
    images: int
    texts: int
    broken: tuple[str, ...]
    encoder: Evaluation
    fused_items: ItemScores | None
    slices: tuple[SliceScores, ...]
    comparisons: tuple[Comparison, ...]
    storage_formats: tuple[StorageFormat, ...]
    plot: Path | None

    @property
    def promoted(self) -> bool:
        """The encoder wins against every rival; False without one."""
        return bool(self.comparisons) and all(found.verdict.promoted for found in self.comparisons)

    def to_json(self) -> dict[str, Any]:
        """The encoder's figures stand at the top level, and beside them those of the first rival."""
        first = self.comparisons[0] if self.comparisons else None
        return {
            "data": self.data,
            "split": self.split,
            "group": self.group,
            "text": self.text,
            "images": self.images,
            "texts": self.texts,
            "broken": self.broken,
            **self.encoder.to_json(),
            "fused_items": self.fused_items,
            "slices": self.slices,
            "against": first and first.against,
            "difference": first and first.difference,
            "verdict": first and first.verdict,
            "promoted": self.promoted if first else None,
            "comparisons": self.comparisons,
            "storage_formats": self.storage_formats,
            "plot": self.plot,
        }
