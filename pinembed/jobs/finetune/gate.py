"""The gate: the chosen weights against the base on a split that neither trained nor selected."""

from __future__ import annotations

import hashlib

from torch import Tensor

from pinembed.jobs.finetune.judge import Judge
from pinembed.metrics.bootstrap import retrieval_scores
from pinembed.metrics.split import SplitScores
from pinembed.metrics.verdict import decide
from pinembed.nouns.evaluation import Scores
from pinembed.nouns.finetune_report import GateReport
from pinembed.nouns.item import Item

MOST_IMAGES = 2000


def gate_items(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """The items that judge: all, or of many those with the lowest hash of their id, the same in every run."""
    if len(items) <= MOST_IMAGES:
        return items
    chosen = sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest())[:MOST_IMAGES]
    return tuple(sorted(chosen, key=lambda item: item.file_name))


def pass_gate(
    judge: Judge, base: dict[str, Tensor], tuned: dict[str, Tensor], *, split: str, images: int, seed: int
) -> GateReport:
    """Measure both and decide."""
    base_scores = judge.measure_weights(base, "gate: the base")
    tuned_scores = judge.measure_weights(tuned, "gate: the tuned encoder")
    return GateReport(
        split=split,
        images=images,
        base=_scores(base_scores, None, seed),
        tuned=_scores(tuned_scores, None, seed),
        difference=_scores(tuned_scores, base_scores, seed),
        verdict=decide(tuned_scores, base_scores, seed=seed),
    )


def _scores(scores: SplitScores, minus: SplitScores | None, seed: int) -> Scores:
    pairs = zip(scores.directions, minus.directions if minus else (None, None, None), strict=True)
    text_to_image, image_to_text, image_to_image = (retrieval_scores(ours, theirs, seed=seed) for ours, theirs in pairs)
    return Scores(
        text_to_image=text_to_image,
        image_to_text=image_to_text,
        image_to_image=image_to_image,
        knn5=None,
        label_zero_shot=None,
    )
