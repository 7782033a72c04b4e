"""`taste update`: each event once, whatever logs it came in, and users and edges that follow from the events alone."""

from __future__ import annotations

import dataclasses
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinembed.errors import DataError, OutputExistsError, SourceError, TableLockedError
from pinembed.jobs.taste_update import taste_update
from pinembed.settings.taste import TasteUpdateSettings
from pinembed.table.address import parse_address
from pinembed.table.lock import run_lock
from pinembed.taste import event_table, log_file
from pinembed.taste.edge_table import EdgeTable
from pinembed.taste.event import Event
from pinembed.taste.event_table import EventTable
from pinembed.taste.history import MOST_PER_HOUR
from pinembed.taste.shoppers import START_US, simulate, write_events
from pinembed.taste.user_source import UserSource
from pinembed.taste.user_table import UserTable
from tests.conftest import CliResult
from tests.taste_material import GROUP_OF, GROUPS, add_items, make_table, update

KILLS = int(os.environ.get("PINEMBED_KILLS", "2"))
EVENTS = simulate(GROUPS, shoppers=40, events=20).events
HOUR_US = 3600 * 1_000_000


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_table(tmp_path_factory.mktemp("catalogue"))


def tables(users: str) -> list[list[dict[str, Any]]]:
    """Events, users and edges, in an order of their own; without the number of the commit that brought an event."""
    address = parse_address(users)
    events = EventTable(address).read().drop_columns("arrived").sort_by("key")
    derived = UserTable(address).read().sort_by("user"), EdgeTable(address).read().sort_by("item")
    return [found.to_pylist() for found in (events, *derived)]


@pytest.fixture(scope="module")
def wanted(table: str, tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("wanted")
    report = update(EVENTS, table, f"{folder}/users", folder)
    assert report.added == report.events == len({event.key for event in EVENTS})
    return tables(f"{folder}/users")


def test_replayed_shuffled_split_and_doubled_logs_give_the_same_tables(
    table: str, wanted: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    rng = random.Random(0)
    shuffled = rng.sample(EVENTS, len(EVENTS))
    logs = {
        "replayed": [EVENTS, EVENTS],
        "shuffled": [shuffled],
        "split": [EVENTS[500:], EVENTS[200:500], EVENTS[:200]],
        "doubled": [[*shuffled, *EVENTS]],
        "overlapping": [EVENTS[:600], EVENTS[300:], shuffled[:100]],
    }
    for name, parts in logs.items():
        for number, part in enumerate(parts):
            update(part, table, f"{tmp_path}/{name}", tmp_path, f"{name}-{number}.csv")
        assert tables(f"{tmp_path}/{name}") == wanted, name


def test_formats_tell_the_same_events(table: str, wanted: list[list[dict[str, Any]]], tmp_path: Path) -> None:
    rows = [{**event._asdict(), "time": event.time_us} for event in EVENTS]
    lines = "\n".join(json.dumps(row) for row in rows)  # without an end of the last line
    (tmp_path / "events.jsonl").write_text(lines)
    (tmp_path / "events.csv.2.gz").write_bytes(b"")
    write_events(EVENTS, tmp_path / "plain.csv")
    (tmp_path / "events.csv.2.gz").write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes()))
    moments = pa.array([event.time_us for event in EVENTS], pa.timestamp("us"))
    pq.write_table(
        pa.Table.from_pylist(rows)
        .append_column("moment", moments)
        .drop_columns("time")
        .rename_columns(["user", "item", "kind", "time_us", "board", "id", "time"]),
        tmp_path / "events.parquet",
    )
    for name in ("events.jsonl", "events.csv.2.gz", "events.parquet"):
        update(tmp_path / name, table, f"{tmp_path}/{name}-users", tmp_path)
        assert tables(f"{tmp_path}/{name}-users") == wanted, name


def test_a_log_that_was_read_is_known_under_another_name_and_a_grown_one_is_read_from_its_end(
    table: str, tmp_path: Path
) -> None:
    users = f"{tmp_path}/users"
    assert update(EVENTS[:400], table, users, tmp_path, "events.csv").added == 400
    rotated = tmp_path / "events.csv.1"
    (tmp_path / "events.csv").rename(rotated)
    report = update(rotated, table, users, tmp_path)
    assert (report.added, report.known) == (0, 0), "no row of it was even parsed"
    report = update(EVENTS[:450], table, users, tmp_path, "events.csv")
    assert (report.added, report.known) == (50, 0)
    compressed = tmp_path / "events.csv.2.gz"
    compressed.write_bytes(gzip.compress(rotated.read_bytes()))
    assert update(compressed, table, users, tmp_path).known == 0


