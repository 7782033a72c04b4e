"""Which images, texts and items are positives of each other: one rule for training, retrieval figures and items.

Two images, or two items, are positives where they share a group or a text. A text and an image are positives where the
text is the image's own, or that of any item of the image's group.

Shape legend: N images or items, T distinct texts, G distinct groups, Q queries, B a block of queries.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Relevance = Callable[[int, int], Tensor]
"""(start, stop) of a block of queries to a bool (B, gallery): which gallery entries are positives."""


def positives(group_Q: Tensor, text_Q: Tensor, group_N: Tensor, text_N: Tensor) -> Tensor:
    """Which pairs share a group or a text; (Q, N) bool. The rule of two images, and of a training batch.

    Args:
        group_Q: code of each query's group.
        text_Q: code of each query's text; -1 for none, which equals nothing.
        group_N: of what is asked for, in the same codes.
        text_N: of what is asked for, in the same codes.
    """
    text_Q1 = text_Q[:, None]
    return (group_Q[:, None] == group_N) | ((text_Q1 == text_N) & (text_Q1 >= 0))


def relevant_images_of_images(group_of_N: Tensor, text_of_N: Tensor) -> Relevance:
    """Images, or items, that query each other; each is its own positive, too."""
    return lambda start, stop: positives(group_of_N[start:stop], text_of_N[start:stop], group_of_N, text_of_N)


def relevant_images_of_texts(group_of_N: Tensor, text_of_N: Tensor, texts: int) -> Relevance:
    """Texts that query images, or items.

    Args:
        group_of_N: code of the image's group.
        text_of_N: which text belongs to the image; -1 for none.
        texts: how many there are; the codes are their indices.
    """
    has_text_GT, group_N = _texts_of_groups(group_of_N, text_of_N, texts)
    return lambda start, stop: has_text_GT.T[start:stop][:, group_N]


def relevant_texts_of_images(group_of_N: Tensor, text_of_N: Tensor, texts: int) -> Relevance:
    """Images that query texts; arguments as in `relevant_images_of_texts`."""
    has_text_GT, group_N = _texts_of_groups(group_of_N, text_of_N, texts)
    return lambda start, stop: has_text_GT[group_N[start:stop]]


def groups_of_texts(group_of_N: Tensor, text_of_N: Tensor, texts: int) -> Tensor:
    """The group of one of the items that have a text; (T,). A text that no item is left of has none: -1."""
    group_T = torch.full((texts,), -1, dtype=torch.int64)
    has_text_N = text_of_N >= 0
    group_T[text_of_N[has_text_N]] = group_of_N[has_text_N]
    return group_T


def _texts_of_groups(group_of_N: Tensor, text_of_N: Tensor, texts: int) -> tuple[Tensor, Tensor]:
    """Which texts a group's items have, (G, T) bool, and the row of each item's group, (N,)."""
    codes_G, group_N = torch.unique(group_of_N, return_inverse=True)
    has_text_N = text_of_N >= 0
    has_text_GT = torch.zeros(len(codes_G), texts, dtype=torch.bool)
    has_text_GT[group_N[has_text_N], text_of_N[has_text_N]] = True
    return has_text_GT, group_N
