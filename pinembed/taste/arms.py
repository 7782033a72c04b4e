"""The two ways to score items for a user: by what users chose together, and, for items that few know, by likeness.

Both are linear in the user's history, so that a score is a sum over the items of the user, the largest of which is its
reason.

Legend: N items of the catalogue, S items of events (sources), A anchors, D floats of an embedding, T words and bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import linalg, sparse

from pinembed.taste.engagement import SEEN
from pinembed.taste.features import BIAS, Floats, ItemFeatures
from pinembed.taste.graph import FEWEST_USERS
from pinembed.taste.history import History
from pinembed.taste.item_vectors import ItemVectors

FADE_ITEMS = 50
"""A liked item speaks e times as loud as one that fifty items followed."""
HEAD_RIDGE = 10.0
MOST_ANCHORS = 4000
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Voices:
    """The items of a user's history that speak for others.

    Attributes:
        items: ids, the latest last.
        strengths: of each: 1 for what was liked, a half for what was seen, fading with the items that followed.
        even: the same without fading.
    """

    items: tuple[str, ...]
    strengths: Floats
    even: Floats


def voices_of(history: History) -> Voices:
    """What of a history speaks; hidden items are silent."""
    speaking = [touched for touched in history.touched if touched.weight >= 0]
    even = np.array([1.0 if touched.is_liked else SEEN for touched in speaking], np.float32)
    fade = np.exp(-np.arange(len(speaking))[::-1] / FADE_ITEMS).astype(np.float32)
    return Voices(items=tuple(touched.item for touched in speaking), strengths=even * fade, even=even)


class Edges:
    """Sparse weights from items of events to items of the catalogue.

    Args:
        sources: number of each item of events by id.
        weight_SN: what having chosen one says for the other.
    """

    def __init__(self, sources: dict[str, int], weight_SN: sparse.csr_array) -> None:
        self._sources, self._weight_SN = sources, weight_SN
        self._by_target_SN = weight_SN.tocsc()
        self._by_target_SN.sort_indices()

    @classmethod
    def of_table(cls, rows: pa.Table, neighbours: str, weights: str, items: ItemVectors) -> Edges:
        """One of the two lists of the edge table."""
        names = rows["item"].to_pylist()
        sources = {name: number for number, name in enumerate(names)}
        lists, strengths = rows[neighbours].combine_chunks(), rows[weights].combine_chunks()
        lengths = np.diff(lists.offsets.to_numpy()) if len(lists) else np.empty(0, np.int64)
        target_row = np.array([items.row_of.get(name, -1) for name in names], np.int64)
        target_E = np.repeat(target_row, lengths)
        codes = lists.flatten().dictionary_encode()
        code_source = np.array([sources[name] for name in codes.dictionary.to_pylist()], np.int64)
        source_E = code_source[codes.indices.to_numpy()] if len(codes) else np.empty(0, np.int64)
        weight_E = strengths.flatten().to_numpy()
        is_here_E = target_E >= 0
        shape = (len(names), len(items.ids))
        entries = (weight_E[is_here_E], (source_E[is_here_E], target_E[is_here_E]))
        return cls(sources, sparse.csr_array(entries, shape=shape))

    def scores(self, names: Sequence[str], strengths: Floats) -> Floats:
        """Of every item of the catalogue, (N,)."""
        starts, (_, columns) = self._weight_SN.indptr, self._weight_SN.shape
        found = zip(self._numbers(names).tolist(), strengths.tolist(), strict=True)
        spans = [(slice(starts[number], starts[number + 1]), strength) for number, strength in found if number >= 0]
        if not spans:
            return np.zeros(columns, np.float32)
        targets = np.concatenate([self._weight_SN.indices[span] for span, _ in spans])
        weights = np.concatenate([self._weight_SN.data[span] * strength for span, strength in spans])
        scores_N: Floats = np.bincount(targets, weights, minlength=columns).astype(np.float32)
        return scores_N

    def parts(self, names: Sequence[str], strengths: Floats, row: int) -> Floats:
        """What each item of the user adds to the score of one of the catalogue."""
        by_target = self._by_target_SN
        span = slice(by_target.indptr[row], by_target.indptr[row + 1])
        sources, weights = by_target.indices[span], by_target.data[span]
        if not len(sources):
            return np.zeros(len(names), np.float32)
        numbers = self._numbers(names)
        place = np.minimum(np.searchsorted(sources, numbers), len(sources) - 1)
        parts: Floats = np.where(sources[place] == numbers, weights[place], 0).astype(np.float32) * strengths
        return parts

    def _numbers(self, names: Sequence[str]) -> Ints:
        return np.array([self._sources.get(name, -1) for name in names], np.int64)


class Head:
    """Likeness turned into liking: ridge regression from an item's features to who likes it.

    In its dual form the head needs no users: with K the similarities of the anchors, items that have events, a user's
    voices y give the score k(item)' (K + ridge)^-1 y. It is made of vectors and metadata when it is opened, so that
    nothing has to be migrated for a new encoder.

    Args:
        features: of all items.
        anchors: rows of items with events, the most popular ones if there are many.
        ridge: keeps the head from learning single users.
    """

    def __init__(self, features: ItemFeatures, anchors: Ints, *, ridge: float = HEAD_RIDGE) -> None:
        self._features = features
        self._place = {row: place for place, row in enumerate(anchors.tolist())}
        kernel_AA = features.similarity(anchors, anchors).astype(np.float64) + BIAS
        diagonal = np.arange(len(anchors))
        kernel_AA[diagonal, diagonal] += ridge
        self._inverse_AA = linalg.inv(kernel_AA, check_finite=False).astype(np.float32) if len(anchors) else kernel_AA
        self._dense_AD = features.dense_ND[anchors]
        self._sparse_TA = features.sparse_NT[anchors].T.tocsr()

    def scores(self, rows: Ints, strengths: Floats) -> Floats:
        """Of every item of the catalogue, (N,).

        Args:
            rows: of the user's items in the catalogue.
            strengths: of each.
        """
        voice_of = {
            self._place[row]: strength
            for row, strength in zip(rows.tolist(), strengths.tolist(), strict=True)
            if row in self._place
        }
        features = self._features
        if not any(voice_of.values()):
            return np.zeros(len(features.dense_ND), np.float32)
        # the inverse is symmetric, and most anchors have no voice
        say_A = np.array(list(voice_of.values()), np.float32) @ self._inverse_AA[list(voice_of)]
        dense_N = features.dense_ND @ (say_A @ self._dense_AD)
        words_N = features.sparse_NT @ (self._sparse_TA @ say_A)
        scores_N: Floats = ((dense_N + words_N) / features.blocks + BIAS * say_A.sum()).astype(np.float32)
        return scores_N


def choose_anchors(users_N: Ints) -> Ints:
    """Rows of items that anybody chose or saw, the most popular ones, in order."""
    touched = np.flatnonzero(users_N)
    chosen = touched[np.lexsort((touched, -users_N[touched]))][:MOST_ANCHORS]
    return np.sort(chosen)


def is_thin(users_N: Ints) -> NDArray[np.bool_]:
    """Items of which no graph says much."""
    return users_N < FEWEST_USERS