def test_an_update_works_out_only_the_users_it_touches(table: str, tmp_path: Path) -> None:
    users = f"{tmp_path}/users"
    update(EVENTS, table, users, tmp_path, "first.csv")
    report = update([Event("shopper-0001", "g1-01", "save", START_US)], table, users, tmp_path, "second.csv")
    assert (report.touched, report.late) == (1, 1)


def test_bad_rows_are_told_and_the_others_stored(table: str, tmp_path: Path) -> None:
    log = tmp_path / "events.csv"
    log.write_bytes(
        b"\xef\xbb\xbfuser,item,kind,time,board\r\n"
        b"ann,g1-01,save,1700000000,\r\n"
        b"ann,g1-02,save,2023-11-14T22:13:20Z,my board\r\n"
        b"ann,,save,1700000000,\r\n"
        b",g1-01,save,1700000000,\r\n"
        b"ann,g1-01,adore,1700000000,\r\n"
        b"ann,g1-01,save,yesterday,\r\n"
        b"ann,g1-01,save,9999999999,\r\n"
        b"ann,g1-01,save\r\n"
        b"\xff\xfe,g1-01,save,1700000000,\r\n"
        b'ann,"g1-01,save,1700000000,\r\n'
        b"bob,g1-01,save,17000000"
    )
    report = update(log, table, f"{tmp_path}/users", tmp_path)
    assert report.added == 2
    assert report.bad == {"item": 1, "user": 1, "kind": 1, "time": 1, "future": 1, "columns": 2, "encoding": 1}
    assert "events.csv:6: kind 'adore' is none of view, click, save, purchase, hide" in report.bad_rows
    assert report.exit_code == 3
    assert report.waiting == (str(log),)
    with log.open("ab") as file:
        file.write(b"00,\r\n")
    report = update(log, table, f"{tmp_path}/users", tmp_path)
    assert (report.added, report.bad, report.waiting) == (1, {}, ())


def test_lines_that_are_no_json_are_told(table: str, tmp_path: Path) -> None:
    log = tmp_path / "events.jsonl"
    good = {"user": 7, "item": "g1-01", "kind": "view", "time": 1.7e12}
    log.write_text(f'{json.dumps(good)}\n[1]\n{{"user"\n{json.dumps({**good, "user": 1.5})}\n')
    report = update(log, table, f"{tmp_path}/users", tmp_path)
    assert (report.added, report.bad) == (1, {"json": 2, "user": 1})
    stored = EventTable(parse_address(f"{tmp_path}/users")).read().to_pylist()
    assert (stored[0]["user"], stored[0]["time"].isoformat()) == ("7", "2023-11-14T22:13:20+00:00")


def test_a_log_without_any_event_leaves_an_empty_store(table: str, tmp_path: Path) -> None:
    log = tmp_path / "events.csv"
    log.write_text("user,item,kind,time\n")
    assert update(log, table, f"{tmp_path}/users", tmp_path).exit_code == 0
    log.write_text("user,item,kind,time\nann,g1-01,save,never\n")
    report = update(log, table, f"{tmp_path}/users", tmp_path)
    assert (report.exit_code, report.users, report.events) == (3, 0, 0)


def test_a_log_that_is_cut_is_refused(table: str, tmp_path: Path) -> None:
    write_events(EVENTS, tmp_path / "plain.csv")
    cut = tmp_path / "events.csv.gz"
    cut.write_bytes(gzip.compress((tmp_path / "plain.csv").read_bytes())[:-100])
    with pytest.raises(DataError, match=r"The log .*events\.csv\.gz cannot be read: Compressed file ended"):
        update(cut, table, f"{tmp_path}/users", tmp_path)


def test_a_log_without_its_columns_is_refused(cli: Callable[..., CliResult], table: str, tmp_path: Path) -> None:
    (tmp_path / "events.csv").write_text("user,item,when\n")
    result = cli("taste", "update", tmp_path / "events.csv", "--table", table, "--users", tmp_path / "users")
    assert result.exit_code == 1
    assert "has the columns user, item, when; kind, time is missing" in result.words
    with pytest.raises(DataError, match=r"is named like no log; wanted \.csv"):
        update(Path("/etc/hostname"), table, f"{tmp_path}/users", tmp_path)
    with pytest.raises(DataError, match="is not there; wanted events as CSV"):
        update(tmp_path / "none.csv", table, f"{tmp_path}/users", tmp_path)


