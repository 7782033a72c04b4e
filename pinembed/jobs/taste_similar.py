"""The taste similar job: users who chose the same items.

Legend: U users, I items.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.taste import SimilarUser, TasteSimilarReport
from pinembed.settings.taste import TasteSimilarSettings
from pinembed.table.address import parse_address
from pinembed.taste.engagement import read_engagement
from pinembed.taste.user_table import UserTable, find_user

SHOWN_ITEMS = 5


def taste_similar(settings: TasteSimilarSettings, *, progress: Progress = SILENT) -> TasteSimilarReport:
    """Find users like one.

    Raises:
        DataError: there is no such store, or no such user in it.
        TableError: a table cannot be read.
    """
    progress.start("users")
    address = parse_address(settings.users)
    users = UserTable(address)
    find_user(users, settings.user)
    found = _similar_users(users, settings.user, settings.k)
    progress.finish()
    return TasteSimilarReport(store=str(address), user=settings.user, results=tuple(found))


def _similar_users(users: UserTable, user: str, k: int) -> list[SimilarUser]:
    """The k users most alike to one, best first."""
    names = [name for batch in users.batches(["user"]) for name in batch.column("user").to_pylist()]
    engagement = read_engagement(users)
    strength_UI = engagement.of_users.strength_UI
    rarity_I = np.log(len(names) / np.maximum(engagement.of_users.users_I, 1))
    weighted_UI = (strength_UI @ sparse.diags_array(rarity_I)).tocsr()
    norm_U = np.sqrt(weighted_UI.multiply(weighted_UI).sum(axis=1))
    own = names.index(user)
    score_U = (weighted_UI @ weighted_UI[[own]].T).toarray()[:, 0] / np.maximum(norm_U * norm_U[own], 1e-12)
    score_U[own] = 0
    best = np.lexsort((np.array(names), -score_U))[:k]
    found = []
    for number in best[score_U[best] > 0].tolist():
        shared = np.intersect1d(_liked(strength_UI, own), _liked(strength_UI, number))
        rarest = shared[np.argsort(-rarity_I[shared], kind="stable")][:SHOWN_ITEMS]
        items = tuple(engagement.items[item] for item in rarest.tolist())
        found.append(SimilarUser(user=names[number], score=float(score_U[number]), shared=items))
    return found


def _liked(strength_UI: sparse.csr_array, user: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    row = strength_UI[[user]].tocoo()
    chosen: np.ndarray[tuple[int], np.dtype[np.int64]] = np.sort(row.coords[1][row.data >= 1]).astype(np.int64)
    return chosen
