"""Validation figures as they are reported and said."""

from __future__ import annotations

import torch
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.metrics.effective_rank import EffectiveRank, effective_rank
from pinembed.metrics.split import SplitEmbeddings, SplitScores, measure_split
from pinembed.nouns.progress import Progress
from pinembed.reports.finetune import EpochRecord
from pinembed.training.datasets import BATCH_SIZE, SplitDataset


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


class Evaluator:
    """Embeds a split with whatever weights the encoder holds at the moment.

    Args:
        encoder: its model changes during the run.
        examples: the split.
        progress: who watches.

    Attributes:
        images: of the split.
    """

    def __init__(self, encoder: Encoder, examples: SplitDataset, progress: Progress) -> None:
        self._encoder = encoder
        self._examples = examples
        self._progress = progress
        self.images = len(examples.pixels)

    def measure(self, stage: str) -> tuple[SplitScores, EffectiveRank]:
        """Retrieval in every direction, and how far the images spread in the space.

        Raises:
            NonFiniteEmbeddingError: the weights give NaN or inf.
        """
        self._encoder.model.eval()
        labelled = self._examples.labelled
        image_ND = self.embed_images(stage)
        scores = measure_split(
            SplitEmbeddings(
                image_ND=image_ND,
                text_TD=self._encoder.embed_texts(labelled.texts),
                text_of_N=labelled.text_of_N,
                group_of_N=labelled.group_of_N,
            )
        )
        return scores, effective_rank(image_ND)

    def measure_weights(self, weights: dict[str, Tensor], stage: str) -> SplitScores:
        """Load weights into the encoder and measure them."""
        self._encoder.model.load_state_dict(weights)
        return self.measure(stage)[0]

    def embed_images(self, stage: str) -> Tensor:
        """The split's images under the weights of the moment; (N, D) unit rows."""
        pixels = self._examples.pixels
        self._progress.start(stage, len(pixels), "img")
        rows = []
        for start in range(0, len(pixels), BATCH_SIZE):
            indices = range(start, min(start + BATCH_SIZE, len(pixels)))
            rows.append(self._encoder.embed_images(pixels.batch(indices)))
            self._progress.advance(len(indices))
        self._progress.finish()
        return torch.cat(rows)
