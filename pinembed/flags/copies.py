"""Which pictures are copies of others: recoded, resized, mirrored, cropped a little, or with a border.

A first look compares the low frequencies of brightness, of the whole and of three middles of each picture, mirrored and
not. What it lets pass is laid over the other picture (`alignment`), and its colours have to be about the same.

Shape legend: N pictures, Q of them that are compared now, D numbers of the first look, P pairs, H = W = LUMA_PX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pinembed.flags.alignment import QUICK_CLIMBS, Lumas, aligned_similarity, resampling
from pinembed.nouns.measures import CHROMA_PX

Bytes = NDArray[np.uint8]
MIDDLES = (0.0, 0.05, 0.09)  # shares of each side that are left out at the first look
FREQUENCIES = 8
LOOKED_AT_PX = 16
FIRST_LOOK = 0.82
CANDIDATES = 6
REFINED = 0.3  # that climbing adds to the similarity of the first boxes, at most
MOST_COLOUR = 6.0
SIMILARITY = 0.95
QUERIES_AT_ONCE, PAIRS_AT_ONCE = 128, 256
LEAST_CONTRAST = 4.0  # standard deviation of brightness; below, there is nothing to compare


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A picture that repeats an earlier one.

    Attributes:
        index: of the copy.
        of: index of the picture that it repeats.
        similarity: correlation of the two once they are laid over each other, 0 to 1.
        is_mirrored: left and right are changed.
    """

    index: int
    of: int
    similarity: float
    is_mirrored: bool


def find_copies(luma_NHW: Bytes, chroma_N: Bytes, *, first: int, advance: Callable[[int], None]) -> Iterator[Copy]:
    """For each picture from the index `first` on, the earlier one that it repeats, if there is any.

    Args:
        luma_NHW: brightness.
        chroma_N: (N, 2, 8, 8) colours.
        first: index of the first picture that is compared; those before it were, or need not be.
        advance: is told how many pictures were compared.
    """
    middles = [_low_frequencies(luma_NHW, middle) for middle in MIDDLES]
    has_contrast_N = luma_NHW.reshape(len(luma_NHW), -1).std(axis=1) >= LEAST_CONTRAST
    for start in range(first, len(luma_NHW), QUERIES_AT_ONCE):
        end = min(start + QUERIES_AT_ONCE, len(luma_NHW))
        pairs_P3 = _candidates(middles, start, end)
        pairs_P3 = pairs_P3[has_contrast_N[pairs_P3[:, 0]] & has_contrast_N[pairs_P3[:, 1]]]
        pairs_P3 = pairs_P3[_colour_distance(chroma_N, pairs_P3) <= MOST_COLOUR]
        yield from _best(*_similar(luma_NHW, pairs_P3))
        advance(end - start)


def _best(pairs_P3: NDArray[np.int64], similarity_P: Lumas) -> Iterator[Copy]:
    """Of the pairs of each copy the one that is most alike."""
    found: dict[int, Copy] = {}
    for (index, of, flip), similarity in zip(pairs_P3.tolist(), similarity_P.tolist(), strict=True):
        if index not in found or similarity > found[index].similarity:
            found[index] = Copy(index=index, of=of, similarity=min(similarity, 1.0), is_mirrored=bool(flip))
    yield from found.values()


def _low_frequencies(luma_NHW: Bytes, middle: float) -> Lumas:
    """(N, D) of norm 1: cosine transform of the picture without its outer part, up to FREQUENCIES, brightness left out.

    Source: as in the hash of Zauner 2010, but kept as numbers.
    """
    at = (np.arange(LOOKED_AT_PX) + 0.5) / LOOKED_AT_PX
    waves = np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * at).astype(np.float32)
    transform = waves @ resampling(middle, middle, LOOKED_AT_PX)
    down, across = np.indices((FREQUENCIES, FREQUENCIES))
    is_kept = (down + across <= FREQUENCIES) & (down + across > 0)
    parts = [
        (transform @ luma_NHW[at : at + 4096].astype(np.float32) @ transform.T)[:, is_kept]
        for at in range(0, len(luma_NHW), 4096)
    ]
    numbers_ND = np.concatenate(parts) if parts else np.empty((0, int(is_kept.sum())), dtype=np.float32)
    looked: Lumas = numbers_ND / np.maximum(np.linalg.norm(numbers_ND, axis=1, keepdims=True), 1e-3)
    return looked


