"""Recommendations on a log with dates where a fifth of the items has no event before the cut, beside common baselines.

usage: python tests/benchmarks/taste_movielens.py EVENTS TABLE [--draws 3] [--validation] [--implicit PYTHON]

EVENTS is a log as `taste update` reads it, TABLE the catalogue. A fifth of the items is drawn as cold: none of their
events is shown. Of the others each user keeps the first three quarters of their events. Wanted is what a user chose
among the rest, 943 users of MovieLens-100K; what they touched before is left out of their lists, and the whole
catalogue is ranked. `--validation` draws other items, to tune on. `--implicit` names a Python that has numpy, scipy and
the package implicit, whose ALS is then fitted on the same matrix.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from pinembed.settings.taste import BLEND, CONTENT, GRAPH, INTERESTS, POPULAR
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.blend import Slots
from pinembed.taste.event import KINDS, Event
from pinembed.taste.graph import ease
from pinembed.taste.log_file import LogReader
from pinembed.taste.measure import Lists, Measurement
from pinembed.taste.time_split import measurement

COLD_SHARE, SHOWN_SHARE, K = 0.2, 0.75, 20
VALIDATION_SEED = 1000
ALS = """
import sys, numpy as np
from scipy import sparse
from implicit.als import AlternatingLeastSquares
model = AlternatingLeastSquares(factors=64, regularization=0.05, random_state=0)
model.fit(sparse.load_npz(sys.argv[1]).tocsr().astype(np.float32), show_progress=False)
np.save(sys.argv[2], model.user_factors @ model.item_factors.T)
"""


def split(events: Sequence[Event], items: Sequence[str], seed: int) -> tuple[list[Event], list[Event], set[str]]:
    """Events that are shown, events that are not, and the cold items."""
    rng = np.random.default_rng(seed)
    cold = {items[index] for index in rng.permutation(len(items))[: round(COLD_SHARE * len(items))]}
    of_user: dict[str, list[Event]] = defaultdict(list)
    for event in sorted(events, key=lambda event: (event.time_us, event.key)):
        of_user[event.user].append(event)
    before, after = [], []
    for told in of_user.values():
        after += [event for event in told if event.item in cold]
        warm = [event for event in told if event.item not in cold]
        cut = round(SHOWN_SHARE * len(warm))
        before += warm[:cut]
        after += warm[cut:]
    return before, after, cold


def recalls(found: Measurement, rows_UK: np.ndarray, is_cold_N: np.ndarray) -> np.ndarray:
    """Of each user over all, warm and cold items, (U, 3); NaN where nothing of the kind was wanted."""
    out = np.full((len(found.trials), 3), np.nan)
    for user, trial in enumerate(found.trials):
        for column, wanted in enumerate(
            (trial.wanted, trial.wanted[~is_cold_N[trial.wanted]], trial.wanted[is_cold_N[trial.wanted]])
        ):
            if len(wanted):
                out[user, column] = np.isin(wanted, rows_UK[user]).mean()
    return out


def random_fresh(found: Measurement, graph: Lists, slots: int, rng: np.random.Generator) -> np.ndarray:
    """The graph's list with its last slots filled by thin items at random."""
    thin = np.flatnonzero(found.recommender.is_thin_N)
    rows_UK = graph.rows_UK.copy()
    for rows_K in rows_UK:
        rows_K[-slots:] = rng.choice(thin, slots, replace=False)
    return rows_UK


def choices(found: Measurement) -> sparse.csr_array:
    """1 where a user chose an item before the cut, nothing of what was only seen: what common baselines get."""
    items = found.recommender.items
    pairs = [
        (number, items.row_of[touched.item])
        for number, trial in enumerate(found.trials)
        for touched in trial.user.history.liked
        if touched.item in items.row_of
    ]
    rows, columns = zip(*pairs, strict=True)
    return sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(found.trials), len(items.ids)))


def best(found: Measurement, scores_UN: np.ndarray) -> np.ndarray:
    """The first K that a user did not touch."""
    for number, trial in enumerate(found.trials):
        touched = found.recommender.items.rows(touched.item for touched in trial.user.history.touched)
        scores_UN[number, touched] = -np.inf
    return np.argsort(-scores_UN, axis=1)[:, :K]


