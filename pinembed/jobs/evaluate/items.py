"""How items are found whose vectors hold metadata, beside the same items as images alone."""

from __future__ import annotations

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.jobs.evaluate.ask import Answers
from pinembed.jobs.fusion.judge import item_scores
from pinembed.jobs.fusion.material import make_material
from pinembed.jobs.fusion.texts import text_fields
from pinembed.nouns.fusion_report import ItemScores

MOST_TEXTS = 1000  # of each field, drawn at random: titles and descriptions are as many as items


def ask_items(encoder: Encoder, answers: Answers, captioner: Captioner, *, seed: int) -> ItemScores | None:
    """Figures of the encoder's own fusion on the images that it has answered with; None where it has no fusion."""
    fusion = encoder.files.fusion
    if fusion is None:
        return None
    embedded = answers.embedded
    material = make_material(
        answers.items,
        embedded.image_ND,
        embedded.group_of_N,
        embedded.text_of_N,
        phrases={field.name: field.text for field in fusion.fields},
        query_fields=text_fields(answers.items, captioner.fields),
        embed_texts=encoder.embed_texts,
    )
    fewer = material.asked_less(MOST_TEXTS, len(answers.items), seed)
    return item_scores(fewer, fusion, seed=seed)
