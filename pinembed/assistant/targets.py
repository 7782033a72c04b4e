"""Target: what the results of a search are to be near, as one vector, and as values that they had best share.

Legend: D floats of a vector, of norm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pinembed.assistant.condition import IN, Condition, sql_of
from pinembed.assistant.nearest import Nearest
from pinembed.assistant.state import Search
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.nouns.item import FieldValue, is_missing
from pinembed.table.embedding_table import EmbeddingTable, reading
from pinembed.table.queries import result_of

Floats = NDArray[np.float32]
EmbedTexts = Callable[[Sequence[str]], Floats]
AVOIDED = 0.5
"""Share of the excluded words' vector that is taken off."""
MOVED, STEP = 2.0, 2.0
"""Weight of the item's own vector beside its new text, where no column holds what was said and its kind is all that
columns tell of it, and how far that vector is moved from the old text to the new one. What columns tell need not come
out of the picture: the weight falls with the cube of their number."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What results are to be near.

    Attributes:
        vector_D: None where nothing says it.
        fields: values of an edited item, of which a result shares as many as it can; empty where no item was edited.
    """

    vector_D: Floats | None
    fields: Mapping[str, FieldValue] = field(default_factory=dict)


class Targets:
    """Makes targets.

    Args:
        table: the catalogue.
        vocabulary: of the table.
        embed_texts: texts to (N, D) unit rows, by the table's encoder.
        near: rows of the table.
    """

    def __init__(self, table: EmbeddingTable, vocabulary: Vocabulary, embed_texts: EmbedTexts, near: Nearest) -> None:
        self._table = table
        self._vocabulary = vocabulary
        self._embed_texts = embed_texts
        self._near = near

    def of(self, search: Search) -> Target:
        """The target of a search.

        Raises:
            UnknownItemError: the table does not hold the item any more that results are to be like.
            TableError: the table cannot be read.
        """
        if search.like:
            target = self._changed(search)
        elif search.beside:
            target = Target(vector_D=self._stored(search.beside))
        else:
            words = " ".join(filter(None, (self._wanted(search.filters), search.text)))
            is_needed = words and (search.sort is None or search.text)
            target = Target(vector_D=self._embed(words) if is_needed else None)
        if not search.avoid:
            return target
        near_D = 0 if target.vector_D is None else target.vector_D
        return Target(vector_D=unit(near_D - AVOIDED * self._embed(search.avoid)), fields=target.fields)

    def _wanted(self, filters: Sequence[Condition]) -> str:
        """The values that are wanted, in words, in the order of the table's columns."""
        wanted = {condition.column: list(condition.values) for condition in filters if condition.op == IN}
        return self._vocabulary.caption(wanted)

    def _changed(self, search: Search) -> Target:
        """An item with other values: as text where columns hold them, else that and the item moved towards it."""
        vector_D = self._stored(search.like)
        changes = [condition for condition in search.changes if condition.op == IN]
        if not changes and not search.text:
            return Target(vector_D=vector_D)
        row = self._near.row(search.like)
        edited = self._edited(row, changes)
        if not search.text:
            return Target(vector_D=self._embed(self._vocabulary.caption(edited)), fields=edited)
        # the name of the very product, or a text of a sentence, would speak against what is changed
        told = [name for name in self._vocabulary.attributes if not is_missing(edited.get(name))]
        kept = [name for name in (self._vocabulary.kind, *told) if name]
        old, new = (self._vocabulary.caption({name: fields.get(name) for name in kept}) for fields in (row, edited))
        old_D, new_D = self._embed_texts([old or result_of(row, 1).title, ". ".join(filter(None, (new, search.text)))])
        moved_D = unit(vector_D + STEP * (new_D - old_D))
        return Target(vector_D=unit(new_D + MOVED / (1 + len(told)) ** 3 * moved_D))

    def _edited(self, fields: Mapping[str, FieldValue], changes: Sequence[Condition]) -> dict[str, FieldValue]:
        """An item's values as they would be after the changes.

        A value that no item with the changed ones has, such as the name of the very product, is left out.
        """
        edited: dict[str, FieldValue] = {condition.column: condition.values[0] for condition in changes}
        names = [name for name in self._vocabulary.spoken if name not in edited and not is_missing(fields.get(name))]
        if edited and names:
            where = sql_of(changes, self._vocabulary.lists)
            with reading(self._table.address):
                found = self._table.dataset.to_table(columns=names, filter=where)
            names = [name for name in names if _occurs(fields[name], found[name])]
        return {**edited, **{name: fields[name] for name in names}}

    def _embed(self, text: str) -> Floats:
        vector_D: Floats = self._embed_texts([text])[0]
        return vector_D

    def _stored(self, item: str) -> Floats:
        return self._near.vector(item)


def unit(vector_D: Any) -> Floats:
    """Of norm 1."""
    array_D = np.array(vector_D, np.float32)
    norm = float(np.linalg.norm(array_D))
    array_D /= norm if norm > 0 else 1.0
    return array_D


def _occurs(value: FieldValue, column: pa.ChunkedArray) -> bool:
    """Whether a column has a value, for a list any of its entries."""
    if pa.types.is_list(column.type):
        return bool(set(value) & set(pc.list_flatten(column).to_pylist()))
    return bool(pc.any(pc.equal(column, pa.scalar(value, column.type))).as_py())
