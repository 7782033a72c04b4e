"""Lists with reasons: what is planted is found, what is hidden stays away, and each slot holds what it promises."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import adjusted_rand_score

from pinembed.errors import DataError, UnknownItemError, UsageError
from pinembed.jobs.taste_explain import taste_explain
from pinembed.jobs.taste_inspect import taste_inspect
from pinembed.jobs.taste_recommend import taste_recommend
from pinembed.jobs.taste_similar import taste_similar
from pinembed.nouns.flag import Flag
from pinembed.reports.taste import TasteRecommendReport
from pinembed.settings.taste import (
    TasteExplainSettings,
    TasteInspectSettings,
    TasteRecommendSettings,
    TasteSimilarSettings,
)
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.quality_tables import FlagTable
from pinembed.taste.blend import FRESH, KNOWN, LATERAL, Slots, share_slots
from pinembed.taste.event import KINDS, Event
from pinembed.taste.history import history_of
from pinembed.taste.interests import CONSIDER, DECIDE, EXPLORE, find_interests
from pinembed.taste.item_vectors import ItemVectors
from pinembed.taste.recommender import Recommender
from pinembed.taste.shoppers import START_US, Shop, simulate
from pinembed.taste.user_table import UserTable
from tests.conftest import CliResult
from tests.taste_material import GROUP_OF, GROUPS, make_table, update

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
NEW = tuple(items[-1] for items in GROUPS.values())
"""Items that nobody has seen."""
SEEN_GROUPS = {group: items[:-1] for group, items in GROUPS.items()}


@dataclass(frozen=True)
class Store:
    table: str
    users: str
    shop: Shop

    def recommend(self, **asked: object) -> TasteRecommendReport:
        return taste_recommend(TasteRecommendSettings(table=self.table, users=self.users, **asked))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("store")
    table = make_table(folder)
    shop = simulate(SEEN_GROUPS, shoppers=90, events=40)
    hidden = [Event("shopper-0002", item, "hide", START_US) for item in GROUPS["group-1"]]
    update([*shop.events, *hidden], table, f"{folder}/users", folder)
    return Store(table, f"{folder}/users", shop)


def test_planted_interests_are_recovered(store: Store) -> None:
    users = UserTable(parse_address(store.users))
    found = []
    for shopper in store.shop.shoppers:
        user = users.find(shopper.user)
        assert user is not None
        mine = [group for group in (*shopper.interests, shopper.new) if group]
        members = [
            (GROUP_OF[item], number)
            for number, interest in enumerate(user.interests)
            for item in interest.members
            if GROUP_OF[item] in mine
        ]
        found.append(adjusted_rand_score(*zip(*members, strict=True)))
    assert np.mean(found) >= 0.9


def test_the_new_interest_leads_five_events_after_the_drift(store: Store) -> None:
    users = UserTable(parse_address(store.users))
    drifted = [shopper for shopper in store.shop.shoppers if shopper.drift_us is not None]
    leads = []
    for shopper in drifted:
        user = users.find(shopper.user)
        assert user is not None
        leads.append(GROUP_OF[user.interests[0].item] == shopper.new)
    assert len(drifted) == 30
    assert np.mean(leads) >= 0.95


def test_interests_add_up_and_small_histories_are_not_split(store: Store) -> None:
    for user in UserTable(parse_address(store.users)).every():
        liked = len(user.history.liked)
        assert len(user.interests) <= max(1, liked // 4)
        if user.interests:
            assert sum(interest.weight for interest in user.interests) == pytest.approx(1)


def test_stage_follows_what_was_done_lately(store: Store) -> None:
    items = ItemVectors.read(EmbeddingTable.open(store.table))
    stages = {}
    for name, kinds in {"looked": "click", "kept": "save", "bought": "purchase"}.items():
        history = history_of("ann", [Event("ann", "g1-01", kinds, START_US)], KINDS)
        stages[name] = find_interests(history, items.some(["g1-01"]), width=items.width)[0].stage
    assert stages == {"looked": EXPLORE, "kept": CONSIDER, "bought": DECIDE}


def test_a_list_follows_the_interests_and_gives_reasons(store: Store) -> None:
    shopper = store.shop.shoppers[1]
    report = store.recommend(user=shopper.user, k=10, fresh=0, explore=0)
    groups = Counter(GROUP_OF[found.id] for found in report.results)
    assert sum(groups[group] for group in shopper.interests) >= 7
    user = UserTable(parse_address(store.users)).find(shopper.user)
    assert user is not None
    touched = {found.item for found in user.history.touched}
    assert not touched & {found.id for found in report.results}
    assert all(found.because in touched for found in report.results)
    assert report.results[0].reason == f"goes with thing {report.results[0].because}"


def test_hidden_items_are_never_shown(store: Store) -> None:
    every = store.recommend(user="shopper-0002", k=160, explore=0.3).results
    assert not {found.id for found in every} & set(GROUPS["group-1"])


def test_what_is_liked_now_joins_the_history_and_hidden_items_stay_away(store: Store) -> None:
    results = store.recommend(user="shopper-0002", like=("g4-01", "g4-02", "g4-03"), k=160, explore=0).results
    assert sum(GROUP_OF[found.id] == "group-4" for found in results[:20]) >= 4
    assert not {found.id for found in results} & set(GROUPS["group-1"])


def test_fresh_slots_hold_items_that_nobody_saw(store: Store) -> None:
    shopper = store.shop.shoppers[1]
    results = store.recommend(user=shopper.user, k=10, fresh=0.2, explore=0).results
    fresh = [found for found in results if found.slot == FRESH]
    assert len(results) == 10
    assert 1 <= len(fresh) <= 2
    assert {found.id for found in fresh} <= set(NEW)
    assert GROUP_OF[fresh[0].id] in shopper.interests
    assert GROUP_OF[fresh[0].because] == GROUP_OF[fresh[0].id]
    assert not [found for found in store.recommend(user=shopper.user, k=10, fresh=0).results if found.slot == FRESH]


def test_half_of_the_fresh_slots_are_certain_and_the_others_have_to_promise_more() -> None:
    known = [(row, 1.0 - row / 10) for row in range(10)]
    slots = Slots(k=10, fresh=0.4)
    poor = share_slots(known, [(20 + row, 0.01) for row in range(4)], [], slots)
    rich = share_slots(known, [(20 + row, 0.9) for row in range(4)], [], slots)
    assert [sum(slot == FRESH for _, slot in found) for found in (poor, rich)] == [2, 4]
    assert [row for row, slot in rich if slot == KNOWN] == [0, 1, 2, 3, 4, 5]
    young = share_slots(known[:3], [(20 + row, 0.01) for row in range(10)], [], slots)
    assert [row for row, slot in young if slot == FRESH] == list(range(20, 27)), "what the graph leaves empty is filled"


def test_a_condition_narrows_the_list(store: Store) -> None:
    results = store.recommend(user="shopper-0001", where="price < 25", k=30).results
    assert results
    assert {GROUP_OF[found.id] for found in results} <= {"group-0", "group-1", "group-2"}
    with pytest.raises(UsageError, match="The condition 'weight < 1' cannot be used"):
        store.recommend(user="shopper-0001", where="weight < 1")


def test_somebody_new_gets_what_they_like_or_what_is_popular(store: Store) -> None:
    liked = store.recommend(like=("g4-01", "g4-02", "g4-03"), k=6, explore=0)
    assert sum(GROUP_OF[found.id] == "group-4" for found in liked.results) >= 4
    nobody = store.recommend(user="never seen", k=5)
    assert not nobody.known_user
    assert {found.slot for found in nobody.results} == {"popular"}
    with pytest.raises(UnknownItemError, match="holds no item 'g99'"):
        store.recommend(like=("g99",))


def test_diversity_brings_other_interests_in(store: Store) -> None:
    def groups(diversity: float) -> int:
        found = store.recommend(user="shopper-0003", k=10, fresh=0, explore=0, diversity=diversity).results
        return len({GROUP_OF[one.id] for one in found})

    assert groups(0.7) > groups(0.0)


def test_lists_for_all_are_written_whole(store: Store, tmp_path: Path) -> None:
    report = store.recommend(everyone=True, out=tmp_path / "lists.jsonl", k=5)
    lines = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert report.lists == len(lines) == 90
    line = next(line for line in lines if line["user"] == "shopper-0001")
    assert [item["id"] for item in line["items"]] == [
        found.id for found in store.recommend(user="shopper-0001", k=5).results
    ]


def test_sheet_shows_a_list(store: Store, tmp_path: Path) -> None:
    report = store.recommend(user="shopper-0001", k=4, sheet=tmp_path / "for.png")
    assert report.sheet is not None
    with Image.open(report.sheet) as sheet:
        assert sheet.width > 500


def test_lateral_slots_reach_planted_neighbours_that_the_user_never_touched(tmp_path: Path) -> None:
    groups = {f"group-{number}": [f"g{number}-{item:02}" for item in range(10)] for number in range(60)}
    group_of = {item: group for group, items in groups.items() for item in items}
    table = make_table(tmp_path, tuple(group_of))
    shop = simulate(groups, shoppers=240, events=30)
    update(shop.events, table, f"{tmp_path}/users", tmp_path)
    recommender = Recommender(EmbeddingTable.open(table), parse_address(f"{tmp_path}/users"))
    everything = recommender.allowed(None)
    hits, chances = [], []
    for shopper in shop.shoppers:
        if shopper.drift_us is not None or int(shopper.user[-4:]) % 4 == 1:  # who has the board knows both sides of it
            continue
        user = recommender.users.find(shopper.user)
        assert user is not None
        touched = {group_of[found.item] for found in user.history.touched}
        planted = {shop.adjacent[group] for group in shopper.interests} - touched
        picks = recommender.recommend(user, Slots(k=20, explore=0.2), everything)
        lateral = [pick for pick in picks if pick.slot == LATERAL]
        hits += [group_of[pick.id] in planted for pick in lateral]
        chances += [len(planted) / len(groups)] * len(lateral)
        assert all(pick.because for pick in lateral)
    assert len(hits) > 100
    assert np.mean(hits) >= 5 * np.mean(chances)


def test_explain_names_what_speaks_for_an_item(store: Store) -> None:
    first = store.recommend(user="shopper-0001", k=5, fresh=0, explore=0).results[0]
    report = taste_explain(
        TasteExplainSettings(user="shopper-0001", item=first.id, table=store.table, users=store.users)
    )
    assert (report.slot, report.state, report.place) == (KNOWN, "new", 1)
    assert report.parts[0].id == first.because
    assert report.score == pytest.approx(first.score, rel=1e-4)
    hidden = taste_explain(
        TasteExplainSettings(user="shopper-0002", item="g1-03", table=store.table, users=store.users)
    )
    assert (hidden.state, hidden.place) == ("hidden", None)
    fresh = taste_explain(TasteExplainSettings(user="shopper-0001", item=NEW[0], table=store.table, users=store.users))
    assert (fresh.slot, fresh.users) == (FRESH, 0)


def test_similar_users_share_interests(store: Store) -> None:
    report = taste_similar(TasteSimilarSettings(user="shopper-0001", users=store.users, k=3))
    interests = {shopper.user: set(shopper.interests) for shopper in store.shop.shoppers}
    own = interests["shopper-0001"]
    assert all(own & interests[found.user] and found.shared for found in report.results)
    with pytest.raises(DataError, match="names the user 'nobody'"):
        taste_similar(TasteSimilarSettings(user="nobody", users=store.users))


def test_inspect_tells_coverage_and_drift(store: Store) -> None:
    report = taste_inspect(TasteInspectSettings(table=store.table, users=store.users, user="shopper-0000"))
    assert (report.users, report.catalogue, report.waiting, report.unknown_items) == (90, 160, 0, 0)
    assert report.touched_share == pytest.approx(150 / 160)
    assert report.user_interests[0].item in GROUPS[store.shop.shoppers[0].new]
    steady = taste_inspect(TasteInspectSettings(table=store.table, users=store.users, user="shopper-0001"))
    assert report.user_drift is not None
    assert steady.user_drift is not None
    assert report.user_drift > steady.user_drift


def test_command_line_shows_reasons(cli: Callable[..., CliResult], store: Store) -> None:
    args = ("--table", store.table, "--users", store.users)
    assert "goes with thing" in cli("taste", "recommend", *args, "--user", "shopper-0001").words
    assert "slot known" in cli("taste", "explain", *args, "--user", "shopper-0001", "--item", "g1-01").words
    assert cli("taste", "similar", "--users", store.users, "--user", "shopper-0001", "--json").json["results"]
    assert "events that users do not know of" in cli("taste", "inspect", *args, "--user", "shopper-0001").words
    refused = cli("taste", "recommend", *args)
    assert refused.exit_code == 2
    assert "needs one of --user, --like and --all" in refused.words
    refused = cli("taste", "recommend", *args, "--user", "a", "--fresh", "0.8", "--explore", "0.4")
    assert "are more than the whole list" in refused.words
    missing = cli("taste", "recommend", "--table", store.table, "--users", f"{store.users}-none", "--user", "a")
    assert "There is no taste store" in missing.words


def test_flagged_items_come_last_and_the_list_says_how_many(
    store: Store, tmp_path: Path, cli: Callable[..., CliResult]
) -> None:
    copied = tmp_path / "catalog"
    shutil.copytree(Path(store.table).parent, copied)
    table, user = f"{copied}/{Path(store.table).name}", "shopper-0003"
    before = [found.id for found in taste_recommend(asked(table, store, user=user, k=160)).results]
    opened = EmbeddingTable.open(table)
    shas = {before[place]: str(opened.row_of(before[place], ["sha256"])["sha256"]) for place in (0, 2, 4)}
    states = zip(shas.values(), ("placeholder", "cut", "blurry"), ("flagged", "confirmed", "flagged"), strict=True)
    FlagTable(opened.address).record(
        Flag(sha256=sha, check=check, score=1, evidence="Drawn.", state=state, by="audit", at=NOW, version=1)
        for sha, check, state in states
    )
    after = taste_recommend(asked(table, store, user=user, k=160))
    found = [item.id for item in after.results]
    assert (after.demoted, after.demoted_checks) == (2, ("placeholder", "cut"))
    assert set(found) == set(before)
    assert set(found[-2:]) == {before[0], before[2]}
    short = [item.id for item in taste_recommend(asked(table, store, user=user, k=3)).results]
    assert not {before[0], before[2]} & set(short)
    whole = taste_recommend(asked(table, store, user=user, k=160, demote=("none",)))
    assert ([item.id for item in whole.results], whole.demoted) == (before, 0)
    command = ("taste", "recommend", "--table", table, "--users", store.users, "--user", user)
    assert "2 flagged item(s) come last (placeholder, cut)." in cli(*command).words
    assert cli(*command, "--demote", "ugly").words.startswith("error: --demote ugly: there is no such check")


def asked(table: str, store: Store, **more: object) -> TasteRecommendSettings:
    return TasteRecommendSettings(table=table, users=store.users, **more)  # type: ignore[arg-type]
