"""Lists on drawn logs of two years in which taste drifts, items come and go, and some groups have a season.

python -m tests.benchmarks.taste_drawn --users 1500 --cuts 3

Each of the three can be missing, and a log without any has to cost the blend nothing. The log is cut several times, the
shares of what is chosen now and of new items are learned of what came before, and the next 40 days are judged:
recall@20 of all users, and the blend minus each other arm, paired by user.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from pinembed.settings.taste import BLEND, GRAPH, POPULAR
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.blend import Slots
from pinembed.taste.event import DAY_US, KINDS, Event
from pinembed.taste.shoppers import START_US
from pinembed.taste.time_split import learn, measurement, split_at
from tests.taste_material import make_table

DAYS, ASKED_DAYS, GROUPS, GROUP_ITEMS, K = 730, 40, 60, 15, 20
GROUP_N = np.repeat(np.arange(GROUPS), GROUP_ITEMS)
ITEMS = [f"g{group}-{number:02}" for group in range(GROUPS) for number in range(GROUP_ITEMS)]
LOGS = {
    "drift, arrivals and seasons": (True, True),
    "drift and arrivals": (True, False),
    "seasons": (False, True),
    "neither": (False, False),
}
"""Whether a log drifts, and whether it has seasons."""


class Drawer:
    """Draws a log.

    Args:
        seed: of the draws.
        drifts: items come and fade, and users change their taste.
        has_seasons: half of the groups have a time of the year.
    """

    def __init__(self, seed: int, *, drifts: bool, has_seasons: bool) -> None:
        self._rng, self._drifts = np.random.default_rng(seed), drifts
        rng, count = self._rng, len(ITEMS)
        self._popular_N = rng.pareto(1.2, count) + 0.1
        is_old_N = (rng.random(count) < 0.5) | (not drifts)
        self._arrival_N = np.where(is_old_N, -1000, rng.integers(0, DAYS, count))
        self._half_life_N = rng.choice([60, 200, 100_000], count) if drifts else np.full(count, 10**9)
        self._peak_G = np.where(rng.random(GROUPS) < 0.5 * has_seasons, rng.integers(0, 365, GROUPS), -1)

    def events(self, users: int) -> list[Event]:
        """Some sessions of each user, of some items each."""
        return [event for number in range(users) for event in self._of_user(f"u{number:05}")]

    def _of_user(self, user: str) -> list[Event]:
        rng, found = self._rng, []
        taste_G = self._taste()
        days = rng.integers(0, DAYS - 1) + np.r_[0, rng.exponential(40, 1 + rng.geometric(1 / 6))].cumsum()
        for day in days[days < DAYS].tolist():
            share_N = self._share(taste_G, day)
            count = min(1 + rng.geometric(1 / 3), int((share_N > 0).sum()))
            for item in rng.choice(len(ITEMS), count, replace=False, p=share_N).tolist():
                kind = "save" if rng.random() < 0.6 else "view"
                time_us = START_US + int(day * DAY_US) + int(rng.integers(10**9))
                found.append(Event(user, ITEMS[item], kind, time_us))
            if self._drifts and rng.random() < 0.05:
                taste_G = self._taste()
        return found

    def _taste(self) -> np.ndarray:
        return self._rng.dirichlet(np.full(GROUPS, 0.15))

    def _share(self, taste_G: np.ndarray, day: float) -> np.ndarray:
        off_G = np.abs(day % 365 - self._peak_G)
        season_G = np.where(self._peak_G < 0, 1, 0.15 + 6 * np.exp(-((np.minimum(off_G, 365 - off_G) / 20) ** 2)))
        age_N = day - np.maximum(self._arrival_N, 0)
        faded_N = np.where(self._arrival_N <= day, 0.5 ** (np.maximum(age_N, 0) / self._half_life_N), 0)
        share_N = self._popular_N * faded_N * (taste_G * season_G)[GROUP_N]
        return share_N / share_N.sum()


def judge(table: EmbeddingTable, events: list[Event], at_us: int) -> str:
    """Figures of one cut."""
    before, after = split_at(events, at_us)
    after = [event for event in after if event.time_us < at_us + ASKED_DAYS * DAY_US]
    found = measurement(table, before, after, KINDS, k=K, rivals={})
    drift, learned = found.recommender.now, learn(table, before, KINDS, k=K)
    by_drift = found.lists(Slots(k=K, fresh=0.2))
    if learned is not None:
        found.recommender.now, found.recommender.fresh = learned.now, learned.fresh
    lists = {arm: found.lists(Slots(k=K), arm=arm) for arm in (GRAPH, POPULAR)}
    lists |= {f"{BLEND} {fresh:g}": found.lists(Slots(k=K, fresh=fresh)) for fresh in (0, 0.2)}
    lists[f"{BLEND} 0.2 without learning"] = by_drift
    lists[f"{BLEND} learned"] = found.lists(Slots(k=K, fresh=found.recommender.fresh))
    told = [f"{name} {one.recall_U.mean():.4f}" for name, one in lists.items()]
    for rival in (GRAPH, POPULAR):
        change = found.mean(lists[f"{BLEND} learned"].recall_U - lists[rival].recall_U)
        assert change is not None
        told.append(f"minus {rival} {change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f})")
    made = f"drift {drift:.2f}, now {found.recommender.now:.2f}, fresh {found.recommender.fresh:g}"
    return f"{len(found.trials)} users, {made}: " + ", ".join(told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--cuts", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        table = EmbeddingTable.open(make_table(Path(name), ITEMS))
        for log, (drifts, has_seasons) in LOGS.items():
            events = Drawer(given.seed, drifts=drifts, has_seasons=has_seasons).events(given.users)
            for cut in range(given.cuts):
                at_us = START_US + (DAYS - ASKED_DAYS * (cut + 1)) * DAY_US
                sys.stdout.write(f"{log}, day {DAYS - ASKED_DAYS * (cut + 1)}: {judge(table, events, at_us)}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
