"""A customer in the prompt: the items in the middle of their interests, before the items that a question is about.

Shape legend: I interests, D floats of one embedding.
"""

from __future__ import annotations

from collections.abc import Sequence

from pinembed.errors import DataError
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.taste.interests import Interest

MOST_INTERESTS = 5
"""Of a user that a prompt tells: the strongest. Each takes as many tokens as an item."""


def told_interests(interests: Sequence[Interest], source: EmbeddingSource, *, user: str) -> tuple[str, ...]:
    """Item ids that stand for a user's interests in a prompt, the strongest first.

    Args:
        interests: of the user, the strongest first.
        source: that has to hold the items.
        user: named in the error.

    Raises:
        DataError: the source holds none of them.
    """
    known = tuple(interest.item for interest in interests if interest.item in source)[:MOST_INTERESTS]
    if not known:
        raise DataError(
            f"{source.folder} holds none of the {len(interests)} item(s) that the interests of {user!r} are named by.",
            remedy="Export the table that `taste update` was run with, or ask without --user.",
        )
    return known
