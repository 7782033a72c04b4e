"""Validation figures as they are reported and said."""

from __future__ import annotations

from pinembed.metrics.split import SplitScores
from pinembed.nouns.finetune_report import EpochRecord


def epoch_record(epoch: int, scores: SplitScores, *, seconds: float, loss: float | None = None) -> EpochRecord:
    """Validation figures as they are reported."""
    text_to_image, image_to_text, image_to_image = (
        direction.mean("map") if direction.queries else None for direction in scores.directions
    )
    return EpochRecord(
        epoch=epoch,
        loss=loss,
        seconds=seconds,
        text_to_image_recall_at_1=scores.text_to_image.mean("recall@1") if scores.text_to_image.queries else None,
        text_to_image_map=text_to_image,
        image_to_text_map=image_to_text,
        image_to_image_map=image_to_image,
        mean_map=scores.mean_map,
    )


def shown_figures(record: EpochRecord) -> str:
    """The directions' mAP in one line."""
    return (
        f"validation mAP text > image {_figure(record.text_to_image_map)}, image > text "
        f"{_figure(record.image_to_text_map)}, image > image {_figure(record.image_to_image_map)}"
    )


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
