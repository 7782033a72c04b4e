"""The order in which a user would like results, out of their taste."""

from __future__ import annotations

import numpy as np

from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.blend import Slots
from pinembed.taste.recommender import Recommender


class TasteOrder:
    """Orders a few results by a taste store.

    Args:
        table: the catalogue.
        store: DATABASE/NAME of the users.

    Raises:
        DataError: there is no such store.
        TableError: a table cannot be read.
    """

    def __init__(self, table: EmbeddingTable, store: str) -> None:
        self._recommender = Recommender(table, parse_address(store))
        self._recommender.open_arms(fresh=True)

    def ordered(self, user: str, ids: list[str]) -> list[str]:
        """The ids, those first that the user's taste recommends; as they are for somebody whom no event names."""
        known = self._recommender.users.find(user) if user else None
        if known is None:
            return ids
        allowed_N = np.zeros(len(self._recommender.items.ids), bool)
        allowed_N[self._recommender.items.rows(ids)] = True
        picks = self._recommender.recommend(known, Slots(k=len(ids), fresh=self._recommender.fresh), allowed_N)
        liked = [pick.id for pick in picks]
        return [*liked, *(item for item in ids if item not in set(liked))]

    def ordered_beside(self, item: str, ids: list[str]) -> list[str]:
        """The ids, those first that users chose together with an item."""
        scores_N = self._recommender.chosen.scores((item,), np.ones(1, np.float32))
        score_of = dict(zip(ids, scores_N[self._recommender.items.rows(ids)].tolist(), strict=True))
        return sorted(ids, key=lambda one: -max(score_of[one], 0.0))