def test_an_event_with_an_id_counts_once_and_two_ids_are_two_events(table: str, tmp_path: Path) -> None:
    twins = [Event("ann", "g1-01", "view", START_US, id=name) for name in ("a", "b", "a")]
    assert update(twins, table, f"{tmp_path}/users", tmp_path).added == 2


def test_texts_that_pretend_to_be_others_are_events_of_their_own(table: str, tmp_path: Path) -> None:
    """Separators of a key, of SQL, of JSON and of lines in names; each user is stored, found and served as written."""
    users = ["a\x1fb", "a", "o'brien", 'say "x"', "two\nlines", "%_", "", "\u202euser", "x" * 10_000, "user' OR '1'='1"]
    rows = [{"user": user, "item": "b\x1fg1-01" if user == "a" else "g1-01", "kind": "save"} for user in users]
    rows.append({"user": "a", "item": "b", "kind": "save", "id": "1"})
    log = tmp_path / "log.jsonl"
    log.write_text("".join(json.dumps({**row, "time": START_US, "board": ""}) + "\n" for row in rows))
    store = f"{tmp_path}/users"
    settings = TasteUpdateSettings(events=log, table=table, users=store, serve=tmp_path / "served")
    report = taste_update(settings)
    assert (report.added, report.users, report.bad) == (len(rows) - 1, len(users) - 1, {"user": 1})
    source, stored = UserSource(tmp_path / "served"), UserTable(parse_address(store))
    for user in filter(None, users):
        found, served = stored.find(user), source.get(user)
        assert found is not None
        assert served is not None
        assert found.name == served.user == user
        assert len(found.history.touched) == 1 + (user == "a")
    names = ["log", "a", "b"]
    assert Event(*names, START_US).key != Event("log", "ab", "", START_US).key
    assert Event("id", "x", "y", 1).key != Event("u", "i", "k", 2, id="x\x1fy\x1f1\x1f").key


def test_a_bot_is_told_and_capped(table: str, tmp_path: Path) -> None:
    items = sorted(GROUP_OF)
    start_us = START_US // HOUR_US * HOUR_US
    burst = [
        Event("bot", items[number % len(items)], "view", start_us + 1000 * number)
        for number in range(MOST_PER_HOUR + 70)
    ]
    report = update([*burst, Event("ann", "g1-01", "save", START_US)], table, f"{tmp_path}/users", tmp_path)
    assert (report.bots, report.capped) == (("bot",), 70)
    user = UserTable(parse_address(f"{tmp_path}/users")).find("bot")
    assert user is not None
    assert user.history.events == MOST_PER_HOUR


def test_an_item_that_encode_adds_later_comes_alive(tmp_path: Path) -> None:
    late = set(GROUPS["group-3"])
    table = make_table(tmp_path / "part", [item for item in GROUP_OF if item not in late])
    users = f"{tmp_path}/users"
    events = [Event("ann", item, "save", START_US + number) for number, item in enumerate(GROUPS["group-3"][:6])]
    report = update(events, table, users, tmp_path)
    assert report.unknown_items == 6
    found = UserTable(parse_address(users)).find("ann")
    assert found is not None
    assert not found.interests
    add_items(table, sorted(late))
    report = update(events, table, users, tmp_path)
    assert (report.touched, report.unknown_items) == (1, 0)
    found = UserTable(parse_address(users)).find("ann")
    assert found is not None
    assert found.interests[0].item in late


def test_a_log_that_names_items_otherwise_is_told(cli: Callable[..., CliResult], table: str, tmp_path: Path) -> None:
    log, users = tmp_path / "log.csv", tmp_path / "users"
    write_events([Event("ann", "images/g1-01.png", "save", START_US)], log)
    told = "no item of the events is in the table: they name images/g1-01.png, ids of the table are written like g0-00"
    assert told in cli("taste", "update", log, "--table", table, "--users", users).words
    write_events([Event("ann", "g1-01", "save", START_US)], log)
    assert told not in cli("taste", "update", log, "--table", table, "--users", users).words


def test_rows_that_were_refused_are_read_again_once_their_kinds_are_known(
    cli: Callable[..., CliResult], table: str, tmp_path: Path
) -> None:
    (tmp_path / "kinds.json").write_text('{"5": 1.5}')
    log = tmp_path / "log.csv"
    log.write_text("user,item,kind,time\nann,g1-01,5,1700000000\nann,g1-02,save,1700000001\nann,g1-03,5,1700000002\n")
    args = ("taste", "update", log, "--table", table, "--users", tmp_path / "users", "--json")
    first = cli(*args)
    assert (first.exit_code, first.json["bad"]) == (3, {"kind": 2})
    again = cli(*args, "--kinds", tmp_path / "kinds.json").json
    assert (again["added"], again["known"], again["bad"]) == (2, 1, {})
    assert (cli(*args).json["added"], cli(*args).json["known"]) == (0, 0)


