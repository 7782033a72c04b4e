"""Composed retrieval: "this, but in COLOUR" over a table, as mean average precision.

For an item and a value of a column, right are the items with that value and the item's other values. Measured are the
search of `chat`, the same where the column is hidden from it, so that the pictures decide, and the item's vector alone.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping, Sequence

from pinembed.assistant.condition import IN, Condition, same_as, sql_of
from pinembed.assistant.retrieval import Retriever
from pinembed.assistant.state import Search
from pinembed.assistant.targets import EmbedTexts
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.nouns.item import FieldValue, text_of_value
from pinembed.reports.assistant import ComposedFigures
from pinembed.table.embedding_table import EmbeddingTable, reading, sql_text

MOST_RANKED = 500


def measure_composed(
    table: EmbeddingTable,
    vocabulary: Vocabulary,
    embed_texts: EmbedTexts,
    *,
    column: str,
    attributes: Sequence[str],
    queries: int,
    split: str | None,
    seed: int,
) -> ComposedFigures:
    """Figures of one column.

    Args:
        table: the catalogue; all of it is searched.
        vocabulary: of the table.
        embed_texts: by the table's encoder.
        column: whose value is changed.
        attributes: columns whose other values stay.
        queries: at most; drawn at random.
        split: of the items that are asked about; None for any.
        seed: of the draw.

    Raises:
        TableError: the table cannot be read.
    """
    same = [name for name in (vocabulary.kind, *attributes) if name and name != column]
    asked = _draw(table, vocabulary, column, same, queries, split, seed)
    hidden = dataclasses.replace(
        vocabulary, choices={name: choice for name, choice in vocabulary.choices.items() if name != column}
    )
    with_column, without = Retriever(table, vocabulary, embed_texts), Retriever(table, hidden, embed_texts)
    figures: dict[str, list[float]] = {"column": [], "hidden": [], "image": []}
    for row, value in asked:
        right = _right(table, row, column, value, same)
        change = Condition(column=column, op=IN, values=(value,))
        alike = same_as(row, vocabulary.kind)
        searches = {
            "column": (with_column, Search(like=row["id"], filters=(*alike, change), changes=(change,))),
            "hidden": (without, Search(like=row["id"], filters=alike, text=text_of_value(value))),
            "image": (without, Search(like=row["id"], filters=alike)),
        }
        for name, (retriever, search) in searches.items():
            found = retriever.find(search, start=0, k=MOST_RANKED)
            figures[name].append(average_precision([hit.id in right for hit in found], len(right)))
    return ComposedFigures(
        column=column,
        queries=len(asked),
        map_column=_mean(figures["column"]),
        map_hidden=_mean(figures["hidden"]),
        map_image=_mean(figures["image"]),
    )


def average_precision(is_right: Sequence[bool], relevant: int) -> float:
    """Of one ranking; results that it leaves out count as never found."""
    right, total = 0, 0.0
    for rank, one in enumerate(is_right, start=1):
        right += one
        total += right / rank if one else 0.0
    return total / relevant if relevant else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _draw(
    table: EmbeddingTable,
    vocabulary: Vocabulary,
    column: str,
    same: Sequence[str],
    queries: int,
    split: str | None,
    seed: int,
) -> list[tuple[dict[str, FieldValue], str]]:
    """Items and other values of the column that an item of the same other values has."""
    where = f"split = {sql_text(split)}" if split is not None else None
    names = ["id", column, *same]
    with reading(table.address, where):
        rows = table.dataset.to_table(columns=names, filter=where).to_pylist()
        every = rows if where is None else table.dataset.to_table(columns=names).to_pylist()
    there = {tuple(row[name] for name in (column, *same)) for row in every}
    values = sorted(vocabulary.choices[column].counts, key=str)
    pairs = [
        (row, str(value))
        for row in rows
        for value in values
        if value != row[column] and (value, *(row[name] for name in same)) in there
    ]
    return random.Random(seed).sample(pairs, min(queries, len(pairs)))


def _right(
    table: EmbeddingTable, row: Mapping[str, FieldValue], column: str, value: str, same: Sequence[str]
) -> set[str]:
    conditions = [
        Condition(column=column, op=IN, values=(value,)),
        *(one for name in same for one in same_as(row, name)),
    ]
    with reading(table.address):
        found = table.dataset.to_table(columns=["id"], filter=sql_of(conditions))
    return set(found["id"].to_pylist())
