"""The choice of a fusion: fused items and images alone under the same queries, and whether fusion loses anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pinembed.fusion.eval_set import FusionEvalSet, ItemSearch
from pinembed.metrics.intervals import retrieval_scores
from pinembed.metrics.verdict import paired_change, shown_change
from pinembed.nouns.encoder_spec import IMAGE, Fusion, make_fusion
from pinembed.nouns.scores import ItemFigures, ItemScores


def find_loss(fused: ItemSearch, alone: ItemSearch, *, seed: int, must_gain: bool) -> str | None:
    """Why fused items should not take the place of others, as a rule images; None where nothing speaks against it.

    Args:
        fused: by the same queries as
        alone: the others.
        seed: of the bootstrap.
        must_gain: the mean has to be higher with confidence; else it is enough that no direction is lower.
    """
    pairs = {
        name: (ours, theirs)
        for name, ours, theirs in (
            ("texts find items", fused.text, alone.text),
            ("images find items", fused.image, alone.image),
        )
        if ours.queries
    }
    for name, pair in pairs.items():
        change = paired_change([pair], seed=seed)
        if change.estimate.high < 0:
            return f"{name} worse, mAP {shown_change(change.estimate)}."
    if not must_gain:
        return None
    mean = paired_change(list(pairs.values()), seed=seed)
    if mean.estimate.low <= 0:
        return f"items are found no better with confidence, mean mAP {shown_change(mean.estimate)}."
    return None


def item_scores(eval_set: FusionEvalSet, fusion: Fusion, *, seed: int) -> ItemScores:
    """Figures of a fusion on a split."""
    eval_set = eval_set.without_sole_field(fusion)
    fused, alone = eval_set.search(fusion), eval_set.search(None)
    return ItemScores(
        fusion=fusion,
        items=len(eval_set.image_ND),
        query_fields=eval_set.query_fields,
        fused=item_figures(fused, None, seed),
        image_only=item_figures(alone, None, seed),
        difference=item_figures(fused, alone, seed),
    )


def item_figures(found: ItemSearch, minus: ItemSearch | None, seed: int) -> ItemFigures:
    """Figures of a search, or their difference to those of another one by the same queries."""
    text, image = (None, None) if minus is None else (minus.text, minus.image)
    return ItemFigures(
        text_to_item=retrieval_scores(found.text, text, seed=seed),
        image_to_item=retrieval_scores(found.image, image, seed=seed),
    )


LADDER = (0.0, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0)  # weight of a field's text beside an image of weight 1
ROUNDS = 4
NEAR = 0.003  # mAP; of weights this close to each other the ones with more of the image are taken
CHECKED = 2
LIGHTER = (0.7, 0.5, 0.35, 0.25, 0.12)  # of the best weights' texts, where the best do harm
LEAST_GAIN = 0.01  # mAP; less is not worth tying vectors to metadata and running the text tower over every item
FEWEST_QUERIES = 8
TEXTS_THAT_RANK, IMAGES_THAT_RANK = 150, 300  # of each field, and of all; what is accepted answers all queries

Rungs = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class FusionChoice:
    """The choice and its reason.

    Attributes:
        fusion: the weights; None for the image alone.
        best: the weights that came nearest, where none were accepted; None where no query could be made.
    """

    fusion: Fusion | None
    reason: str
    best: Fusion | None = None


def choose_fusion(eval_set: FusionEvalSet, *, seed: int = 0) -> FusionChoice:
    """The weights under which texts and images find items best, if they do so for certain.

    Coordinate search from the best of equal weights and of single fields, among weights that lower neither direction.
    Of the best weights, and of the best with ever less of the texts, the first are accepted whose mean mAP is higher
    than that of the images alone, by LEAST_GAIN and with 95 % confidence, and that lower no direction with confidence
    where half of the items lack every text.
    """
    obstacle = _obstacle(eval_set)
    if obstacle is not None:
        return FusionChoice(fusion=None, reason=f"Items are their images alone: {obstacle}")
    alone = eval_set.search(None)
    fields = list(eval_set.parts)
    ranked = _ranked(eval_set.subsampled(TEXTS_THAT_RANK, IMAGES_THAT_RANK, seed), fields)
    is_bare_N = torch.from_numpy(np.random.default_rng(seed).random(len(eval_set.image_ND)) < 0.5)
    halved = eval_set.without_texts(is_bare_N)
    refusal = ""
    lighter = [_fusion(fields, ranked[0], texts) for texts in LIGHTER]
    for fusion in (*(_fusion(fields, rungs) for rungs in ranked[:CHECKED]), *lighter):
        found = eval_set.search(fusion)
        lost = find_loss(found, alone, seed=seed, must_gain=True)
        if lost is None and not found.is_nowhere_below(alone):
            lost = "the best weights lower a direction."
        gain = found.mean_map - alone.mean_map
        if lost is None and gain < LEAST_GAIN:
            lost = f"the best weights find items better by {gain:.3f} mAP only, less than {LEAST_GAIN}."
        if lost is None:
            lost = find_loss(halved.search(fusion), alone, seed=seed, must_gain=False)
            lost = lost and f"where half of the items lack their texts, {lost}"
        if lost is None:
            reason = f"Texts and images find fused items better: mean mAP {found.mean_map:.3f}, by {gain:.3f}."
            return FusionChoice(fusion=fusion, reason=reason, best=fusion)
        refusal = refusal or lost
    reason = f"Items are their images alone: {refusal}"
    return FusionChoice(fusion=None, reason=reason, best=_fusion(fields, ranked[0]))


def _obstacle(eval_set: FusionEvalSet) -> str | None:
    """Why no fusion can be measured; None where one can."""
    if not eval_set.parts:
        return "there is no text field beside the group's own."
    asked = sum(len(queries.text_TD) for queries in eval_set.queries.values())
    leaves_one = [name for name in eval_set.query_fields if set(eval_set.parts) - {name}]
    if not leaves_one:
        return (
            f"with {', '.join(eval_set.parts)} as the only text, every query would be the item's own text; "
            "name a second column with --text."
        )
    if asked < FEWEST_QUERIES:
        return f"{asked} texts are left that no positive carries itself; wanted {FEWEST_QUERIES}."
    return None


def _ranked(eval_set: FusionEvalSet, fields: Sequence[str]) -> list[Rungs]:
    """All weights that were tried, the best first; those that lower a direction come after all others."""
    alone = eval_set.search(None)
    tried: dict[Rungs, float] = {}

    def score(rungs: Rungs) -> float:
        if rungs not in tried:
            found = eval_set.search(_fusion(fields, rungs))
            tried[rungs] = found.mean_map - (not found.is_nowhere_below(alone))
        return tried[rungs]

    best = max(_starts(len(fields)), key=score)
    for _ in range(ROUNDS):
        better = max(_steps(best), key=score)
        if score(better) <= score(best):
            break
        best = better
    return sorted(tried, key=lambda rungs: (-round(tried[rungs] / NEAR), sum(LADDER[rung] for rung in rungs), rungs))


def _starts(fields: int) -> Iterator[Rungs]:
    for rung in range(1, len(LADDER)):
        for alone in range(fields):
            yield tuple(rung if field == alone else 0 for field in range(fields))
        if fields > 1:
            yield (rung,) * fields


def _steps(rungs: Rungs) -> Iterator[Rungs]:
    """One field a rung up or down."""
    for field, rung in enumerate(rungs):
        for other in (rung - 1, rung + 1):
            if 0 <= other < len(LADDER):
                stepped = (*rungs[:field], other, *rungs[field + 1 :])
                if any(stepped):
                    yield stepped


def _fusion(fields: Sequence[str], rungs: Rungs, texts: float = 1.0) -> Fusion:
    weights = {name: texts * LADDER[rung] for name, rung in zip(fields, rungs, strict=True) if rung}
    return make_fusion({IMAGE: 1.0, **weights})