def test_whole_numbers_with_a_point_are_ids(table: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"user": 7.0, "item": "g1-01", "kind": "save", "time": 1700000000.0}\n')
    report = update(tmp_path / "log.jsonl", table, f"{tmp_path}/users", tmp_path)
    assert report.added == 1
    assert UserTable(parse_address(f"{tmp_path}/users")).find("7") is not None


def test_prune_takes_out_events_of_items_that_are_gone(
    cli: Callable[..., CliResult], table: str, tmp_path: Path
) -> None:
    events = [Event("ann", item, "save", START_US) for item in ("g1-01", "gone")]
    write_events(events, tmp_path / "log.csv")
    args = ("taste", "update", tmp_path / "log.csv", "--table", table, "--users", tmp_path / "users", "--prune")
    result = cli(*args)
    assert result.exit_code == 1
    assert "--prune would remove 1 of 2 events, those of 1 items that the table does not hold" in result.words
    result = cli(*args, "--force", "--json")
    assert (result.json["pruned"], result.json["events"]) == (1, 1)
    user = UserTable(parse_address(f"{tmp_path}/users")).find("ann")
    assert user is not None
    assert [touched.item for touched in user.history.touched] == ["g1-01"]


def test_kinds_of_a_file_are_remembered(cli: Callable[..., CliResult], table: str, tmp_path: Path) -> None:
    (tmp_path / "kinds.json").write_text('{"wishlist": 1.2}')
    log = tmp_path / "log.csv"
    log.write_text("user,item,kind,time\nann,g1-01,wishlist,1700000000\n")
    args = ("taste", "update", log, "--table", table, "--users", tmp_path / "users", "--json")
    assert cli(*args, "--kinds", tmp_path / "kinds.json").json["added"] == 1
    with log.open("a") as file:
        file.write("ann,g1-02,wishlist,1700000001\n")
    assert cli(*args).json["added"] == 1
    user = UserTable(parse_address(f"{tmp_path}/users")).find("ann")
    assert user is not None
    assert [touched.weight for touched in user.history.touched] == [1.2, 1.2]


def test_a_second_run_at_the_same_time_is_refused(table: str, tmp_path: Path) -> None:
    with run_lock(parse_address(f"{tmp_path}/users")), pytest.raises(TableLockedError, match="Another run holds table"):
        update(EVENTS[:5], table, f"{tmp_path}/users", tmp_path)


def test_cursors_outlive_compaction(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_file, "BATCH_EVENTS", 10)
    users, log = f"{tmp_path}/users", tmp_path / "log.csv"
    for count in range(10, 400, 20):
        update(EVENTS[:count], table, users, tmp_path)
    events = EventTable(parse_address(users))
    assert events.dataset is not None
    assert len(events.dataset.get_fragments()) < 16
    report = update(log, table, users, tmp_path)
    assert (report.added, report.known) == (0, 0)


RUN = """
import sys
from pathlib import Path
from pinembed.jobs.taste_update import taste_update
from pinembed.settings.taste import TasteUpdateSettings
from pinembed.taste import derive, log_file
log_file.BATCH_EVENTS = 60
derive.USERS_AT_ONCE = 4
log, table, users = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
taste_update(TasteUpdateSettings(events=Path(log), table=table, users=users))
"""


def test_killed_updates_lose_nothing_and_count_nothing_twice(
    table: str, wanted: list[list[dict[str, Any]]], tmp_path: Path
) -> None:
    rng = random.Random(0)
    write_events(EVENTS, tmp_path / "log.csv")
    users = f"{tmp_path}/users"
    for _ in range(KILLS):
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path / "log.csv"), table, users],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdout.readline()
        run.stdin.write(b"\n")
        run.stdin.flush()
        time.sleep(rng.random() * 1.5)
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdin.close()
        run.stdout.close()
    update(tmp_path / "log.csv", table, users, tmp_path)
    assert tables(users) == wanted


def test_only_so_many_cursors_are_kept(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_table, "KEPT_CURSORS", 3)
    for number in range(6):
        update(EVENTS[number : number + 1], table, f"{tmp_path}/users", tmp_path, f"{number}.csv")
    assert len(EventTable(parse_address(f"{tmp_path}/users")).cursors()) == 3