def plain_lists(found: Measurement) -> dict[str, np.ndarray]:
    """EASE and item-kNN on choices alone."""
    chosen_UN = choices(found)
    warm = np.flatnonzero(chosen_UN.sum(axis=0))
    chosen_UW = chosen_UN.tocsc()[:, warm].tocsr()
    norm_W = np.sqrt(chosen_UW.sum(axis=0))
    cosine_WW = (chosen_UW.T @ chosen_UW).toarray() / np.outer(norm_W, norm_W)
    np.fill_diagonal(cosine_WW, 0)
    lists = {}
    for name, weight_WW in (("EASE, choices only", ease(chosen_UW)), ("item-kNN, choices only", cosine_WW)):
        scores_UN = np.full(chosen_UN.shape, -1e9)
        scores_UN[:, warm] = chosen_UW @ weight_WW
        lists[name] = best(found, scores_UN)
    return lists


def als(found: Measurement, python: str) -> np.ndarray:
    """Lists of implicit's ALS on choices alone."""
    with tempfile.TemporaryDirectory() as folder:
        sparse.save_npz(f"{folder}/x.npz", sparse.csr_matrix(choices(found)))
        subprocess.run([python, "-c", ALS, f"{folder}/x.npz", f"{folder}/s.npy"], check=True)
        return best(found, np.load(f"{folder}/s.npy"))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path)
    parser.add_argument("table")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--validation", action="store_true")
    parser.add_argument("--implicit", default="")
    given = parser.parse_args()
    events = [event for batch in LogReader(kinds=KINDS).batches(given.events, []) for event in batch.events]
    table = EmbeddingTable.open(given.table)
    figures: dict[str, list[np.ndarray]] = defaultdict(list)
    for draw in range(given.draws):
        seed = draw + VALIDATION_SEED * given.validation
        items = sorted({event.item for event in events})
        before, after, cold = split(events, items, seed)
        found = measurement(table, before, after, KINDS, k=K, seed=seed)
        is_cold_N = np.array([item in cold for item in found.recommender.items.ids])
        plain = Slots(k=K)
        graph = found.lists(plain, arm=GRAPH)
        lists = {
            POPULAR: found.lists(plain, arm=POPULAR).rows_UK,
            **{name: found.lists(plain, arm=GRAPH, recommender=rival).rows_UK for name, rival in found.rivals.items()},
            "graph (EASE) alone": graph.rows_UK,
            "interests alone": found.lists(plain, arm=INTERESTS).rows_UK,
            "likeness alone": found.lists(plain, arm=CONTENT).rows_UK,
            "blend, --fresh 0": found.lists(plain, arm=BLEND).rows_UK,
            "blend, --fresh .1": found.lists(Slots(k=K, fresh=0.1)).rows_UK,
            "blend, --fresh .2": found.lists(Slots(k=K, fresh=0.2)).rows_UK,
            "graph, 4 slots at random": random_fresh(found, graph, 4, np.random.default_rng(seed)),
            "cold alone, likeness": found.lists(plain, arm=CONTENT, only=is_cold_N).rows_UK,
            "cold alone, interests": found.lists(plain, arm=INTERESTS, only=is_cold_N).rows_UK,
        }
        lists |= plain_lists(found)
        if given.implicit:
            lists["ALS (implicit, 64)"] = als(found, given.implicit)
        for name, rows_UK in lists.items():
            figures[name].append(recalls(found, rows_UK, is_cold_N))
        everything_N = found.recommender.allowed(None)
        placed = [found.recommender.place(one.user, Slots(k=K, fresh=0.2), everything_N) for one in found.trials]
        fresh = np.mean([slot == "fresh" for of_user in placed for _, slot, _ in of_user])
        say(f"draw {seed}: {len(found.trials)} users, {len(before)} events shown, fresh slots taken {fresh:.3f}")
    say(f"{'recall@20':26} {'all':>7} {'warm':>7} {'cold':>7}")
    for name, of_draws in figures.items():
        say(
            f"{name:26} "
            + " ".join(f"{value:7.4f}" for value in np.mean([np.nanmean(one, axis=0) for one in of_draws], axis=0))
        )
    rng = np.random.default_rng(0)
    for rival in ("graph (EASE) alone", *found.rivals, POPULAR):
        change = np.concatenate(figures["blend, --fresh .2"])[:, 0] - np.concatenate(figures[rival])[:, 0]
        draws = rng.choice(change, (1000, len(change))).mean(axis=1)
        low, high = np.quantile(draws, (0.025, 0.975))
        say(f"blend .2 minus {rival}: {change.mean():+.4f} ({low:+.4f} to {high:+.4f})")


if __name__ == "__main__":
    main()
