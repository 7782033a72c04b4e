"""Queries of a table: the table's own encoder, and rows as results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pinembed.encoder.locate import encoder_spec, keep_dims, locate_encoder
from pinembed.errors import EncoderMismatchError, UsageError
from pinembed.reports.table import SearchResult
from pinembed.table.embedding_table import SCORE, EmbeddingTable
from pinembed.table.schema import OWN_COLUMNS

if TYPE_CHECKING:
    from pinembed.encoder.encoder import Encoder
    from pinembed.encoder.towers import Tower


def query_encoder(
    table: EmbeddingTable, *, tower: Tower, reference: str | None = None, device: str = "auto"
) -> Encoder:
    """One tower of the encoder that made a table's vectors: both would double the time and memory of a search.

    Args:
        table: to be searched.
        tower: that the query needs.
        reference: of the encoder, where it is not the one that the table remembers.
        device: as the user names it.

    Raises:
        UsageError: the table does not say where its encoder lies, and no reference was given.
        EncoderError: there is no such encoder.
        EncoderMismatchError: it is not the table's.
    """
    named = reference or table.reference
    if not named:
        raise UsageError(
            f"Table {table.address} does not say where its encoder lies.", remedy="Give it with --encoder."
        )
    files = locate_encoder(named)
    # a query by the fp32 towers is near enough to vectors of the same encoder in int8
    stored = table.spec
    spec = dataclasses.replace(encoder_spec(files), quantisation=stored.quantisation, dim=stored.dim)
    if reference is not None:
        table.check_encoder(spec)
    elif spec.fingerprint != stored.fingerprint:
        raise EncoderMismatchError(
            f"Table {table.address} was made with {named} as it was then ({stored.fingerprint}); "
            f"what lies there now is another encoder ({spec.fingerprint}).",
            remedy="Give the encoder that made the table with --encoder.",
        )

    from pinembed.encoder.encoder import build_encoder
    from pinembed.machine import choose_device

    return build_encoder(keep_dims(files, stored.dim), tower=tower, device=choose_device(device))


def result_of(row: Mapping[str, Any], rank: int) -> SearchResult:
    """A row as a result; its score is 0 where no vector was searched for."""
    return SearchResult(
        rank=rank,
        score=float(row.get(SCORE, 0.0)),
        id=str(row["id"]),
        file_name=str(row["file_name"]),
        folder=str(row["folder"]),
        fields={name: value for name, value in row.items() if name not in OWN_COLUMNS and name != SCORE},
    )
