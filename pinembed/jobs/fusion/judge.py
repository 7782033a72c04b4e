"""Fused items and images alone, asked the same: figures, and whether the fused ones lose anything."""

from __future__ import annotations

from pinembed.jobs.fusion.material import FusionMaterial, ItemSearch
from pinembed.metrics.bootstrap import retrieval_scores
from pinembed.metrics.verdict import Change, paired_change
from pinembed.nouns.fusion import Fusion
from pinembed.nouns.fusion_report import ItemFigures, ItemScores


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
            return f"{name} worse, mAP {_said(change)}."
    if not must_gain:
        return None
    mean = paired_change(list(pairs.values()), seed=seed)
    if mean.estimate.low <= 0:
        return f"items are found no better with confidence, mean mAP {_said(mean)}."
    return None


def item_scores(material: FusionMaterial, fusion: Fusion, *, seed: int) -> ItemScores:
    """Figures of a fusion on a split."""
    material = material.asked_by_others(fusion)
    fused, alone = material.search(fusion), material.search(None)
    return ItemScores(
        fusion=fusion,
        items=len(material.image_ND),
        query_fields=material.query_fields,
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


def _said(change: Change) -> str:
    found = change.estimate
    return f"{found.value:+.3f} (95 %: {found.low:+.3f} to {found.high:+.3f})"
