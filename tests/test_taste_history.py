"""Histories and interests of many users at once are those of each user alone, whatever the order of their events."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage, to_tree
from scipy.spatial.distance import pdist

from pinembed.taste import interests
from pinembed.taste.event import DAY_US, ENGAGED, KINDS, Event
from pinembed.taste.history import HOUR_US, MOST_PER_HOUR, Touched, histories_of, history_of, told_of
from pinembed.taste.interests import Liked, catalogue_width, find_interests, group_liked
from pinembed.taste.shoppers import START_US, simulate
from pinembed.taste.ward import APART, distances, group_by_user
from tests.taste_material import GROUPS, item_row


def events_of(users: int, count: int, seed: int) -> list[Event]:
    rng = random.Random(seed)
    return [
        Event(
            f"u{rng.randrange(users)}",
            f"i{rng.randrange(6)}",
            rng.choice([*KINDS, "gone"]),
            START_US + rng.randrange(40) * DAY_US,
            board=rng.choice(["", "", "wall"]),
            id=str(number),
        )
        for number in range(count)
    ]


def told_one_by_one(events: list[Event]) -> dict[str, list[Touched]]:
    """As the documentation says it: the strongest since the item was last hidden, which only choosing it takes back."""
    found: dict[str, dict[str, Touched]] = {}
    for event in sorted(events, key=lambda event: (event.time_us, event.key)):
        touched = found.setdefault(event.user, {})
        before, weight = touched.pop(event.item, None), KINDS.get(event.kind, 0.0)
        if before is not None and weight >= 0:
            stays_hidden = before.weight < 0 and weight < ENGAGED
            weight = before.weight if stays_hidden else max(before.weight, weight)
        touched[event.item] = Touched(
            item=event.item,
            weight=weight,
            time_us=event.time_us,
            events=1 + (before.events if before else 0),
            board=event.board or (before.board if before else ""),
        )
    return {user: list(touched.values()) for user, touched in found.items()}


@pytest.mark.parametrize("seed", range(3))
def test_histories_of_many_are_what_their_events_tell_one_by_one(seed: int) -> None:
    events = events_of(7, 400, seed)
    wanted = told_one_by_one(events)
    histories = histories_of(told_of(events), KINDS).each()
    assert {history.user: list(history.touched) for history in histories} == wanted
    for history in histories:
        mine = [event for event in events if event.user == history.user]
        assert history_of(history.user, random.Random(seed).sample(mine, len(mine)), KINDS) == history


def test_only_so_many_events_of_an_hour_count_and_who_has_none_has_an_empty_history() -> None:
    start_us = START_US // HOUR_US * HOUR_US
    events = [Event("bot", f"i{number}", "view", start_us + number) for number in range(MOST_PER_HOUR + 30)]
    events += [Event("bot", "later", "view", start_us + HOUR_US), Event("ann", "i1", "save", start_us)]
    ann, bot, nobody = histories_of(told_of(events), KINDS, users=["ann", "bot", "nobody"]).each()
    assert (bot.events, bot.capped, bot.touched[-1].item) == (MOST_PER_HOUR + 1, 30, "later")
    assert (ann.events, ann.capped) == (1, 0)
    assert (nobody.events, nobody.touched) == (0, ())


def test_interests_of_a_user_do_not_depend_on_who_is_worked_out_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = {item: row.vector_D for items in GROUPS.values() for item in items if (row := item_row(item))}
    width = catalogue_width(np.stack(list(vectors.values())))
    histories = histories_of(told_of(simulate(GROUPS, shoppers=25, events=40).events), KINDS).each()
    alone = [find_interests(history, vectors, width=width) for history in histories]
    liked = [sorted((one for one in each.liked), key=lambda one: one.item) for each in histories]
    every = [one for mine in liked for one in mine]
    order = sorted(vectors)
    together = Liked(
        user_M=np.repeat(np.arange(len(liked)), [len(mine) for mine in liked]),
        order_M=np.array([order.index(one.item) for one in every]),
        weight_M=np.array([one.weight for one in every]),
        age_us_M=np.concatenate(
            [[each.last_us - one.time_us for one in mine] for each, mine in zip(histories, liked, strict=True)]
        ),
        events_M=np.array([one.events for one in every]),
    )
    found = group_liked(together, np.stack([vectors[one.item] for one in every]), width)
    for number, mine in enumerate(alone):
        is_mine_I = found.user_I == number
        assert [every[place].item for place in found.medoid_I[is_mine_I].tolist()] == [one.item for one in mine]
        assert found.weight_I[is_mine_I].tolist() == [one.weight for one in mine]
    assert max(len(mine) for mine in alone) > 1
    monkeypatch.setattr(interests, "ROWS_AT_ONCE", 30)
    spans = list(interests.parts_of(together.user_M))
    assert len(spans) > 5
    assert [spans[0].start, spans[-1].stop] == [0, len(every)]
    assert all(together.user_M[span.start - 1] != together.user_M[span.start] for span in spans[1:])


def test_groups_of_many_users_at_once_are_those_of_wards_method_for_each_of_them() -> None:
    rng = np.random.default_rng(0)
    lengths = [1, 7, 8, 30, 9, 61, 200]
    user_M = np.repeat(np.arange(len(lengths)), lengths)
    centres_GD = rng.standard_normal((9, 48))
    vectors_MD = centres_GD[rng.integers(9, size=len(user_M))] + 0.8 * rng.standard_normal((len(user_M), 48))
    vectors_MD[100:110] = vectors_MD[100]  # pictures that are the same: merges of equal height
    vectors_MD = (vectors_MD / np.linalg.norm(vectors_MD, axis=1, keepdims=True)).astype(np.float32)
    width = catalogue_width(vectors_MD)
    group_M = group_by_user(user_M, vectors_MD, width)
    for user, length in enumerate(lengths):
        mine_MD, groups = vectors_MD[user_M == user], 1
        if length >= 8:
            assert distances(mine_MD) == pytest.approx(pdist(mine_MD.astype(np.float64)), abs=1e-6)
            tree = linkage(distances(mine_MD), "ward")
            joined = [to_tree(tree, rd=True)[1][length + row] for row in range(length - 1)]
            between = [
                np.linalg.norm(np.subtract(*(mine_MD[side.pre_order()].mean(axis=0) for side in (one.left, one.right))))
                for one in joined
            ]
            groups = min(1 + sum(far >= APART * width for far in between), length // 4, 20)
        wanted_M = fcluster(tree, groups, "maxclust") if groups > 1 else np.ones(length)
        found_M = group_M[user_M == user]
        assert ((found_M[:, None] == found_M) == (wanted_M[:, None] == wanted_M)).all()
    assert len(np.unique(group_M[user_M == 6])) > 4
