"""Champion or challenger: the one place that decides.

A challenger is promoted when its mean mAP over all directions is higher with 95 % confidence, the mean over the
directions that involve text is so too, and neither a direction nor a large slice is lower with confidence. Without the
condition on text, a run on mismatched captions could buy its place with image-to-image gains alone.

Groups are drawn, not queries, by the same bootstrap that gives every figure its interval (`metrics.intervals`). An
interval of a verdict is the wider, on either side, of this paired bootstrap and of Student's t over groups: with few
groups the bootstrap alone is too narrow (at 5 groups it takes one copy in ten for an improvement, where one in forty is
meant).

Slices are many, so that one of them looks worse by chance: Holm's step-down test keeps the probability that any large
slice of an equal encoder is called worse at 2.5 %.

Shape legend: C units that are drawn (groups), Q queries.
Source: Holm 1979, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6(2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from pinembed.metrics.intervals import FEWEST_CLUSTERS, LEVELS, drawn_units, estimate, interval, standard_error
from pinembed.metrics.retrieval import QueryScores
from pinembed.metrics.split_metrics import MAP, SplitScores
from pinembed.nouns.scores import DIRECTIONS, Estimate, Slice, SliceChange, SliceScores, Verdict

LARGE_IMAGES = 30
LARGE_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class SplitPart:
    """The queries of a slice.

    Attributes:
        is_large: at least 30 images and 5 % of the split.
        has_image_N: which images query.
        has_text_T: which texts query: those of at least one of the images.
    """

    name: str
    images: int
    is_large: bool
    has_image_N: Tensor
    has_text_T: Tensor

    def of(self, scores: SplitScores) -> SplitScores:
        """The figures of the slice's queries."""
        return SplitScores(
            text_to_image=scores.text_to_image.of(self.has_text_T),
            image_to_text=scores.image_to_text.of(self.has_image_N),
            image_to_image=scores.image_to_image.of(self.has_image_N),
        )


def split_parts(slices: Sequence[Slice], text_of_N: Tensor, texts: int) -> tuple[SplitPart, ...]:
    """Slices of the images of a split as queries.

    Args:
        slices: with indices of images.
        text_of_N: which text belongs to an image; -1 for an item without text.
        texts: distinct texts of the split.
    """
    return tuple(_part(found, text_of_N, texts) for found in slices)


def _part(found: Slice, text_of_N: Tensor, texts: int) -> SplitPart:
    images = len(text_of_N)
    has_image_N = torch.zeros(images, dtype=torch.bool)
    has_image_N[list(found.indices)] = True
    has_text_T = torch.zeros(texts, dtype=torch.bool)
    has_text_T[text_of_N[has_image_N & (text_of_N >= 0)]] = True
    return SplitPart(
        name=found.name,
        images=len(found.indices),
        is_large=len(found.indices) >= max(LARGE_IMAGES, LARGE_SHARE * images),
        has_image_N=has_image_N,
        has_text_T=has_text_T,
    )


def slice_scores(part: SplitPart, scores: SplitScores, *, seed: int = 0) -> SliceScores:
    """Mean average precision of the slice's queries by direction, with intervals."""
    found = {
        name: estimate(of_slice.values_QM[:, MAP : MAP + 1], of_slice.cluster_Q, seed=seed)[0]
        if of_slice.queries
        else None
        for name, of_slice in zip(DIRECTIONS, part.of(scores).directions, strict=True)
    }
    return SliceScores(name=part.name, images=part.images, large=part.is_large, **found)


LEVEL = LEVELS[0]
TEXT_DIRECTIONS = 2  # the first two of DIRECTIONS

