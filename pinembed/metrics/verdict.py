"""Champion or challenger: the one place that decides.

A challenger is promoted when its mean mAP over all directions is higher with 95 % confidence, the mean over the
directions that involve text is so too, and no direction is lower with that confidence. Without the condition on text, a
run on mismatched captions could buy its place with image-to-image gains alone.

Groups are resampled, not queries: the views of one product rise and fall together, and counting each of them as a
witness of its own would promote on luck.

Shape legend: C clusters, Q queries, R resamples.
Source: Field and Welsh 2007, Bootstrapping clustered data, J. R. Statist. Soc. B 69(3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pinembed.metrics.bootstrap import LEVELS, RESAMPLES
from pinembed.metrics.retrieval import QueryScores
from pinembed.metrics.split import SplitScores
from pinembed.nouns.evaluation import DIRECTIONS, METRICS, Estimate, Verdict

FEWEST_CLUSTERS = 5
MAP = METRICS.index("map")
TEXT_DIRECTIONS = 2  # the first two of DIRECTIONS

Floats = NDArray[np.float64]


def decide(challenger: SplitScores, champion: SplitScores, *, seed: int = 0) -> Verdict:
    """Compare two encoders that answered the same queries."""
    pairs = list(zip(challenger.directions, champion.directions, strict=True))
    clusters = torch.unique(torch.cat([ours.cluster_Q for ours, _ in pairs]))
    by_group = len(clusters) >= FEWEST_CLUSTERS
    weights_RC = _resampled_counts(len(clusters), seed) if by_group else None
    resampled, values = {}, {}
    for name, (ours, theirs) in zip(DIRECTIONS, pairs, strict=True):
        if ours.queries:
            difference_Q = (ours.values_QM[:, MAP] - theirs.values_QM[:, MAP]).numpy()
            values[name] = float(difference_Q.mean())
            resampled[name] = _resampled_means(difference_Q, ours, clusters, weights_RC, seed)
    means = {name: _estimate([values[name]], [resampled[name]]) for name in values}
    text = [name for name in DIRECTIONS[:TEXT_DIRECTIONS] if name in values]
    mean = _estimate(list(values.values()), list(resampled.values()))
    text_mean = _estimate([values[name] for name in text], [resampled[name] for name in text]) if text else None
    promoted, reason = _judge(means, mean, text_mean)
    return Verdict(promoted=promoted, reason=reason, clusters=len(clusters), mean_map=mean, text_mean_map=text_mean)


def _judge(means: dict[str, Estimate], mean: Estimate, text_mean: Estimate | None) -> tuple[bool, str]:
    for name, estimate in means.items():
        if estimate.high < 0:
            return False, f"{name.replace('_', ' ')} mAP is lower by {-estimate.value:.3f} ({_interval(estimate)})."
    if mean.low <= 0:
        return False, f"The mean mAP is not higher with confidence: {mean.value:+.3f} ({_interval(mean)})."
    if text_mean is not None and text_mean.low <= 0:
        shown = f"{text_mean.value:+.3f} ({_interval(text_mean)})"
        return False, f"Images improve, but texts find them no better with confidence: mean mAP {shown}."
    return True, f"The mean mAP is higher by {mean.value:.3f} ({_interval(mean)}), and no direction is lower."


def _interval(estimate: Estimate) -> str:
    return f"95 %: {estimate.low:+.3f} to {estimate.high:+.3f}"


def _resampled_counts(clusters: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    drawn = (np.bincount(rng.integers(0, clusters, clusters), minlength=clusters) for _ in range(RESAMPLES))
    return np.stack(list(drawn)).astype(np.float64)


def _resampled_means(
    difference_Q: Floats, scores: QueryScores, clusters: torch.Tensor, weights_RC: Floats | None, seed: int
) -> Floats:
    """Mean difference of each resample; queries are drawn one by one where there are too few groups to draw."""
    if weights_RC is None:
        return _resampled_counts(len(difference_Q), seed) @ difference_Q / len(difference_Q)
    cluster_Q = torch.searchsorted(clusters, scores.cluster_Q).numpy()
    sum_C = np.bincount(cluster_Q, weights=difference_Q, minlength=len(clusters))
    count_C = np.bincount(cluster_Q, minlength=len(clusters)).astype(np.float64)
    return (weights_RC @ sum_C) / np.maximum(weights_RC @ count_C, 1)


def _estimate(values: Sequence[float], resampled: Sequence[Floats]) -> Estimate:
    low, high = np.quantile(np.mean(resampled, axis=0), LEVELS)
    return Estimate(value=float(np.mean(values)), low=float(low), high=float(high))
