"""A model's answers in the turns of conversations about a table's items, out of their stored embeddings."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pinembed.assistant.answer import about_answer
from pinembed.assistant.lexicon import Lexicon
from pinembed.errors import DataError
from pinembed.nouns.item import Item, is_missing
from pinembed.reports.assistant import AnswerFigures, Share
from pinembed.reports.table import SearchResult
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.table.embedding_table import EmbeddingTable, reading, sql_text
from pinembed.trimmed.chat_ids import Exchange
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.questions import Dialogue, QuestionMaker, spoken
from pinembed.trimmed.talks import TalkMaker

TURNS = 3
BATCH = 64
MOST_ANSWER_TOKENS = 24
MOST_ITEMS = 5000
Asked = Sequence[tuple[Dialogue, Dialogue]]
"""The turns of a conversation: each with those before it, and alone."""


def measure_answers(
    table: EmbeddingTable,
    lexicon: Lexicon,
    model: TrimmedModel,
    source: EmbeddingSource,
    fields: Sequence[str],
    *,
    conversations: int,
    split: str | None,
    seed: int,
) -> tuple[AnswerFigures, ...]:
    """Figures of each turn: a field of an item is asked for, then another of it or one of a new item, and again.

    The model reads its own answers of the turns before. The wordings of later turns are none that `align` trains on.

    Args:
        table: with the items' values; its images are not opened.
        lexicon: of the table.
        model: with its projector.
        source: embeddings of the items.
        fields: columns that are asked about.
        conversations: how many.
        split: of the items; None for any.
        seed: of everything drawn.

    Raises:
        DataError: no item of the split is in the source with all of these values.
    """
    items = _items(table, source, fields, split)
    maker = TalkMaker(QuestionMaker(items, fields), held_out=True)
    rng = random.Random(f"{seed} answering")
    talks = [talk for _ in range(conversations if items else 0) if (talk := maker.plain(rng, TURNS))]
    if not talks:
        raise DataError(
            f"{source.folder} holds no item of table {table.address} with values of {', '.join(fields)}"
            f"{'' if split is None else f' in its split {split}'}.",
            remedy="Give the source of this table, or other --fields.",
        )
    embeddings_ND = source.get([item.id for item in items]).astype(np.float32)
    own = _answers(model, embeddings_ND, talks, talks)
    strange = _answers(model, embeddings_ND, talks, [*talks[1:], *talks[:1]])
    figures = []
    for place in range(TURNS):
        wanted = [talk[place][0].answer for talk in talks]
        alone = _said(model, embeddings_ND, [talk[place][1] for talk in talks], [()] * len(talks))
        figures.append(
            AnswerFigures(
                turn=place + 1,
                model=_share(own[place], wanted),
                alone=_share(alone, wanted),
                shuffled=_share(strange[place], wanted),
                rules=_by_rules(lexicon, items, [talk[place] for talk in talks]),
            )
        )
    return tuple(figures)


def _items(table: EmbeddingTable, source: EmbeddingSource, fields: Sequence[str], split: str | None) -> list[Item]:
    """Rows that the source holds, as items; their files are named and never opened."""
    where = None if split is None else f"split = {sql_text(split)}"
    with reading(table.address, where):
        found = table.dataset.to_table(columns=["id", *fields], filter=where, limit=MOST_ITEMS).to_pylist()
    return [
        Item(id=row["id"], file_name="", path=Path(), fields={name: row[name] for name in fields})
        for row in found
        if row["id"] in source and not any(is_missing(row[name]) for name in fields)
    ]


def _answers(
    model: TrimmedModel, embeddings_ND: np.ndarray, talks: Sequence[Asked], states: Sequence[Asked]
) -> list[list[str]]:
    """What is said in each turn to the questions of talks, with the items of the conversations in `states`."""
    behind: list[tuple[Exchange, ...]] = [()] * len(talks)
    answers = []
    for place in range(TURNS):
        asked = [
            dataclasses.replace(state[place][0], question=talk[place][0].question)
            for talk, state in zip(talks, states, strict=True)
        ]
        said = _said(model, embeddings_ND, asked, behind)
        answers.append(said)
        behind = [
            (*turns, Exchange(question=one.question, answer=answer, items=len(one.rows)))
            for turns, one, answer in zip(behind, asked, said, strict=True)
        ]
    return answers


def _said(
    model: TrimmedModel,
    embeddings_ND: np.ndarray,
    asked: Sequence[Dialogue],
    behind: Sequence[Sequence[Exchange]],
) -> list[str]:
    """Answers to questions, each after the turns behind it."""
    said: list[str] = []
    for start in range(0, len(asked), BATCH):
        some = asked[start : start + BATCH]
        said += model.generate(
            [one.question for one in some],
            [embeddings_ND[list(one.all_rows)] for one in some],
            earlier=behind[start : start + BATCH],
            max_new_tokens=MOST_ANSWER_TOKENS,
        )
    return said


def _share(said: Sequence[str], wanted: Sequence[str]) -> Share:
    right = sum(one == other for one, other in zip(said, wanted, strict=True))
    return Share(right=right, of=len(wanted))


def _by_rules(lexicon: Lexicon, items: Sequence[Item], turns: Sequence[tuple[Dialogue, Dialogue]]) -> Share:
    """How often the rules name the value, which they read in the table, and nothing else."""
    right = 0
    for asked, alone in turns:
        item = items[alone.rows[0]]
        hit = SearchResult(rank=1, score=0.0, id=item.id, file_name="", folder="", fields=item.fields)
        told = about_answer(lexicon, [hit], asked.question).text.partition("]: ")[2]
        right += told in {f"{spoken(name)}: {asked.answer}" for name in item.fields}
    return Share(right=right, of=len(turns))