Pair = tuple[QueryScores, QueryScores]
"""Challenger and champion on the queries of one direction."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """A paired difference of mAP.

    Attributes:
        estimate: with its 95 % interval.
        p_lower: probability of a loss this large, or a larger one, where there is no difference; Student's t.
        clusters: groups that were drawn.
    """

    estimate: Estimate
    p_lower: float
    clusters: int


def decide(
    challenger: SplitScores, champion: SplitScores, parts: Sequence[SplitPart] = (), *, seed: int = 0
) -> Verdict:
    """Compare two encoders that answered the same queries, as a whole, by direction and by slice."""
    pairs = _pairs(challenger, champion)
    changes = {name: paired_change([pair], seed=seed) for name, pair in pairs.items()}
    mean = paired_change(list(pairs.values()), seed=seed)
    text = [pairs[name] for name in DIRECTIONS[:TEXT_DIRECTIONS] if name in pairs]
    text_mean = paired_change(text, seed=seed) if text else None
    slices = _slice_changes(challenger, champion, parts, seed=seed)
    promoted, reason = _judge(changes, mean, text_mean, slices)
    return Verdict(
        promoted=promoted,
        reason=reason,
        clusters=mean.clusters,
        mean_map=mean.estimate,
        text_mean_map=text_mean.estimate if text_mean else None,
        slices=slices,
        **{name: changes[name].estimate if name in changes else None for name in DIRECTIONS},
    )


def paired_change(pairs: Sequence[Pair], *, seed: int = 0) -> Change:
    """Mean over directions of the challenger's gain in mAP.

    Args:
        pairs: one for each direction; none of them empty.
        seed: of the bootstrap.
    """
    differences = [(ours.values_QM - theirs.values_QM)[:, MAP : MAP + 1].numpy() for ours, theirs in pairs]
    units = drawn_units([ours.cluster_Q for ours, _ in pairs])
    value = float(np.mean([values_Q1.mean() for values_Q1 in differences]))
    if units.count < FEWEST_CLUSTERS:  # a handful of queries tells nothing about others
        return Change(estimate=Estimate(value=value, low=-1.0, high=1.0), p_lower=1.0, clusters=units.clusters)
    sums, sizes = units.sums(differences), units.sizes()
    error = standard_error([sum_C1[:, 0] for sum_C1 in sums], sizes)
    (low,), (high,) = interval(sums, sizes, seed=seed)
    reach = float(stats.t.ppf(1 - LEVEL, units.count - 1)) * error
    p_lower = float(stats.t.cdf(value / error, units.count - 1)) if error > 0 else float(value >= 0)
    estimate = Estimate(value=value, low=min(float(low), value - reach), high=max(float(high), value + reach))
    return Change(estimate=estimate, p_lower=p_lower, clusters=units.clusters)


def _slice_changes(
    challenger: SplitScores, champion: SplitScores, parts: Sequence[SplitPart], *, seed: int
) -> tuple[SliceChange, ...]:
    found = []
    for part in parts:
        pairs = list(_pairs(part.of(challenger), part.of(champion)).values())
        if pairs:
            found.append((part, pairs, paired_change(pairs, seed=seed)))
    large = [index for index, (part, _, _) in enumerate(found) if part.is_large]
    tested = holm([found[index][2].p_lower for index in large])
    adjusted = {
        **{index: found[index][2].p_lower for index in range(len(found))},
        **dict(zip(large, tested, strict=True)),
    }
    return tuple(
        SliceChange(
            name=part.name,
            images=part.images,
            large=part.is_large,
            challenger=float(np.mean([ours.mean("map") for ours, _ in pairs])),
            champion=float(np.mean([theirs.mean("map") for _, theirs in pairs])),
            difference=change.estimate,
            p_worse=adjusted[index],
            worse=part.is_large and adjusted[index] < LEVEL,
        )
        for index, (part, pairs, change) in enumerate(found)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for multiple tests: by chance, any falls below a level with at most that probability."""
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values, kind="stable").tolist()):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _pairs(challenger: SplitScores, champion: SplitScores) -> dict[str, Pair]:
    named = zip(DIRECTIONS, challenger.directions, champion.directions, strict=True)
    return {name: (ours, theirs) for name, ours, theirs in named if ours.queries}


def _judge(
    changes: dict[str, Change], mean: Change, text_mean: Change | None, slices: Sequence[SliceChange]
) -> tuple[bool, str]:
    for name, change in changes.items():
        if change.estimate.high < 0:
            return False, f"{name.replace('_', ' ')} mAP is lower by {_loss(change.estimate)}."
    worst = min((found for found in slices if found.worse), key=lambda found: found.difference.value, default=None)
    if worst is not None:
        where = f"the slice {worst.name} ({worst.images:,} images)"
        return False, f"In {where} the mean mAP is lower by {_loss(worst.difference)}."
    if mean.estimate.low <= 0:
        return False, f"The mean mAP is not higher with confidence: {shown_change(mean.estimate)}."
    if text_mean is not None and text_mean.estimate.low <= 0:
        shown = shown_change(text_mean.estimate)
        return False, f"Images improve, but texts find them no better with confidence: mean mAP {shown}."
    nowhere = (
        "no direction and no large slice is lower" if any(found.large for found in slices) else "no direction is lower"
    )
    return True, f"The mean mAP is higher by {mean.estimate.value:.3f} ({_interval(mean.estimate)}), and {nowhere}."


def shown_change(estimate: Estimate) -> str:
    """A difference and its interval, for people."""
    return f"{estimate.value:+.3f} ({_interval(estimate)})"


def _loss(estimate: Estimate) -> str:
    return f"{-estimate.value:.3f} ({_interval(estimate)})"


def _interval(estimate: Estimate) -> str:
    return f"95 %: {estimate.low:+.3f} to {estimate.high:+.3f}"
