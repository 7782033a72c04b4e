"""Search among item vectors: texts and images ask, items answer.

Shape legend: N items, Q of them that ask, T distinct texts, D embedding floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.metrics.relevance import groups_of_texts, relevant_images_of_images, relevant_images_of_texts
from pinembed.metrics.retrieval import QueryScores, score_queries
from pinembed.nouns.evaluation import METRICS


@dataclass(frozen=True, kw_only=True)
class TextQueries:
    """Texts that ask for items.

    Attributes:
        text_TD: unit rows.
        text_of_N: which text an item goes by; -1 for none.
    """

    text_TD: Tensor
    text_of_N: Tensor


def texts_to_items(queries: TextQueries, item_ND: Tensor, group_of_N: Tensor) -> QueryScores:
    """Each text asks all items; those that go by it, and all of their groups, are right.

    Args:
        queries: the texts.
        item_ND: unit rows.
        group_of_N: code of the item's group.
    """
    texts = len(queries.text_TD)
    return score_queries(
        queries.text_TD,
        item_ND,
        relevant_images_of_texts(group_of_N, queries.text_of_N, texts),
        groups_of_texts(group_of_N, queries.text_of_N, texts),
    )


def images_to_items(image_QD: Tensor, item_ND: Tensor, group_of_N: Tensor, text_of_N: Tensor) -> QueryScores:
    """An item's image asks all other items; those of its group, or of equal text, are right.

    Args:
        image_QD: unit rows, the images of the first Q items.
        item_ND: unit rows, the vectors of all items.
        group_of_N: code of the item's group.
        text_of_N: which text an item has; -1 for none.
    """
    relevance = relevant_images_of_images(group_of_N, text_of_N)
    return score_queries(image_QD, item_ND, relevance, group_of_N[: len(image_QD)], skip_self=True)


def pooled(scores: Sequence[QueryScores], gallery: int) -> QueryScores:
    """Several rounds of queries over one gallery as one."""
    starts = [0]
    for found in scores[:-1]:
        starts.append(starts[-1] + int(found.place_Q.max()) + 1 if found.queries else starts[-1])
    return QueryScores(
        values_QM=torch.cat(
            [torch.empty(0, len(METRICS), dtype=torch.float64), *(found.values_QM for found in scores)]
        ),
        cluster_Q=torch.cat([torch.empty(0, dtype=torch.int64), *(found.cluster_Q for found in scores)]),
        place_Q=torch.cat(
            [
                torch.empty(0, dtype=torch.int64),
                *(start + found.place_Q for start, found in zip(starts, scores, strict=False)),
            ]
        ),
        gallery=gallery,
    )
