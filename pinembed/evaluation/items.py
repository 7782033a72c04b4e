"""How items are found whose vectors hold metadata: beside the same items as images alone, and beside a rival's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.evaluation.questions import Answers
from pinembed.fusion.choose import find_loss, item_figures, item_scores
from pinembed.fusion.eval_set import ItemSearch, make_eval_set
from pinembed.fusion.texts import text_fields
from pinembed.nouns.encoder_spec import Fusion
from pinembed.nouns.scores import ItemComparison, ItemScores, Verdict

MOST_TEXTS = 1000  # of each field, drawn at random: titles and descriptions are as many as items


@dataclass(frozen=True, kw_only=True)
class ItemAnswers:
    """What one encoder's items got for the queries of the comparison.

    Attributes:
        found: its items as `encode` stores them: fused, or images alone.
        scores: figures of its fusion beside its images alone; None where it has no fusion.
        query_fields: columns whose values asked.
    """

    found: ItemSearch
    scores: ItemScores | None
    query_fields: tuple[str, ...]


def ask_items(
    encoder: Encoder, answers: Answers, captioner: Captioner, *, fusions: Sequence[Fusion], seed: int
) -> ItemAnswers | None:
    """Items of the images that the encoder has answered with; None where no encoder of the comparison fuses.

    Args:
        encoder: that answered.
        answers: with its images.
        captioner: names the columns that may ask.
        fusions: of all encoders of the comparison, so that all are asked by the same queries, none of them a text that
            any one's items carry.
        seed: draws queries where there are many.
    """
    if not fusions:
        return None
    own, embedded = encoder.files.fusion, answers.embedded
    eval_set = make_eval_set(
        answers.items,
        embedded.image_ND,
        embedded.group_of_N,
        embedded.text_of_N,
        phrases={field.name: field.text for field in own.fields} if own else {},
        carried={field.name: field.text for fusion in fusions for field in fusion.fields},
        query_fields=text_fields(answers.items, captioner.fields),
        embed_texts=encoder.embed_texts,
    )
    for fusion in fusions:
        eval_set = eval_set.asked_by_others(fusion)
    fewer = eval_set.asked_less(MOST_TEXTS, len(answers.items), seed)
    return ItemAnswers(
        found=fewer.search(own),
        scores=None if own is None else item_scores(fewer, own, seed=seed),
        query_fields=fewer.query_fields,
    )


def compare_items(
    ours: ItemAnswers, theirs: ItemAnswers, verdict: Verdict, *, same_weights: bool, seed: int
) -> tuple[ItemComparison, Verdict]:
    """Items beside a rival's, and what they make of the verdict about images and texts.

    Encoders of the same weights differ in nothing but their items, which then decide; others must not lose there.
    """
    comparison = ItemComparison(
        query_fields=ours.query_fields,
        challenger=item_figures(ours.found, None, seed),
        champion=item_figures(theirs.found, None, seed),
        difference=item_figures(ours.found, theirs.found, seed),
    )
    loss = find_loss(ours.found, theirs.found, seed=seed, must_gain=same_weights)
    if same_weights:
        reason = f"The weights are the same, so items decide: {loss or 'they are found better, and nowhere worse.'}"
        return comparison, dataclasses.replace(verdict, promoted=loss is None, reason=reason)
    if verdict.promoted and loss is not None:
        return comparison, dataclasses.replace(
            verdict, promoted=False, reason=f"As items of image and metadata, {loss}"
        )
    return comparison, verdict
