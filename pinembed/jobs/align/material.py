"""What `align` learns from and is judged by: items of a catalogue, joined with their rows of a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pinembed.catalogue.metadata import read_catalogue
from pinembed.catalogue.splits import TEST, TRAIN, VALIDATION, split_items
from pinembed.errors import DataError
from pinembed.nouns.item import Item
from pinembed.source.embedding_source import EmbeddingSource


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Items of one split that the source holds, and their embeddings.

    Attributes:
        items: in the catalogue's order.
        embeddings_ND: float32, one row for each.
    """

    items: tuple[Item, ...]
    embeddings_ND: Tensor


@dataclass(frozen=True, kw_only=True)
class Material:
    """What a run learns from and what judges it.

    Attributes:
        train: learns.
        select: watched after each epoch; also chooses the probe's penalty.
        held_out: judges at the end.
        held_out_split: its name.
        missing: items of DATA that the source does not hold.
        fingerprint: of the source's encoder.
        fused: columns whose texts are part of the embeddings already.
    """

    train: Rows
    select: Rows
    held_out: Rows
    held_out_split: str
    missing: int
    fingerprint: str
    fused: tuple[str, ...] = ()


def read_material(data: Path, source: Path, *, group: str | None) -> Material:
    """Join the train, val and test items with their embeddings; items that the source does not hold are counted.

    Raises:
        DataError: no metadata, no train items, nothing to judge by, or none of the items in the source.
        SourceError: the source is damaged.
    """
    catalogue = read_catalogue(data)
    rows = EmbeddingSource.open(source)
    splits = split_items(catalogue, group=group)
    held_out = TEST if splits.get(TEST) else VALIDATION
    for name in (TRAIN, held_out):
        if not splits.get(name):
            raise DataError(
                f"{data} has no {name} items; found {', '.join(sorted(splits)) or 'no split'}.",
                remedy="Add a split column with train, val and test.",
            )
    found = {name: _rows(items, rows) for name, items in splits.items() if name in {TRAIN, VALIDATION, TEST}}
    for name in (TRAIN, held_out):
        if not found[name].items:
            raise DataError(
                f"{source} holds none of the {len(splits[name])} {name} items of {data}.",
                remedy="Encode and export the same folder; ids come from the id column, or from file_name without one.",
            )
    asked = [item for name in found for item in splits[name]]
    return Material(
        train=found[TRAIN],
        select=found.get(VALIDATION, found[held_out]),
        held_out=found[held_out],
        held_out_split=held_out,
        missing=len(asked) - sum(len(part.items) for part in found.values()),
        fingerprint=rows.spec.fingerprint,
        fused=rows.spec.fusion.names if rows.spec.fusion else (),
    )


def _rows(items: Sequence[Item], source: EmbeddingSource) -> Rows:
    known = tuple(item for item in items if item.id in source)
    embeddings_ND = torch.from_numpy(source.get([item.id for item in known]).astype("float32"))
    return Rows(items=known, embeddings_ND=embeddings_ND)
