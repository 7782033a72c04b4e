"""`taste forget`: nothing of the user is left, others are as if they had never been, and no log brings them back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pinembed.errors import DataError
from pinembed.jobs.taste_forget import taste_forget
from pinembed.jobs.taste_recommend import taste_recommend
from pinembed.settings.taste import TasteForgetSettings, TasteRecommendSettings
from pinembed.table.address import parse_address
from pinembed.taste.edge_table import EdgeTable
from pinembed.taste.event import Event
from pinembed.taste.event_table import EventTable
from pinembed.taste.forget import find_traces
from pinembed.taste.shoppers import START_US, simulate
from pinembed.taste.user_table import UserTable
from tests.conftest import CliResult
from tests.taste_material import GROUPS, make_table, update

GONE = "shopper-0007"
EVENTS = simulate(GROUPS, shoppers=40, events=25).events


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_table(tmp_path_factory.mktemp("catalogue"))


def derived(users: str) -> list[list[dict[str, Any]]]:
    address = parse_address(users)
    tables = UserTable(address).read().sort_by("user"), EdgeTable(address).read().sort_by("item")
    return [found.to_pylist() for found in tables]


def test_forgetting_leaves_no_trace_and_the_others_as_if_the_user_had_never_been(table: str, tmp_path: Path) -> None:
    users, without = f"{tmp_path}/users", f"{tmp_path}/without"
    for end in range(100, len(EVENTS) + 100, 100):  # many versions
        update(EVENTS[:end], table, users, tmp_path)
    address = parse_address(users)
    assert find_traces(address, GONE).found
    report = taste_forget(TasteForgetSettings(user=GONE, users=users, verify=True))
    assert report.events == sum(event.user == GONE for event in {event.key: event for event in EVENTS}.values())
    assert (report.traces, report.exit_code) == ((), 0)
    assert report.versions >= 4
    assert report.files > 4
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("users*.lance/**/*") if path.is_file())
    assert GONE.encode() not in raw
    assert b"shopper-0008" in raw, "names are stored as they are, so that the search says something"
    update([event for event in EVENTS if event.user != GONE], table, without, tmp_path, "without.csv")
    assert derived(users) == derived(without)
    asked = [
        taste_recommend(TasteRecommendSettings(table=table, users=store, user="shopper-0008")).results
        for store in (users, without)
    ]
    assert asked[0] == asked[1]


def test_a_log_that_is_read_again_does_not_bring_the_user_back(table: str, tmp_path: Path) -> None:
    users = f"{tmp_path}/users"
    update(EVENTS, table, users, tmp_path)
    taste_forget(TasteForgetSettings(user=GONE, users=users))
    report = update([*EVENTS[::-1], Event(GONE, "g1-01", "save", START_US)], table, users, tmp_path, "again.csv")
    assert report.added == 0
    assert report.forgotten > 20
    assert UserTable(parse_address(users)).find(GONE) is None
    assert not find_traces(parse_address(users), GONE).found
    assert update(EVENTS, table, users, tmp_path).known == 0, "cursors outlive forgetting"


def test_forgetting_that_was_cut_short_is_completed_by_the_next_update(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = f"{tmp_path}/users"
    update(EVENTS, table, users, tmp_path)

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EdgeTable, "rebuild", cut)
        patch.setattr(UserTable, "replace", cut)
        with pytest.raises(KeyboardInterrupt):
            taste_forget(TasteForgetSettings(user=GONE, users=users))
    assert UserTable(parse_address(users)).find(GONE) is not None
    update(EVENTS[:1], table, users, tmp_path, "next.csv")
    assert not find_traces(parse_address(users), GONE).found
    assert EventTable(parse_address(users)).count() > 0


def test_command_line_tells_what_was_forgotten(cli: Callable[..., CliResult], table: str, tmp_path: Path) -> None:
    users = f"{tmp_path}/users"
    update([Event("bob", "g1-01", "save", START_US), Event("ann", "g1-02", "save", START_US)], table, users, tmp_path)
    result = cli("taste", "forget", "bob", "--users", users, "--verify")
    assert result.exit_code == 0
    assert "1 events of bob are forgotten" in result.words
    assert "no trace is left" in result.words
    assert "so short a name may stand in any" in result.words
    with pytest.raises(DataError, match="There is no taste store"):
        taste_forget(TasteForgetSettings(user="bob", users=f"{users}-none"))
