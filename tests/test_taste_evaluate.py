"""`taste evaluate`: a log cut at a moment, every arm judged by what users chose after it, and the default."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pinembed.errors import DataError, UsageError
from pinembed.jobs.taste_evaluate import taste_evaluate
from pinembed.jobs.taste_recommend import taste_recommend
from pinembed.reports.taste import TasteEvaluateReport
from pinembed.settings.taste import ARMS, TasteEvaluateSettings, TasteRecommendSettings
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.taste.blend import ranked
from pinembed.taste.event import DAY_US, KINDS, Event
from pinembed.taste.shoppers import START_US, write_events
from pinembed.taste.time_split import measurement, split_at
from tests.conftest import CliResult
from tests.taste_material import GROUPS, make_table, update

CUT_US = START_US + 20 * DAY_US


def shop_events() -> list[Event]:
    """Who likes one group also takes six items of the next, which no vector tells; after the cut, these and new."""
    rng = np.random.default_rng(3)
    events = []
    for number in range(150):
        own, other = GROUPS[f"group-{number % 10}"], GROUPS[f"group-{(number + 1) % 10}"]
        beside = rng.permutation(other[:6]).tolist()
        before = [*rng.permutation(own[:-4])[:7].tolist(), *beside[:3]]
        after = [*beside[3:], str(rng.choice(own[-4:]))]
        for place, item in enumerate(before):
            events.append(Event(f"u{number:03}", str(item), "save", START_US + 1000 * place + number))
        for place, item in enumerate(after):
            events.append(Event(f"u{number:03}", str(item), "save", CUT_US + 1000 * place + number))
    return events


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_table(tmp_path_factory.mktemp("catalogue"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "events.csv"
    write_events(shop_events(), path)
    return path


@pytest.fixture(scope="module")
def report(log: Path, table: str) -> TasteEvaluateReport:
    return taste_evaluate(TasteEvaluateSettings(events=log, at=str(CUT_US), table=table, k=10))


def test_blend_beats_every_arm_where_new_items_are_wanted(report: TasteEvaluateReport) -> None:
    figures = {found.arm: found for found in report.arms}
    assert (report.users, report.after) == (150, 600)
    assert report.difference.low > 0
    assert (report.default, report.exit_code) == ("blend", 0)
    assert figures["graph"].cold is not None
    assert figures["graph"].cold.value == 0
    assert figures["blend"].cold is not None
    assert figures["blend"].cold.value > 0.3
    assert figures["graph"].recall.value > figures["popular"].recall.value
    assert figures["popular"].coverage < figures["blend"].coverage <= 1


def test_other_graphs_are_judged_beside_the_arms_and_never_served(report: TasteEvaluateReport) -> None:
    figures = {found.arm: found for found in report.arms}
    assert list(figures) == [*ARMS, "item-kNN", "RP3beta"]
    assert figures["RP3beta"].recall != figures["graph"].recall
    assert figures["RP3beta"].recall.value > figures["popular"].recall.value
    assert report.default in ARMS


def test_dial_gives_new_items_what_it_takes_from_old_ones(report: TasteEvaluateReport) -> None:
    cold = [point.cold.value for point in report.dial if point.cold is not None]
    warm = [point.warm.value for point in report.dial if point.warm is not None]
    assert cold == sorted(cold)
    assert cold[0] == 0 < cold[-1]
    assert warm[0] > warm[-1]


def test_where_the_blend_does_not_win_the_best_arm_becomes_the_default(
    cli: Callable[..., CliResult], table: str, tmp_path: Path
) -> None:
    hits = [items[0] for items in GROUPS.values()]
    events = [
        Event(f"u{number}", item, "save", START_US + number) for number in range(30) for item in hits[: 3 + number % 4]
    ]
    events += [Event(f"u{number}", hits[7], "save", CUT_US + number) for number in range(30)]
    events += [Event(f"w{number}", hits[7], "save", START_US + number) for number in range(40)]
    write_events(events, tmp_path / "log.csv")
    users = f"{tmp_path}/users"
    update(tmp_path / "log.csv", table, users, tmp_path)
    args = ("taste", "evaluate", tmp_path / "log.csv", "--at", CUT_US, "--table", table, "--users", users)
    result = cli(*map(str, args), "--json", "-k", "1")
    assert result.exit_code == 4
    assert result.json["default"] != "blend"
    assert result.json["stored"]
    assert "The blend does not beat" in result.stderr
    slots = {
        found.slot
        for found in taste_recommend(
            TasteRecommendSettings(table=table, users=users, user="u1", k=3, explore=0.3)
        ).results
    }
    assert "lateral" not in slots, "the stored arm fills the list alone"


def test_evaluation_needs_both_sides_of_the_cut(log: Path, table: str) -> None:
    with pytest.raises(DataError, match="has 0 events before 1970-01-02"):
        taste_evaluate(TasteEvaluateSettings(events=log, at="1970-01-02", table=table))
    with pytest.raises(UsageError, match="--at soon is no time"):
        taste_evaluate(TasteEvaluateSettings(events=log, at="soon", table=table))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("ann,g1-01,5,{time}", "Most rows are no events: log.csv:2: kind '5' is none of"),
        ("ann,g1-01.png,save,{time}", "None of its items is in the table, not g1-01.png"),
        ("ann,g1-01,view,{time}", "No event is a choice"),
        ("ann,g1-01,save,{time}", "It goes from 2023-11-14"),
    ],
)
def test_what_a_log_lacks_is_told(table: str, tmp_path: Path, row: str, told: str) -> None:
    log = tmp_path / "log.csv"
    rows = [row.format(time=time_s) for time_s in (1_700_000_000, 1_700_100_000)]
    log.write_text("\n".join(["user,item,kind,time", *rows, ""]))
    with pytest.raises(DataError, match=told):
        taste_evaluate(TasteEvaluateSettings(events=log, at="1700050000", table=table))


def test_plot_of_the_dial_is_written(log: Path, table: str, tmp_path: Path) -> None:
    settings = TasteEvaluateSettings(events=log, at=str(CUT_US), table=table, plot=tmp_path / "dial.png")
    assert taste_evaluate(settings).plot is not None
    assert (tmp_path / "dial.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_after_the_cut_is_known_before_it(table: str) -> None:
    before, after = split_at(shop_events(), CUT_US)
    whole = measurement(EmbeddingTable.open(table), before, after, KINDS, k=10)
    other = [Event(event.user, GROUPS["group-0"][0], "save", event.time_us) for event in after]
    changed = measurement(EmbeddingTable.open(table), before, other, KINDS, k=10)
    lists = {trial.user.name: trial.user for trial in whole.trials}
    assert all(lists[trial.user.name] == trial.user for trial in changed.trials if trial.user.name in lists)
    assert (whole.recommender.users_N == changed.recommender.users_N).all()


def test_equal_scores_are_broken_at_random_and_alike_for_a_seed() -> None:
    scores_N, everything_N = np.zeros(50, np.float32), np.ones(50, bool)
    orders = [
        ranked(scores_N, everything_N, 10, tie_N=np.random.default_rng(seed).permutation(50)).tolist()
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != list(range(10))
