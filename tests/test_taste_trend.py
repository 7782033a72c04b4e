"""What is chosen now: the last 30 days, the season as far as earlier years tell it, and its part in a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pinembed.jobs.taste_evaluate import taste_evaluate
from pinembed.jobs.taste_explain import taste_explain
from pinembed.jobs.taste_recommend import taste_recommend
from pinembed.settings.taste import TasteEvaluateSettings, TasteExplainSettings, TasteRecommendSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.event import DAY_US, KINDS, Event
from pinembed.taste.recommender import Recommender
from pinembed.taste.shoppers import START_US, write_events
from pinembed.taste.time_split import learn, measurement, split_at
from pinembed.taste.trend import YEAR_US, count_popularity, drift_of, forecast, seasonal
from tests.taste_material import GROUPS, make_table, update

NOW_US = START_US + 3 * YEAR_US
RNG = np.random.default_rng(0)
OLD, NEW = GROUPS["group-0"], GROUPS["group-1"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_table(tmp_path_factory.mktemp("catalogue"))


def test_windows_lie_at_the_same_date_of_earlier_years() -> None:
    days = {"now": 0, "recent": -29, "older": -31, "last year, before": -365 - 20, "last year, after": -365 + 20}
    days |= {"two years, after": -731 + 10, "half a year": -180}
    time_us_E = NOW_US + np.array(list(days.values())) * DAY_US
    everything = np.ones(len(days), bool)
    found = count_popularity(np.arange(len(days)), time_us_E, everything, everything, items=len(days), latest_us=NOW_US)
    names = np.array(list(days))
    assert found.users_I.tolist() == [1] * len(days)
    assert names[found.recent_I > 0].tolist() == ["now", "recent"]
    assert names[found.before_I > 0].tolist() == ["last year, before"]
    assert names[found.after_I > 0].tolist() == ["last year, after", "two years, after"]


def test_a_season_lifts_what_followed_this_date_and_chance_lifts_nothing() -> None:
    rate_I = RNG.gamma(2, 10, 400)
    before_I, after_I = RNG.poisson(rate_I), RNG.poisson(rate_I)
    assert np.abs(seasonal(before_I, after_I) - 1).max() < 0.35
    after_I[:50] = RNG.poisson(6 * rate_I[:50])
    ratio_I = seasonal(before_I, after_I)
    often_I = rate_I > 10
    assert ratio_I[:50][often_I[:50]].min() > 1.5
    assert np.median(ratio_I[50:]) < 1
    assert seasonal(np.zeros(3, int), np.arange(3)).tolist() == [1, 1, 1]
    nothing = np.zeros(400, int)
    assert forecast(rate_I.astype(int), nothing, nothing).tolist() == rate_I.astype(int).tolist()


def test_drift_is_what_chance_does_not_explain() -> None:
    chosen_I = RNG.poisson(RNG.gamma(1, 60, 400))
    assert drift_of(chosen_I, RNG.binomial(chosen_I, 0.2)) < 0.02
    risen_I = RNG.binomial(chosen_I, 0.1)
    risen_I[:80] = RNG.binomial(chosen_I[:80], 0.6)
    assert drift_of(chosen_I, risen_I) > 0.25
    assert drift_of(chosen_I, np.zeros(400, int)) == 0


def test_somebody_new_gets_what_the_season_brings(table: str, tmp_path: Path) -> None:
    """Two years ago and last year group-1 followed group-0 at this date; lately both were chosen alike."""
    events = []
    for years in (0, 1, 2):
        for number in range(60):
            groups = (OLD, NEW) if years == 0 else (OLD,)
            time_us = NOW_US - years * YEAR_US - (number % 25 + 1) * DAY_US
            events += [Event(f"a{years}-{number}", group[number % 6], "save", time_us) for group in groups]
            if years:
                later_us = NOW_US - years * YEAR_US + (number % 25 + 1) * DAY_US
                events.append(Event(f"b{years}-{number}", NEW[number % 6], "save", later_us))
    events.append(Event("clock", OLD[0], "save", NOW_US))
    users = f"{tmp_path}/users"
    update(events, table, users, tmp_path)
    settings = TasteRecommendSettings(table=table, users=users, user="nobody", k=6)
    assert {found.id for found in taste_recommend(settings).results} == set(NEW[:6])
    asked = TasteRecommendSettings(table=table, users=users, user="nobody", k=6, arm="popular")
    assert taste_recommend(asked).results[0].id == OLD[0], "the arm alone counts the last 30 days and nothing else"


def drifting_events() -> list[Event]:
    """Users who choose what goes with their group for a year, and in the last months all the same few new items."""
    rng = np.random.default_rng(1)
    events = []
    for number in range(150):
        own = GROUPS[f"group-{2 + number % 8}"]
        start_us = START_US + int(rng.integers(200)) * DAY_US
        events += [
            Event(f"u{number}", item, "save", start_us + place * DAY_US)
            for place, item in enumerate(rng.permutation(own)[:7].tolist())
        ]
        for month in range(4):
            time_us = START_US + (260 + 30 * month + int(rng.integers(25))) * DAY_US
            events.append(Event(f"u{number}", NEW[month + int(rng.integers(5))], "save", time_us))
    return events


def test_what_is_chosen_now_is_as_loud_as_it_foretells(table: str, tmp_path: Path) -> None:
    opened, events = EmbeddingTable.open(table), drifting_events()
    learned = learn(opened, events, KINDS, k=5)
    assert learned is not None
    assert learned.now > 0
    rng = np.random.default_rng(2)
    still = [event._replace(time_us=START_US + int(rng.integers(360)) * DAY_US) for event in events]
    still = [event for event in still if event.item not in NEW]
    steady = learn(opened, still, KINDS, k=5)
    assert steady is not None
    assert steady.now <= 0.2
    assert learn(opened, [], KINDS, k=5) is None
    log, users = tmp_path / "log.csv", f"{tmp_path}/users"
    write_events(events, log)
    update(log, table, users, tmp_path)
    at = str(START_US + 345 * DAY_US)
    report = taste_evaluate(TasteEvaluateSettings(events=log, at=at, table=table, users=users, k=5))
    assert report.now > 0
    figures = {found.arm: found.recall.value for found in report.arms}
    assert figures["blend"] >= max(figures["graph"], figures["popular"])
    assert Recommender(opened, parse_address(users)).now == report.now
    update([*events, Event("u1", OLD[0], "save", START_US)], table, users, tmp_path, "more.csv")
    assert Recommender(opened, parse_address(users)).now == report.now, "an update keeps what was learned"


def arriving_events(*, by_group: bool) -> list[Event]:
    """Each week a new item of every group comes, and users take what is new of one group, or of any."""
    rng = np.random.default_rng(3)
    groups = list(GROUPS.values())
    return [
        Event(
            f"u{number}", groups[number % 10 if by_group else int(rng.integers(10))][week], "save", START_US + time_us
        )
        for number in range(60)
        for week in range(16)
        if rng.random() < 0.6
        for time_us in [(7 * week + int(rng.integers(7))) * DAY_US]
    ]


def test_new_items_get_as_many_slots_as_they_are_worth(table: str, tmp_path: Path) -> None:
    opened = EmbeddingTable.open(table)
    alike = learn(opened, arriving_events(by_group=True), KINDS, k=10)
    assert alike is not None
    assert alike.fresh >= 0.3
    still = [event._replace(time_us=START_US + index * DAY_US) for index, event in enumerate(drifting_events())]
    old = learn(opened, [event for event in still if event.item not in NEW], KINDS, k=10)
    assert old is not None
    assert old.fresh == 0
    log, users = tmp_path / "log.csv", f"{tmp_path}/users"
    write_events(arriving_events(by_group=True), log)
    update(log, table, users, tmp_path)
    at = str(START_US + 90 * DAY_US)
    report = taste_evaluate(TasteEvaluateSettings(events=log, at=at, table=table, users=users, k=10))
    assert report.fresh >= 0.3
    assert Recommender(opened, parse_address(users)).fresh == report.fresh
    given = taste_evaluate(TasteEvaluateSettings(events=log, at=at, table=table, k=10, fresh=0.1))
    assert given.fresh == 0.1


def test_users_who_were_cut_at_moments_of_their_own_have_no_now(table: str) -> None:
    opened, events = EmbeddingTable.open(table), drifting_events()
    before, after = split_at(events, START_US + 300 * DAY_US)
    assert measurement(opened, before, after, KINDS, k=5).recommender.now > 0
    mixed = [*after, *before[:20]]
    assert measurement(opened, before[20:], mixed, KINDS, k=5).recommender.now == 0


def test_explain_tells_what_being_chosen_now_adds(table: str, tmp_path: Path) -> None:
    users = f"{tmp_path}/users"
    update(drifting_events(), table, users, tmp_path)
    picks = taste_recommend(
        TasteRecommendSettings(table=table, users=users, user="u1", k=8, fresh=0, explore=0)
    ).results
    first = next(found for found in picks if found.id in NEW)
    report = taste_explain(TasteExplainSettings(user="u1", item=first.id, table=table, users=users))
    assert report.now > 0
    assert report.score == pytest.approx(first.score, rel=1e-4)
    assert all(found.reason.startswith(("goes with", "popular")) for found in picks)
