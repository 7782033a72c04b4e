"""Opening: a table, what can be said of it, and its text tower, as the commands need them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pinembed.assistant.retrieval import Retriever
from pinembed.assistant.taste_order import TasteOrder
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.nouns.progress import Progress
from pinembed.settings.option import refuse_unknown_columns
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.queries import query_encoder

if TYPE_CHECKING:
    from pinembed.encoder.encoder import Encoder


def open_retriever(
    table: EmbeddingTable,
    *,
    encoder: str | None,
    group: str | None,
    users: str | None,
    device: str,
    progress: Progress,
) -> Retriever:
    """What finds items in a table; the text tower is loaded with the first text.

    Raises:
        UsageError: a group column that the table does not have.
        DataError: there is no such store of users.
        TableError: the table cannot be read.
    """
    vocabulary = Vocabulary.read(table)
    if group is not None:
        remedy = "Name the column whose equal values are one product, or leave --group out."
        refuse_unknown_columns(
            "--group", [group], list(vocabulary.fields), place=f"table {table.address}", remedy=remedy
        )
    taste = None if users is None else TasteOrder(table, users)
    return Retriever(table, vocabulary, TextTower(table, encoder, device, progress), group=group, taste=taste)


class TextTower:
    """Texts to (N, D) unit rows by the table's encoder, which is loaded with the first of them."""

    def __init__(self, table: EmbeddingTable, reference: str | None, device: str, progress: Progress) -> None:
        self._table, self._reference, self._device, self._progress = table, reference, device, progress

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed.

        Raises:
            EncoderError, UsageError: as for `query_encoder`.
        """
        embedded: NDArray[np.float32] = self._encoder.embed_texts(list(texts)).numpy()
        return embedded

    @cached_property
    def _encoder(self) -> Encoder:
        self._progress.start("load encoder")
        found = query_encoder(self._table, tower="text", reference=self._reference, device=self._device)
        self._progress.finish()
        return found
