"""Ranked retrieval with several positives, exact also where scores are equal.

Shape legend: Q queries, G gallery, B a block of queries, D embedding floats, M metrics (`nouns.scores.METRICS`).

recall@k is the share of queries with at least one positive among the first k. Average precision is the mean, over
the positives, of the precision at the score of that positive. Equal scores are one step, as in scikit-learn's
average_precision_score, and the rank of a positive counts every negative of equal score before it: an encoder that
gives one vector to everything earns nothing from the order of the files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.metrics.relevance import Relevance
from pinembed.nouns.scores import METRICS

BLOCK_SCORES = 1 << 23
Score = Callable[[Tensor], Tensor]
"""Queries (B, D) to scores (B, G) of a gallery."""
SCORE_STEP = 1e-6
"""Cosines closer than this are equal: copies of one picture differ in the last bits of a matrix product."""


@dataclass(frozen=True, kw_only=True)
class QueryScores:
    """The figures of each query.

    Attributes:
        values_QM: float64; a row for each query that has a positive.
        cluster_Q: code of the query's group; queries of one group are not independent.
        index_Q: index of the query among those that were asked, with and without a positive.
        gallery: candidates of a query.
    """

    values_QM: Tensor
    cluster_Q: Tensor
    index_Q: Tensor
    gallery: int

    @property
    def queries(self) -> int:
        return len(self.values_QM)

    def mean(self, metric: str) -> float:
        """Over all queries; NaN without any."""
        return float(self.values_QM[:, METRICS.index(metric)].mean())

    def of(self, is_wanted: Tensor) -> QueryScores:
        """The wanted queries; `is_wanted` is a bool for each that was asked, with or without a positive."""
        chosen_Q = is_wanted[self.index_Q]
        return QueryScores(
            values_QM=self.values_QM[chosen_Q],
            cluster_Q=self.cluster_Q[chosen_Q],
            index_Q=self.index_Q[chosen_Q],
            gallery=self.gallery,
        )


class DirectionScores:
    """Figures of several directions of search, some of which may have no query."""

    @property
    def directions(self) -> tuple[QueryScores, ...]:
        """In a fixed order."""
        raise NotImplementedError

    @property
    def mean_map(self) -> float:
        """Mean average precision over the directions that have queries."""
        measured = [scores.mean("map") for scores in self.directions if scores.queries]
        return sum(measured) / len(measured)

    def is_nowhere_below(self, floor: DirectionScores) -> bool:
        """No direction has a lower mAP, given the same queries."""
        pairs = zip(self.directions, floor.directions, strict=True)
        return all(ours.mean("map") >= theirs.mean("map") for ours, theirs in pairs if ours.queries)


def score_queries(
    query_QD: Tensor,
    gallery_GD: Tensor,
    relevance: Relevance,
    cluster_Q: Tensor,
    *,
    skip_self: bool = False,
    score: Score | None = None,
) -> QueryScores:
    """Rank the gallery for each query by cosine.

    Args:
        query_QD: rows of L2 norm 1.
        gallery_GD: rows of L2 norm 1.
        relevance: the positives of a block of queries.
        cluster_Q: code of each query's group.
        skip_self: queries and gallery are the same rows; a query does not find itself.
        score: where the gallery is stored in another form; by default cosines.
    """
    gallery = len(gallery_GD)
    block = max(1, BLOCK_SCORES // max(gallery, 1))
    rows = [torch.empty(0, len(METRICS), dtype=torch.float64)]
    indices = [torch.empty(0, dtype=torch.int64)]
    for start in range(0, len(query_QD) if gallery else 0, block):  # an empty gallery answers none
        stop = min(start + block, len(query_QD))
        query_BD = query_QD[start:stop]
        scores_BG = torch.round((query_BD @ gallery_GD.T if score is None else score(query_BD)) / SCORE_STEP)
        relevant_BG = relevance(start, stop).clone()
        if skip_self:
            indices_B = torch.arange(stop - start)
            scores_BG[indices_B, start + indices_B] = -torch.inf
            relevant_BG[indices_B, start + indices_B] = False
        answered_B = relevant_BG.any(dim=1)
        rows.append(_metrics(scores_BG[answered_B], relevant_BG[answered_B]))
        indices.append(start + answered_B.nonzero().squeeze(1))
    index_Q = torch.cat(indices)
    return QueryScores(
        values_QM=torch.cat(rows), cluster_Q=cluster_Q[index_Q], index_Q=index_Q, gallery=gallery - skip_self
    )


def _metrics(scores_BG: Tensor, relevant_BG: Tensor) -> Tensor:
    best_B1 = scores_BG.masked_fill(~relevant_BG, -torch.inf).amax(dim=1, keepdim=True)
    rank_B = 1 + ((scores_BG >= best_B1) & ~relevant_BG).sum(dim=1).double()
    recalls = [(rank_B <= k).double() for k in (1, 5, 10)]
    return torch.stack([*recalls, 1 / rank_B, _average_precision(scores_BG, relevant_BG)], dim=1)


def _average_precision(scores_BG: Tensor, relevant_BG: Tensor) -> Tensor:
    sorted_BG, order_BG = scores_BG.sort(dim=1, descending=True)
    hit_BG = relevant_BG.gather(1, order_BG)
    gallery = scores_BG.shape[1]
    index_G = torch.arange(gallery)
    # equal scores count at the last rank that they take
    is_last_BG = torch.ones_like(hit_BG)
    is_last_BG[:, :-1] = sorted_BG[:, :-1] != sorted_BG[:, 1:]
    end_BG = torch.where(is_last_BG, index_G, gallery).flip(1).cummin(dim=1).values.flip(1)
    precision_BG = hit_BG.cumsum(dim=1).gather(1, end_BG).double() / (end_BG + 1)
    return (precision_BG * hit_BG).sum(dim=1) / hit_BG.sum(dim=1)