def _mirrored(numbers_QD: Lumas) -> Lumas:
    """Of the mirrored pictures: waves that are odd from left to right change their sign."""
    down, across = np.indices((FREQUENCIES, FREQUENCIES))
    is_kept = (down + across <= FREQUENCIES) & (down + across > 0)
    return numbers_QD * np.where(across[is_kept] % 2, -1, 1).astype(np.float32)


def _candidates(middles: list[Lumas], start: int, end: int) -> NDArray[np.int64]:
    """(P, 3): pictures from `start` to `end`, each with a few of those before it that look like it, and if mirrored.

    A few for each way of looking: pictures with the same border look alike as wholes, however many they are.
    """
    pairs = [np.empty((0, 3), dtype=np.int64)]
    for flip in (False, True):
        queries = [_mirrored(middle[start:end]) if flip else middle[start:end] for middle in middles]
        ways = [(query, middles[0]) for query in queries] + [(queries[0], middle) for middle in middles[1:]]
        for query_QD, stored_ND in ways:
            score_QN = query_QD @ stored_ND[:end].T
            rows, near = np.divmod(np.flatnonzero(score_QN >= FIRST_LOOK), end)
            is_earlier = near < start + rows
            rows, near = rows[is_earlier], near[is_earlier]
            best = np.lexsort((near, -score_QN[rows, near], rows))
            rows, near = rows[best], near[best]
            rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
            rows, near = rows[rank < CANDIDATES], near[rank < CANDIDATES]
            pairs.append(np.stack([start + rows, near, np.full_like(near, flip)], axis=1))
    return np.unique(np.concatenate(pairs), axis=0)


def _similar(luma_NHW: Bytes, pairs_P3: NDArray[np.int64]) -> tuple[NDArray[np.int64], Lumas]:
    """The pairs that are as similar as a copy is, and how similar.

    Each is laid over the other, for the border may be around either; what is far from alike at first is not refined.
    """
    kept, similarities = [np.empty((0, 3), dtype=np.int64)], [np.empty(0, dtype=np.float32)]
    for at in range(0, len(pairs_P3), PAIRS_AT_ONCE):
        pairs = pairs_P3[at : at + PAIRS_AT_ONCE]
        copies, originals = luma_NHW[pairs[:, 0]].astype(np.float32), luma_NHW[pairs[:, 1]].astype(np.float32)
        is_flipped = pairs[:, 2] == 1
        copies[is_flipped] = copies[is_flipped, :, ::-1]
        for whole, other in ((copies, originals), (originals, copies)):
            is_near = aligned_similarity(whole, other, climbs=QUICK_CLIMBS) >= SIMILARITY - REFINED
            refined = aligned_similarity(whole[is_near], other[is_near])
            kept.append(pairs[is_near][refined >= SIMILARITY])
            similarities.append(refined[refined >= SIMILARITY])
    return np.concatenate(kept), np.concatenate(similarities)


def _colour_distance(chroma_N: Bytes, pairs_P3: NDArray[np.int64]) -> NDArray[np.float32]:
    """(P,): mean difference of the colours, without the outermost cells, where a border would be."""
    inner = slice(1, CHROMA_PX - 1)
    copies, originals = (chroma_N[pairs_P3[:, side]].astype(np.float32) for side in (0, 1))
    is_flipped = pairs_P3[:, 2] == 1
    copies[is_flipped] = copies[is_flipped, ..., ::-1]
    distance: NDArray[np.float32] = np.abs(copies - originals)[:, :, inner, inner].mean(axis=(1, 2, 3))
    return distance
