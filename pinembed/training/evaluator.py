"""Weights as validation sees them: batch-norm statistics taken anew, figures, and interpolation between base and tuned.

Training shows enlarged, recoloured crops at a smaller side, and running statistics are those of the crops. Averaged or
interpolated weights have no statistics of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from pinembed.encoder.encoder import Encoder
from pinembed.metrics.intervals import loses_nowhere, mean_map_error
from pinembed.metrics.probes import EffectiveRank, effective_rank
from pinembed.metrics.split_metrics import SplitEmbeddings, SplitScores, measure_split
from pinembed.nouns.progress import Progress
from pinembed.reports.finetune import EpochRecord
from pinembed.training.datasets import BATCH_SIZE, SplitDataset, tower_inputs
from pinembed.training.optimiser import FEWEST_FOR_STATISTICS, batch_norms
from pinembed.training.recipe import Recipe


def epoch_record(epoch: int, scores: SplitScores, *, seconds: float, loss: float | None = None) -> EpochRecord:
    """Validation figures of an epoch as the report holds them."""
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
    """Embeds a split with whatever weights the encoder holds at the moment."""

    def __init__(self, encoder: Encoder, split: SplitDataset, progress: Progress) -> None:
        self._encoder = encoder
        self._split = split
        self._progress = progress
        self.images = len(split.pixels)

    def measure(self, stage: str) -> tuple[SplitScores, EffectiveRank]:
        """Retrieval in every direction, and how far the images spread in the space.

        Raises:
            NonFiniteEmbeddingError: the weights give NaN or inf.
        """
        self._encoder.model.eval()
        labelled = self._split.labelled
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
        pixels = self._split.pixels
        self._progress.start(stage, len(pixels), "img")
        rows = []
        for start in range(0, len(pixels), BATCH_SIZE):
            indices = range(start, min(start + BATCH_SIZE, len(pixels)))
            rows.append(self._encoder.embed_images(pixels.batch(indices)))
            self._progress.advance(len(indices))
        self._progress.finish()
        return torch.cat(rows)


@torch.no_grad()
def recalibrate(norms: Iterable[_BatchNorm], encode: Callable[[Tensor], object], batches: Iterable[Tensor]) -> None:
    """Replace the running statistics by the mean over batches, with the weights of the moment.

    Args:
        norms: of a model in evaluation mode, which they are left in.
        encode: runs them all.
        batches: its input, FEWEST_FOR_STATISTICS rows or more each.
    Source: Wu and Johnson 2021, Rethinking "batch" in BatchNorm, arXiv:2105.07576, section 3 (PreciseBN).
    """
    momenta = [(norm, norm.momentum) for norm in norms]
    for norm, _ in momenta:
        norm.reset_running_stats()
        norm.momentum = None  # equal shares for all batches
        norm.train()
    try:
        for batch in batches:
            encode(batch)
    finally:
        for norm, momentum in momenta:
            norm.momentum = momentum
            norm.eval()


IMAGES_TO_KEEP, IMAGES_TO_VALIDATE = 2048, 256
"""Images for weights that may be kept, and for those of a validation after an epoch; fewer where there are fewer."""


class BatchNormRecalibration:
    """What the encoder's batch norms use outside training.

    Towers without batch norms, and those whose batch norms kept the base's statistics, are left as they are.

    Attributes:
        images: of a quick recalibration; 0 where nothing is recalibrated.

    Args:
        seed: which images are taken of many.
    """

    def __init__(self, encoder: Encoder, recipe: Recipe, train: SplitDataset, *, seed: int, progress: Progress) -> None:
        self._encoder = encoder
        self._train = train
        self._progress = progress
        self._norms = [] if recipe.keeps_statistics else batch_norms(encoder.model)
        drawn = np.random.default_rng((seed, 1)).permutation(len(train.pixels))[:IMAGES_TO_KEEP]
        rest = len(drawn) % BATCH_SIZE
        whole = len(drawn) - rest if rest < FEWEST_FOR_STATISTICS else len(drawn)
        self._indices = drawn[:whole].tolist() if self._norms else []
        self.images = len(self._indices[:IMAGES_TO_VALIDATE])

    def recalibrate_quickly(self) -> None:
        """With the weights of the moment, on few images: enough to validate an epoch."""
        self._take(self._indices[: self.images])

    def completed(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights with statistics of their own, on many images; the encoder holds them afterwards."""
        self._encoder.model.load_state_dict(weights)
        self._take(self._indices)
        return {name: tensor.detach().clone() for name, tensor in self._encoder.model.state_dict().items()}

    def _take(self, indices: list[int]) -> None:
        if indices:
            self._encoder.model.eval()
            inputs = tower_inputs(
                self._encoder, self._train, indices, stage="batch-norm statistics", progress=self._progress
            )
            recalibrate(self._norms, cast(Any, self._encoder.model).encode_image, inputs)


ALPHAS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Chosen weights.

    Attributes:
        alpha: 0 is the base, 1 the tuned weights.
        epoch: whose weights were interpolated; 0 for the base, with or without fitted projections.
    """

    alpha: float
    epoch: int
    weights: dict[str, Tensor]
    scores: SplitScores


def choose_interpolation(
    evaluator: Evaluator, recalibration: BatchNormRecalibration, candidates: Sequence[Interpolation], progress: Progress
) -> Interpolation:
    """The nearest to the base of those that are as good as the best, and that lose to the base in no direction.

    The base comes first, the most tuned weights last. A loss within its standard error is none: what the few groups of
    validation cannot tell is the gate's to judge. As good is a mean mAP within a standard error of the best: of such,
    what holds more of the base has the higher figures on test. Where a whole training is as good as fitted projections
    it is taken: on unseen items it is better, which a validation of few groups may not show.
    Sources: Wortsman et al. 2022, Robust fine-tuning of zero-shot models, arXiv:2109.01903; Breiman et al. 1984,
    Classification and regression trees, section 3.4.3 (one standard error).
    """
    base, tuned = candidates[0], candidates[-1]
    interpolations = []
    for alpha in ALPHAS:
        weights = recalibration.completed(interpolated(base.weights, tuned.weights, alpha))
        scores = evaluator.measure_weights(weights, f"interpolating {alpha:.1f} of the way to the tuned weights")
        interpolations.append(Interpolation(alpha=alpha, epoch=tuned.epoch, weights=weights, scores=scores))
    allowed = [
        interpolation
        for interpolation in (*candidates, *interpolations)
        if loses_nowhere(interpolation.scores, base.scores)
    ]
    chosen = max(allowed, key=_mean_map)
    least = _mean_map(chosen) - mean_map_error(chosen.scores)
    as_good = [interpolation for interpolation in allowed if interpolation.epoch and _mean_map(interpolation) >= least]
    if chosen.alpha > 0 and as_good:
        chosen = min(as_good, key=lambda interpolation: interpolation.alpha)
    progress.say(
        f"interpolation: {chosen.alpha:.1f} of the {'tuned weights' if chosen.epoch else 'fitted projections'}, "
        f"validation mAP {chosen.scores.mean_map:.3f} (base {base.scores.mean_map:.3f}, "
        f"tuned {tuned.scores.mean_map:.3f})"
    )
    return chosen


def _mean_map(interpolation: Interpolation) -> float:
    return interpolation.scores.mean_map


def interpolated(base: dict[str, Tensor], tuned: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) base + alpha tuned; counters, which are no numbers to average, from the tuned weights."""
    return {
        name: torch.lerp(tensor, tuned[name], alpha) if tensor.is_floating_point() else tuned[name]
        for name, tensor in base.items()
    }
