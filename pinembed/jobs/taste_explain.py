"""The taste explain job: which items of a user speak for an item, and which slot it could take."""

from __future__ import annotations

import numpy as np

from pinembed.errors import UnknownItemError
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.taste import Part, TasteExplainReport
from pinembed.settings.taste import TasteExplainSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.arms import voices_of
from pinembed.taste.blend import FRESH, KNOWN
from pinembed.taste.history import History
from pinembed.taste.recommender import Recommender
from pinembed.taste.user_table import find_user
from pinembed.taste.words import Labels

SHOWN_PARTS = 5


def taste_explain(settings: TasteExplainSettings, *, progress: Progress = SILENT) -> TasteExplainReport:
    """Explain an item to a user.

    Raises:
        DataError: there is no such store, or no such user in it.
        UnknownItemError: no such item.
        TableError: a table cannot be read.
    """
    progress.start("open the store")
    recommender = Recommender(EmbeddingTable.open(settings.table), parse_address(settings.users))
    user = find_user(recommender.users, settings.user)
    row = recommender.items.row_of.get(settings.item)
    if row is None:
        raise UnknownItemError(
            f"Table {settings.table} holds no item {settings.item!r}.", remedy="Give --item an id of the table."
        )
    voices = voices_of(user.history)
    slot = FRESH if recommender.is_thin_N[row] else KNOWN
    scores_N = recommender.fresh_scores(voices) if slot == FRESH else recommender.known_scores(voices)
    state = _state(user.history, settings.item)
    parts = recommender.parts(voices, row, slot)
    loudest = [index for index in np.argsort(-parts, kind="stable")[:SHOWN_PARTS].tolist() if parts[index] > 0]
    on_boards = recommender.boards.parts(voices.items, np.ones(len(voices.items), np.float32), row)
    labels = Labels.read(recommender.table, [voices.items[index] for index in loudest])
    weight_of = {touched.item: touched.weight for touched in user.history.touched}
    progress.finish()
    return TasteExplainReport(
        store=str(recommender.store),
        user=settings.user,
        item=settings.item,
        slot=slot,
        state=state,
        score=float(scores_N[row]),
        place=_place(recommender, user.history, scores_N, row) if state == "new" else None,
        users=int(recommender.users_N[row]),
        parts=tuple(
            Part(
                id=voices.items[index],
                title=labels.title_of[voices.items[index]],
                part=float(parts[index]),
                weight=weight_of[voices.items[index]],
            )
            for index in loudest
        ),
        now=max(0.0, float(scores_N[row] - parts.sum())) if slot == KNOWN else 0.0,
        board_path=tuple(voices.items[index] for index in np.flatnonzero(on_boards > 0).tolist()),
    )


def _state(history: History, item: str) -> str:
    found = next((touched for touched in history.touched if touched.item == item), None)
    if found is None:
        return "new"
    return "hidden" if found.weight < 0 else "liked" if found.is_liked else "seen"


def _place(
    recommender: Recommender, history: History, scores_N: np.ndarray[tuple[int], np.dtype[np.float32]], row: int
) -> int:
    """Rank among the items that the same arm may recommend."""
    allowed_N = recommender.is_thin_N == recommender.is_thin_N[row]
    allowed_N[recommender.items.rows(touched.item for touched in history.touched)] = False
    return int((scores_N[allowed_N] > scores_N[row]).sum()) + 1
