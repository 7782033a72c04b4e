"""Items joined with their embeddings, split as for `finetune`, and held-out items that nearly equal training items.

Shape legend: N items, U of them that differ, D floats of one embedding, A axes of the search, P pairs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.split_words import TEST, TRAIN, VALIDATION
from pinembed.catalogue.splits import decide_splits
from pinembed.errors import DataError
from pinembed.nouns.item import Item
from pinembed.nouns.progress import SILENT, Progress
from pinembed.source.embedding_source import EmbeddingSource

NEARLY_EQUAL = 0.995  # a picture that was saved anew as a JPEG of quality 90 keeps .999 of its cosine, of 60 some .995
NEIGHBOURS = 8
AXES = 16
FITTED_ON = 10_000


def nearly_equal_pairs(embeddings_ND: NDArray[np.float32]) -> NDArray[np.int64]:
    """Pairs of rows with a cosine of NEARLY_EQUAL or more, as indices (P, 2) with the lower one first.

    Equal rows are each paired with the first of them, others with those of their 8 nearest rows that are near enough:
    not every pair of a crowd, but enough to name each of it. Time grows little faster than N.

    Args:
        embeddings_ND: of norm 1.
    """
    indices: dict[bytes, list[int]] = defaultdict(list)
    for index, row_D in enumerate(embeddings_ND):
        indices[row_D.tobytes()].append(index)
    pairs = [(equal[0], index) for equal in indices.values() for index in equal[1:]]
    first_U = np.array([equal[0] for equal in indices.values()], dtype=np.int64)
    found_P2 = np.concatenate([first_U[_near(embeddings_ND[first_U])], np.array(pairs, dtype=np.int64).reshape(-1, 2)])
    return np.unique(np.sort(found_P2, axis=1), axis=0)


def _near(embeddings_UD: NDArray[np.float32]) -> NDArray[np.int64]:
    """(P, 2): searched along the directions of most variance, where a distance is never larger than it really is."""
    if len(embeddings_UD) < 2:
        return np.empty((0, 2), dtype=np.int64)
    sample = embeddings_UD[:: -(-len(embeddings_UD) // FITTED_ON)]
    _, axes_DD = np.linalg.eigh(np.cov(sample, rowvar=False).reshape(embeddings_UD.shape[1], -1))
    seen_UA = embeddings_UD @ axes_DD[:, -AXES:].astype(np.float32)
    reach = math.sqrt(2 - 2 * NEARLY_EQUAL)
    near_UK: NDArray[np.int64]
    _, near_UK = cKDTree(seen_UA).query(seen_UA, k=NEIGHBOURS + 1, distance_upper_bound=reach)
    here_P, rank_P = np.nonzero(near_UK < len(embeddings_UD))
    pairs_P2 = np.stack([here_P, near_UK[here_P, rank_P]], axis=1)
    cosine_P = np.einsum("pd,pd->p", embeddings_UD[pairs_P2[:, 0]], embeddings_UD[pairs_P2[:, 1]])
    is_near_P: NDArray[np.bool_] = (cosine_P >= NEARLY_EQUAL) & (pairs_P2[:, 0] != pairs_P2[:, 1])
    return pairs_P2[is_near_P]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Items of one split that the source holds, in the catalogue's order, and a float32 row for each."""

    items: tuple[Item, ...]
    embeddings_ND: Tensor


@dataclass(frozen=True, kw_only=True)
class AlignDataset:
    """What a run learns from, selects by, and is measured on.

    Attributes:
        select: watched after each epoch; also chooses the probe's penalty.
        missing: items of DATA that the source does not hold.
        copies: ids of a held-out item and of a training item whose embeddings are nearly equal.
        fused: columns whose texts are part of the embeddings already.
    """

    train: Rows
    select: Rows
    held_out: Rows
    held_out_split: str
    missing: int
    copies: tuple[tuple[str, str], ...]
    fingerprint: str
    fused: tuple[str, ...] = ()


def read_align_dataset(data: Path, source: Path, *, group: str | None, progress: Progress = SILENT) -> AlignDataset:
    """Join the train, val and test items with their embeddings; items that the source does not hold are counted.

    The split is that of `finetune` on the same DATA and group, so that no encoder was trained on the held-out items.

    Raises:
        DataError: no metadata, no train items, nothing to judge by, or none of the items in the source.
        UsageError: no such group column.
        SourceError: the source is damaged.
    """
    catalogue = read_catalogue(data, progress=progress)
    splits = decide_splits(catalogue, group=group, progress=progress).items
    rows = EmbeddingSource.open(source)
    known = [index for index, item in enumerate(catalogue) if item.id in rows]
    embedding_KD = rows.get([catalogue.items[index].id for index in known]).astype("float32")
    held_out = TEST if splits.get(TEST) else VALIDATION
    for name in (TRAIN, held_out):
        if not splits.get(name):
            raise DataError(
                f"{data} has no {name} items; found {', '.join(sorted(splits)) or 'no split'}.",
                remedy="Add a split column with train, val and test.",
            )
    row_of = {catalogue.items[index].id: row for row, index in enumerate(known)}
    found = {name: _rows(splits[name], row_of, embedding_KD) for name in (TRAIN, VALIDATION, TEST) if splits.get(name)}
    for name in (TRAIN, held_out):
        if not found[name].items:
            raise DataError(
                f"{source} holds none of the {len(splits[name])} {name} items of {data}.",
                remedy="Encode and export the same folder; ids come from the id column, or from file_name without one.",
            )
    return AlignDataset(
        train=found[TRAIN],
        select=found.get(VALIDATION, found[held_out]),
        held_out=found[held_out],
        held_out_split=held_out,
        missing=sum(len(splits[name]) - len(part.items) for name, part in found.items()),
        copies=_copies(found[TRAIN], found[held_out]),
        fingerprint=rows.spec.fingerprint,
        fused=rows.spec.fusion.names if rows.spec.fusion else (),
    )


def _rows(items: Sequence[Item], row_of: Mapping[str, int], embedding_KD: NDArray[np.float32]) -> Rows:
    known = tuple(item for item in items if item.id in row_of)
    return Rows(items=known, embeddings_ND=torch.from_numpy(embedding_KD[[row_of[item.id] for item in known]]))


def _copies(train: Rows, held_out: Rows) -> tuple[tuple[str, str], ...]:
    """A nearly equal training item for each held-out item that has one."""
    trained = len(train.items)
    # training first, so that held-out rows of a crowd of equal ones are paired with a training row
    pairs_P2 = nearly_equal_pairs(torch.cat([train.embeddings_ND, held_out.embeddings_ND]).numpy())
    found: dict[str, str] = {}
    for one, other in pairs_P2.tolist():
        if one < trained <= other:
            found.setdefault(held_out.items[other - trained].id, train.items[one].id)
    return tuple(found.items())
