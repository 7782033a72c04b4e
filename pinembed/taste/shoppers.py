"""Simulated shoppers: events with planted interests, a date at which taste drifts, and boards; to test mechanics on.

They are drawn, and say nothing of how good recommendations are for people: measure that on a log of your own.

    python -m pinembed.taste.shoppers sample_images/metadata.csv events.csv
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pinembed.taste.event import DAY_US, SECOND_US, Event

START_US = 1_700_000_000 * SECOND_US
DAYS = 90
NOISE = 0.05
"""Share of events on items that belong to none of the shopper's interests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shopper:
    """One simulated user.

    Attributes:
        interests: groups that were planted.
        drift_us: from then on all events belong to `new`; None for a taste that stays.
        new: the group that takes over; empty where none does.
    """

    user: str
    interests: tuple[str, ...]
    drift_us: int | None
    new: str


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Events of simulated shoppers, and what was planted.

    Attributes:
        events: in the order of time.
        shoppers: who made them.
        adjacent: by group, the one whose items lie on the same boards.
    """

    events: tuple[Event, ...]
    shoppers: tuple[Shopper, ...]
    adjacent: Mapping[str, str]


def simulate(groups: Mapping[str, Sequence[str]], *, shoppers: int = 200, events: int = 40, seed: int = 0) -> Shop:
    """Draw shoppers with two to four interests each; every third of them drifts.

    Args:
        groups: item ids by group.
        shoppers: how many.
        events: of each, about.
        seed: of the draws.
    """
    rng = np.random.default_rng(seed)
    names = sorted(groups)
    adjacent = {name: names[(index + len(names) // 2) % len(names)] for index, name in enumerate(names)}
    drawn = [_shopper(f"shopper-{number:04}", number, names, rng) for number in range(shoppers)]
    told = [event for shopper in drawn for event in _events(shopper, groups, adjacent, events, rng)]
    return Shop(
        events=tuple(sorted(told, key=lambda event: (event.time_us, event.key))),
        shoppers=tuple(drawn),
        adjacent=adjacent,
    )


def write_events(events: Sequence[Event], path: Path) -> None:
    """A log as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["user", "item", "kind", "time", "board", "id"])
        writer.writerows(events)


def _shopper(user: str, number: int, names: Sequence[str], rng: np.random.Generator) -> Shopper:
    chosen = [names[index] for index in rng.permutation(len(names))[: int(rng.integers(2, 5)) + 1]]
    drifts = number % 3 == 0
    drift_us = START_US + int(DAYS * 0.8) * DAY_US if drifts else None
    return Shopper(user=user, interests=tuple(chosen[:-1]), drift_us=drift_us, new=chosen[-1] if drifts else "")


def _events(
    shopper: Shopper,
    groups: Mapping[str, Sequence[str]],
    adjacent: Mapping[str, str],
    count: int,
    rng: np.random.Generator,
) -> list[Event]:
    end_us = shopper.drift_us or START_US + DAYS * DAY_US
    every = [item for items in groups.values() for item in items]
    told = []
    for time_us in np.sort(rng.integers(START_US, end_us, count)).tolist():
        group = shopper.interests[int(rng.integers(len(shopper.interests)))]
        pool = every if rng.random() < NOISE else groups[group]
        told.append(_event(shopper.user, pool, int(time_us), rng))
    if shopper.drift_us is not None:
        times_us = shopper.drift_us + np.sort(rng.integers(0, 10 * DAY_US, 5))
        told += [_event(shopper.user, groups[shopper.new], int(time_us), rng, kind="save") for time_us in times_us]
    # every fourth keeps a board on which one interest lies beside its adjacent one
    if int(shopper.user[-4:]) % 4 == 1:
        told += _board(shopper, groups, adjacent, end_us, rng)
    return told


def _event(user: str, pool: Sequence[str], time_us: int, rng: np.random.Generator, kind: str = "") -> Event:
    kind = kind or str(rng.choice(["view", "click", "save", "purchase"], p=[0.3, 0.25, 0.35, 0.1]))
    return Event(user, pool[int(rng.integers(len(pool)))], kind, time_us)


def _board(
    shopper: Shopper,
    groups: Mapping[str, Sequence[str]],
    adjacent: Mapping[str, str],
    end_us: int,
    rng: np.random.Generator,
) -> list[Event]:
    own = shopper.interests[0]
    told = []
    for group in (own, adjacent[own]):
        items = rng.permutation(sorted(groups[group]))[:4].tolist()
        told += [Event(shopper.user, item, "save", end_us - DAY_US, board=f"{own} and more") for item in items]
    return told


def simulate_for(metadata: Path, *, shoppers: int = 200) -> Shop:
    """Shoppers of the sample shop, whose interests are a category in a style."""
    groups: dict[str, list[str]] = defaultdict(list)
    with metadata.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            groups[f"{row['style']} {row['category']}"].append(row["id"])
    return simulate(groups, shoppers=shoppers)


if __name__ == "__main__":
    write_events(simulate_for(Path(sys.argv[1])).events, Path(sys.argv[2]))