def test_users_are_served_from_a_mapped_folder(table: str, tmp_path: Path) -> None:
    write_events(EVENTS, tmp_path / "log.csv")
    users, folder = f"{tmp_path}/users", tmp_path / "served"
    settings = TasteUpdateSettings(events=tmp_path / "log.csv", table=table, users=users, serve=folder)
    taste_update(settings)
    source = UserSource(folder)
    stored = UserTable(parse_address(users))
    assert len(source) == stored.count() == 40
    for name in ("shopper-0000", "shopper-0039"):
        user, served = stored.find(name), source.get(name)
        assert user is not None
        assert served is not None
        assert [found.item for found in served.interests] == [found.item for found in user.interests]
        assert served.recent[0] == user.history.liked[-1].item
        assert (served.last_us, len(served.recent)) == (user.history.last_us, min(20, len(user.history.liked)))
    assert source.get("nobody") is None
    taste_update(settings)  # in the place of the older one
    (folder / "users.jsonl").write_bytes(b"{" * 100_000)
    with pytest.raises(SourceError, match="is damaged: the line of row"):
        UserSource(folder).get("shopper-0000")
    (folder / "lines.safetensors").unlink()
    with pytest.raises(SourceError, match="is no user source: No such file"):
        UserSource(folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="that pinembed did not write"):
        taste_update(dataclasses.replace(settings, serve=tmp_path / "mine"))


def of_parquet(path: Path, times: pa.Array, users: Sequence[object] | pa.Array = ("a", "b")) -> Path:
    items = list(GROUP_OF)[:2]
    pq.write_table(pa.table({"user": users, "item": items, "kind": ["view", "save"], "time": times}), path)
    return path


@pytest.mark.parametrize(
    "odd",
    [
        pa.array([1_746_093_600_000_000, 2**62], pa.timestamp("us")),
        pa.array([19_000, 2**30], pa.date32()),
        pa.array(["2026-05-01", "soon"]),
    ],
    ids=["timestamp", "date", "text"],
)
def test_a_time_of_parquet_that_is_none_is_one_bad_row(odd: pa.Array, table: str, tmp_path: Path) -> None:
    log = of_parquet(tmp_path / "log.parquet", odd)
    found = taste_update(TasteUpdateSettings(events=log, table=table, users=f"{tmp_path}/users"))
    assert (found.added, found.bad) == (1, {"time": 1})


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "Nowhere/Zone"])
def test_times_of_parquet_in_nanoseconds_count_to_the_microsecond(zone: str | None, table: str, tmp_path: Path) -> None:
    times = pa.array([1_746_093_600_123_456_789, 1_746_093_600_000_000_001], pa.timestamp("ns", zone))
    users = f"{tmp_path}/users"
    log = of_parquet(tmp_path / "log.parquet", times)
    assert taste_update(TasteUpdateSettings(events=log, table=table, users=users)).added == 2
    stored = EventTable(parse_address(users)).read()["time"].cast(pa.int64()).to_pylist()
    assert sorted(stored) == [1_746_093_600_000_000, 1_746_093_600_123_456]


def test_a_user_of_parquet_that_is_no_utf_8_is_one_bad_row(table: str, tmp_path: Path) -> None:
    times = pa.array([1_746_093_600, 1_746_093_601])
    offsets, letters = (pa.py_buffer(part) for part in (bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]), b"a\xff"))
    broken = pa.Array.from_buffers(pa.string(), 2, [None, offsets, letters])
    for number, users in enumerate((broken, pa.array([b"a", b"\xff"]))):
        log = of_parquet(tmp_path / f"{number}.parquet", times, users)
        found = taste_update(TasteUpdateSettings(events=log, table=table, users=f"{tmp_path}/users"))
        assert (found.added, sum(found.bad.values())) == (1 - number, 1)  # the bytes are the same event as the text


def test_a_log_that_names_a_column_twice_is_refused(table: str, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("user,item,kind,time,time\na,b,view,1,2\n")
    with pytest.raises(DataError, match=r"log\.csv has several columns time"):
        taste_update(TasteUpdateSettings(events=tmp_path / "log.csv", table=table, users=f"{tmp_path}/users"))


def test_a_pipe_in_the_place_of_a_log_stops_no_run(table: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "log.csv")
    with pytest.raises(DataError, match=r"log\.csv is no regular file"):
        taste_update(TasteUpdateSettings(events=tmp_path / "log.csv", table=table, users=f"{tmp_path}/users"))
