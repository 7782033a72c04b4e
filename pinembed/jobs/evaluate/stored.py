"""What retrieval costs when embeddings are stored in fewer bytes, and the smallest form that costs next to nothing."""

from __future__ import annotations

from pinembed.metrics.bootstrap import retrieval_scores
from pinembed.metrics.compression import StoredScores, measure_stored_forms
from pinembed.metrics.split import SplitEmbeddings
from pinembed.nouns.evaluate_report import StoredForm

TOLERATED_LOSS = 0.01
"""Of mAP in any direction, at the far end of its 95 % interval: less is not worth bytes."""


def measure_forms(embedded: SplitEmbeddings, *, items: int, seed: int) -> tuple[StoredForm, ...]:
    """Every form on the same queries, and beside fp32 pair by pair.

    Args:
        embedded: the split; its images are stored, its queries stay fp32.
        items: of the complete catalogue, for the size of its table.
        seed: of the bootstrap.
    """
    found = measure_stored_forms(embedded)
    losses = [_largest_loss(one, found[0], seed) for one in found]
    good = [
        one.bytes_per_item
        for one, loss in zip(found, losses, strict=True)
        if one.encode_options is not None and loss <= TOLERATED_LOSS
    ]
    return tuple(
        StoredForm(
            form=one.form,
            encode_options=one.encode_options,
            bytes_per_item=one.bytes_per_item,
            table_bytes=one.bytes_per_item * items,
            text_to_image=retrieval_scores(one.text_to_image, seed=seed),
            image_to_image=retrieval_scores(one.image_to_image, seed=seed),
            largest_loss=loss,
            recommended=one.encode_options is not None and one.bytes_per_item == min(good),
        )
        for one, loss in zip(found, losses, strict=True)
    )


def _largest_loss(one: StoredScores, full: StoredScores, seed: int) -> float:
    """Of mAP, in the direction that loses most, as far as its interval reaches."""
    pairs = ((one.text_to_image, full.text_to_image), (one.image_to_image, full.image_to_image))
    differences = [retrieval_scores(ours, theirs, seed=seed) for ours, theirs in pairs]
    return max((0.0 - found.map.low for found in differences if found is not None), default=0.0)
