"""One embedded split in its three directions, its groups as classes, and search among item vectors.

Shape legend: N images or items, Q of them that query, T distinct texts, M labelled images, C classes, G groups,
D embedding floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.metrics.relevance import (
    groups_of_texts,
    relevant_images_of_images,
    relevant_images_of_texts,
    relevant_texts_of_images,
)
from pinembed.metrics.retrieval import BLOCK_SCORES, DirectionScores, QueryScores, Score, score_queries
from pinembed.nouns.scores import METRICS

NEIGHBOURS = 5
MAP = METRICS.index("map")


@dataclass(frozen=True, kw_only=True)
class SplitEmbeddings:
    """A split in an encoder's space.

    Attributes:
        image_ND: unit rows.
        text_TD: unit rows, one for each distinct text.
        text_of_N: which text belongs to an image; -1 for an item without text.
        group_of_N: code of the image's group; equal codes are positives of each other.
    """

    image_ND: Tensor
    text_TD: Tensor
    text_of_N: Tensor
    group_of_N: Tensor


@dataclass(frozen=True, kw_only=True)
class SplitScores(DirectionScores):
    """The queries' figures by direction; a direction may have no query."""

    text_to_image: QueryScores
    image_to_text: QueryScores
    image_to_image: QueryScores

    @property
    def directions(self) -> tuple[QueryScores, QueryScores, QueryScores]:
        """In the order of `nouns.scores.DIRECTIONS`."""
        return (self.text_to_image, self.image_to_text, self.image_to_image)


def measure_split(split: SplitEmbeddings) -> SplitScores:
    """Text to image, image to text and image to image.

    `metrics.relevance` defines the positives.
    """
    texts = relevant_texts_of_images(split.group_of_N, split.text_of_N, len(split.text_TD))
    text_to_image, image_to_image = measure_image_gallery(split)
    image_to_text = score_queries(split.image_ND, split.text_TD, texts, split.group_of_N)
    return SplitScores(text_to_image=text_to_image, image_to_text=image_to_text, image_to_image=image_to_image)


def measure_image_gallery(split: SplitEmbeddings, score: Score | None = None) -> tuple[QueryScores, QueryScores]:
    """The two directions that search among images: text to image, and image to image.

    Args:
        split: the embeddings.
        score: of all images, where they are stored in another form.
    """
    queries = TextQueries(text_TD=split.text_TD, text_of_N=split.text_of_N)
    return (
        texts_to_items(queries, split.image_ND, split.group_of_N, score),
        images_to_items(split.image_ND, split.image_ND, split.group_of_N, split.text_of_N, score),
    )


def knn_is_correct(
    image_ND: Tensor, group_of_N: Tensor, labelled_MD: Tensor, group_of_M: Tensor, *, skip_self: bool = False
) -> Tensor:
    """Whether the majority of an image's 5 nearest labelled images is of its group; (N,) bool.

    Of groups with equal votes the one with the lower code wins, as in scikit-learn's KNeighborsClassifier. An image
    whose group has no labelled image is wrong.

    Args:
        image_ND: the images to classify, unit rows.
        group_of_N: their groups.
        labelled_MD: the images that vote, unit rows.
        group_of_M: their groups, in the same codes.
        skip_self: both are the same rows; an image does not vote for itself.
    """
    correct = [torch.empty(0, dtype=torch.bool)]
    neighbours = min(NEIGHBOURS, len(labelled_MD) - skip_self)
    block = max(1, BLOCK_SCORES // max(len(labelled_MD), 1))
    for start in range(0, len(image_ND), block):
        scores_BM = image_ND[start : start + block] @ labelled_MD.T
        if skip_self:
            indices_B = torch.arange(len(scores_BM))
            scores_BM[indices_B, start + indices_B] = -torch.inf
        group_BK = group_of_M[scores_BM.topk(neighbours, dim=1).indices].sort(dim=1).values
        votes_BK = (group_BK[:, :, None] == group_BK[:, None, :]).sum(dim=2)
        # the first maximum of sorted groups is the lowest code; argmax does not promise the first, so weigh the place
        first_BK = votes_BK * neighbours - torch.arange(neighbours)
        chosen_B = group_BK.gather(1, first_BK.argmax(dim=1, keepdim=True)).squeeze(1)
        correct.append(chosen_B == group_of_N[start : start + block])
    return torch.cat(correct)


def zero_shot_is_correct(image_ND: Tensor, class_of_N: Tensor, class_CD: Tensor) -> Tensor:
    """Whether the class text nearest to an image is its own; (N,) bool.

    Args:
        image_ND: unit rows.
        class_of_N: row of the right class.
        class_CD: embeddings of the classes' names, unit rows.
    """
    return (image_ND @ class_CD.T).argmax(dim=1) == class_of_N


@dataclass(frozen=True, kw_only=True)
class TextQueries:
    """Texts that query items.

    Attributes:
        text_TD: unit rows.
        text_of_N: which text an item goes by; -1 for none.
    """

    text_TD: Tensor
    text_of_N: Tensor


def texts_to_items(
    queries: TextQueries, item_ND: Tensor, group_of_N: Tensor, score: Score | None = None
) -> QueryScores:
    """Each text queries all items; those that go by it, and all of their groups, are positives.

    Args:
        queries: the texts.
        item_ND: unit rows.
        group_of_N: code of the item's group.
        score: of all items, where they are stored in another form.
    """
    texts = len(queries.text_TD)
    return score_queries(
        queries.text_TD,
        item_ND,
        relevant_images_of_texts(group_of_N, queries.text_of_N, texts),
        groups_of_texts(group_of_N, queries.text_of_N, texts),
        score=score,
    )


def images_to_items(
    image_QD: Tensor, item_ND: Tensor, group_of_N: Tensor, text_of_N: Tensor, score: Score | None = None
) -> QueryScores:
    """An item's image queries all other items; those of its group, or of equal text, are positives.

    Args:
        image_QD: unit rows, the images of the first Q items.
        item_ND: unit rows, the vectors of all items.
        group_of_N: code of the item's group.
        text_of_N: which text an item has; -1 for none.
        score: of all items, where they are stored in another form.
    """
    relevance = relevant_images_of_images(group_of_N, text_of_N)
    group_of_Q = group_of_N[: len(image_QD)]
    return score_queries(image_QD, item_ND, relevance, group_of_Q, skip_self=True, score=score)


def pooled(scores: Sequence[QueryScores], gallery: int) -> QueryScores:
    """Several rounds of queries over one gallery as one."""
    starts = [0]
    for found in scores[:-1]:
        starts.append(starts[-1] + int(found.index_Q.max()) + 1 if found.queries else starts[-1])
    return QueryScores(
        values_QM=torch.cat(
            [torch.empty(0, len(METRICS), dtype=torch.float64), *(found.values_QM for found in scores)]
        ),
        cluster_Q=torch.cat([torch.empty(0, dtype=torch.int64), *(found.cluster_Q for found in scores)]),
        index_Q=torch.cat(
            [
                torch.empty(0, dtype=torch.int64),
                *(start + found.index_Q for start, found in zip(starts, scores, strict=False)),
            ]
        ),
        gallery=gallery,
    )
