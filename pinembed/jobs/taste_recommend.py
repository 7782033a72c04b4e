"""The taste recommend job: a list of items for a user, each with its reason, or lists for all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pinembed.flags.hidden import hidden_rows
from pinembed.images.contact_sheet import SheetCell, draw_sheet
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_file, whole_file
from pinembed.reports.taste import Recommendation, TasteRecommendReport
from pinembed.settings.taste import TasteRecommendSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.recommender import Pick, Recommender
from pinembed.taste.words import Labels


def taste_recommend(settings: TasteRecommendSettings, *, progress: Progress = SILENT) -> TasteRecommendReport:
    """Recommend to one user, to somebody new, or to all.

    Raises:
        DataError: there is no such store.
        UnknownItemError: an item of --like is not in the table.
        UsageError: a condition that the table does not understand, or a place that is none for a file.
        TableError: a table cannot be read.
        OutputError: the file of lists or the sheet cannot be written.
    """
    check_file(settings.out, option="--out")
    check_file(settings.sheet, option="--sheet", makes_folder=True)
    progress.start("open the store")
    recommender = Recommender(EmbeddingTable.open(settings.table), parse_address(settings.users))
    slots = recommender.slots(settings.k, fresh=settings.fresh, explore=settings.explore, diversity=settings.diversity)
    recommender.open_arms(fresh=slots.fresh > 0)
    allowed_N = recommender.allowed(settings.where)
    demoted = hidden_rows(recommender.table, settings.demoted).ids
    last_N = None
    if demoted:
        last_N = np.zeros(len(allowed_N), bool)
        last_N[recommender.items.rows(demoted)] = True
    arm = settings.arm or recommender.default_arm
    if settings.out is not None:
        progress.start("lists", unit="user")
        lines = (
            _line(user.name, recommender.recommend(user, slots, allowed_N, arm=arm, last_N=last_N))
            for user in recommender.users.every()
        )
        started_s = time.perf_counter()
        count = _write(settings.out, lines, progress)
        return _report(
            settings, recommender, demoted=len(demoted), count=count, seconds=time.perf_counter() - started_s
        )
    stored = recommender.users.find(settings.user) if settings.user is not None else None
    user = stored if stored is not None and not settings.like else recommender.with_likes(stored, settings.like)
    started_s = time.perf_counter()
    picks = recommender.recommend(user, slots, allowed_N, arm=arm, last_N=last_N)
    seconds = time.perf_counter() - started_s
    progress.finish()
    labels = Labels.read(recommender.table, [name for pick in picks for name in (pick.id, pick.because, pick.via)])
    results = tuple(_result(rank, pick, labels) for rank, pick in enumerate(picks, start=1))
    if settings.sheet is not None:
        cells = [
            SheetCell(path=labels.path_of[found.id], title=found.title, score=found.score, note=found.reason)
            for found in results
        ]
        draw_sheet(cells, heading=f"for {settings.user or 'somebody new'}", path=settings.sheet)
    return _report(
        settings,
        recommender,
        demoted=len(demoted),
        known_user=stored is not None,
        results=results,
        seconds=seconds,
    )


def _result(rank: int, pick: Pick, labels: Labels) -> Recommendation:
    return Recommendation(
        rank=rank,
        id=pick.id,
        title=labels.title_of[pick.id],
        slot=pick.slot,
        score=pick.score,
        because=pick.because,
        via=pick.via,
        reason=labels.reason(pick),
    )


def _line(user: str, picks: list[Pick]) -> str:
    items: list[dict[str, Any]] = [
        {"id": pick.id, "slot": pick.slot, "score": round(pick.score, 6), "because": pick.because} for pick in picks
    ]
    return json.dumps({"user": user, "items": items}, ensure_ascii=False)


def _write(out: Path, lines: Iterator[str], progress: Progress) -> int:
    """The file appears whole or not at all."""
    count = 0
    with whole_file(out, option="--out") as partial, partial.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
            progress.advance()
    return count


def _report(
    settings: TasteRecommendSettings,
    recommender: Recommender,
    *,
    demoted: int,
    known_user: bool = False,
    count: int = 1,
    results: tuple[Recommendation, ...] = (),
    seconds: float,
) -> TasteRecommendReport:
    return TasteRecommendReport(
        store=str(recommender.store),
        user=settings.user,
        known_user=known_user,
        lists=count,
        demoted=demoted,
        demoted_checks=settings.demoted,
        results=results,
        out=settings.out,
        sheet=settings.sheet,
        seconds=seconds,
    )
