"""Percentile bootstrap over queries: how far a mean may lie off because other queries could have been asked.

Shape legend: Q queries, M metrics, R resamples.
Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from pinembed.metrics.retrieval import QueryScores
from pinembed.metrics.split import SplitScores
from pinembed.nouns.evaluation import Accuracy, Estimate, RetrievalScores

RESAMPLES = 1000
LEVELS = (0.025, 0.975)


def estimate(values_QM: Tensor, *, seed: int = 0) -> tuple[Estimate, ...]:
    """Mean and 95 % interval of each column; the columns of a row stay together in a resample."""
    values = values_QM.double().numpy()
    queries = len(values)
    rng = np.random.default_rng(seed)
    means_RM = np.empty((RESAMPLES, values.shape[1]))
    for place in range(RESAMPLES):
        counts_Q = np.bincount(rng.integers(0, queries, queries), minlength=queries)
        means_RM[place] = counts_Q @ values / queries
    low_M, high_M = np.quantile(means_RM, LEVELS, axis=0)
    return tuple(
        Estimate(value=float(value), low=float(low), high=float(high))
        for value, low, high in zip(values.mean(axis=0), low_M, high_M, strict=True)
    )


def retrieval_scores(scores: QueryScores, minus: QueryScores | None = None, *, seed: int = 0) -> RetrievalScores | None:
    """Figures with intervals; with `minus` the paired difference on the same queries. None without a query."""
    if not scores.queries:
        return None
    values_QM = scores.values_QM if minus is None else scores.values_QM - minus.values_QM
    recall_at_1, recall_at_5, recall_at_10, mrr, mean_ap = estimate(values_QM, seed=seed)
    return RetrievalScores(
        queries=scores.queries,
        gallery=scores.gallery,
        recall_at_1=recall_at_1,
        recall_at_5=recall_at_5,
        recall_at_10=recall_at_10,
        mrr=mrr,
        map=mean_ap,
    )


def direction_scores(
    scores: SplitScores, minus: SplitScores | None = None, *, seed: int = 0
) -> tuple[RetrievalScores | None, RetrievalScores | None, RetrievalScores | None]:
    """`retrieval_scores` of each direction, in the order of `nouns.evaluation.DIRECTIONS`."""
    ours, theirs = scores.directions, minus.directions if minus else (None, None, None)
    return (
        retrieval_scores(ours[0], theirs[0], seed=seed),
        retrieval_scores(ours[1], theirs[1], seed=seed),
        retrieval_scores(ours[2], theirs[2], seed=seed),
    )


def accuracy(
    right_N: Tensor, minus_N: Tensor | None = None, *, gallery: int, gallery_split: str | None, seed: int = 0
) -> Accuracy:
    """Accuracy with its interval; with `minus_N` the paired difference on the same images."""
    values_N = right_N.double() if minus_N is None else right_N.double() - minus_N.double()
    (figure,) = estimate(values_N[:, None], seed=seed)
    return Accuracy(queries=len(right_N), gallery=gallery, gallery_split=gallery_split, accuracy=figure)
