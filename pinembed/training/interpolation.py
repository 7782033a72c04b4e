"""Between base and tuned weights: as far from the base as validation agrees in every direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.metrics.split import SplitScores
from pinembed.nouns.progress import Progress
from pinembed.training.evaluator import Evaluator
from pinembed.training.recalibration import BatchNormRecalibration

ALPHAS = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Chosen weights.

    Attributes:
        alpha: 0 is the base, 1 the tuned weights.
        epoch: whose weights were blended; 0 for the base, and for the base with fitted heads.
        weights: state dict.
        scores: on the validation split.
    """

    alpha: float
    epoch: int
    weights: dict[str, Tensor]
    scores: SplitScores


def choose_interpolation(
    evaluator: Evaluator, recalibration: BatchNormRecalibration, candidates: Sequence[Interpolation], progress: Progress
) -> Interpolation:
    """The best mean mAP among the candidates and blends of first and last, with no direction below the first.

    Args:
        evaluator: measures on the validation split.
        recalibration: of batch norms, which are no blend of those of other weights.
        candidates: the base first, the most tuned weights last.
        progress: who watches.
    Source: Wortsman et al. 2022, Robust fine-tuning of zero-shot models, arXiv:2109.01903.
    """
    base, tuned = candidates[0], candidates[-1]
    interpolations = []
    for alpha in ALPHAS:
        weights = recalibration.completed(interpolated(base.weights, tuned.weights, alpha))
        scores = evaluator.measure_weights(weights, f"blend {alpha:.1f} of tuned and base")
        interpolations.append(Interpolation(alpha=alpha, epoch=tuned.epoch, weights=weights, scores=scores))
    allowed = [
        interpolation
        for interpolation in (*candidates, *interpolations)
        if is_nowhere_below(interpolation.scores, base.scores)
    ]
    chosen = max(allowed, key=lambda interpolation: interpolation.scores.mean_map)
    progress.say(
        f"blend: {chosen.alpha:.1f} of the {'tuned weights' if chosen.epoch else 'fitted heads'}, validation mAP "
        f"{chosen.scores.mean_map:.3f} (base {base.scores.mean_map:.3f}, tuned {tuned.scores.mean_map:.3f})"
    )
    return chosen


def is_nowhere_below(scores: SplitScores, floor: SplitScores) -> bool:
    """No direction has a lower mAP."""
    return all(
        ours.mean("map") >= theirs.mean("map")
        for ours, theirs in zip(scores.directions, floor.directions, strict=True)
        if ours.queries
    )


def interpolated(base: dict[str, Tensor], tuned: dict[str, Tensor], alpha: float) -> dict[str, Tensor]:
    """(1 - alpha) base + alpha tuned; counters, which are no numbers to average, from the tuned weights."""
    return {
        name: torch.lerp(tensor, tuned[name], alpha) if tensor.is_floating_point() else tuned[name]
        for name, tensor in base.items()
    }
