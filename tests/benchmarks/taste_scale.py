"""A taste store of many users: what an update, a list and a lookup cost.

python -m tests.benchmarks.taste_scale FOLDER --users 1000000 --items 100000 --events 10000000

Items lie in groups on drawn vectors, users like a few groups and are active unevenly, popular items have most of the
events. FOLDER keeps catalogue and log for another run. Each stage runs in a process of its own and prints wall and CPU
seconds and peak memory:

| stage   | |
| ------- | --- |
| draw    | the catalogue and the log, which costs nothing of what is measured |
| update  | the whole log into an empty store, with a folder to serve from |
| again   | the same log: nothing is new |
| touched | 100 more events for each of a thousand users: CPU a user, and the graph apart |
| lists   | a list with all slots for each of some users, reading them included |
| lookups | users out of the served folder |
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pinembed.jobs.taste_update import taste_update
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.taste import TasteUpdateReport
from pinembed.settings.taste import TasteUpdateSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.side_tables import FailureTable
from pinembed.table.writer import EmbeddingRow, TableWriter
from pinembed.taste.blend import Slots
from pinembed.taste.event import DAY_US
from pinembed.taste.recommender import Recommender
from pinembed.taste.shoppers import START_US
from pinembed.taste.user_source import UserSource

DIM, GROUP_ITEMS, DAYS = 512, 100, 365
KINDS, KIND_SHARES = ["view", "click", "save", "purchase", "hide"], [0.5, 0.2, 0.2, 0.08, 0.02]
OWN_SHARE = 0.7
TOUCHED_USERS, TOUCHED_EVENTS, ASKED = 1000, 100, 300
SPEC = EncoderSpec(
    architecture="drawn",
    config_sha256="c" * 64,
    weights_sha256="d" * 64,
    dim=DIM,
    preprocessing=Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)
LOG_SCHEMA = pa.schema([("user", pa.string()), ("item", pa.string()), ("kind", pa.string()), ("time", pa.int64())])
STAGES = ("draw", "update", "again", "touched", "lists", "lookups")
SCHEMA = pa.schema([("title", pa.string()), ("price", pa.float64())])


def draw_catalogue(table: str, items: int) -> None:
    """Items in groups of a hundred, with a title and a price."""
    opened = EmbeddingTable.create(table, SPEC, SCHEMA, reference="drawn")
    writer = TableWriter(opened, FailureTable(opened.address), commit_rows=20_000, commit_s=600)
    rng = np.random.default_rng(0)
    centres_GD = rng.standard_normal((-(-items // GROUP_ITEMS), DIM)).astype(np.float32)
    for item in range(items):
        group = item // GROUP_ITEMS
        vector_D = centres_GD[group] + rng.standard_normal(DIM).astype(np.float32)
        writer.add(
            EmbeddingRow(
                id=f"i{item:06}",
                folder="/photos",
                file_name=f"{item}.png",
                sha256=str(item),
                size_bytes=1,
                mtime_ns=1,
                width_px=8,
                height_px=8,
                fields={"title": f"kind {group % 500} of shade {item % 37}", "price": float(rng.integers(1, 500))},
                vector_D=vector_D / np.linalg.norm(vector_D),
                is_new=True,
            )
        )
    writer.flush()


def draw_log(path: Path, users: int, items: int, events: int) -> None:
    """Each user likes four groups; within a group, and without, low numbers are popular. In the order of time."""
    rng = np.random.default_rng(1)
    activity_U = rng.lognormal(0, 1, users)
    share_U = activity_U / activity_U.sum()
    liked_UG = rng.integers(-(-items // GROUP_ITEMS), size=(users, 4))
    parts = max(1, events // 1_000_000)
    with csv.CSVWriter(path, LOG_SCHEMA) as out:
        for part in range(parts):
            count = events // parts
            user_E = rng.choice(users, count, p=share_U)
            own_E = liked_UG[user_E, rng.integers(4, size=count)] * GROUP_ITEMS
            own_E += (GROUP_ITEMS * rng.random(count) ** 2).astype(np.int64)
            any_E = (items * rng.random(count) ** 3).astype(np.int64)
            item_E = np.where(rng.random(count) < OWN_SHARE, own_E, any_E) % items
            start_us, span_us = START_US + DAYS * DAY_US * part // parts, DAYS * DAY_US // parts
            columns = [
                pa.array([f"u{user:07}" for user in user_E.tolist()]),
                pa.array([f"i{item:06}" for item in item_E.tolist()]),
                pa.array(rng.choice(KINDS, count, p=KIND_SHARES).tolist()),
                pa.array(start_us + np.sort(rng.integers(span_us, size=count))),
            ]
            out.write_table(pa.table(columns, schema=LOG_SCHEMA))


class Shop:
    """The stages, each on the files that those before it left.

    Args:
        folder: of all files.
        given: how many users, items and events.
    """

    def __init__(self, folder: Path, given: argparse.Namespace) -> None:
        self.folder, self.given = folder, given
        self.table, self.users, self.log = f"{folder}/items", f"{folder}/taste", folder / "events.csv"

    def draw(self) -> str:
        """Catalogue and log, as far as they are not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not Path(f"{self.table}.lance").exists():
            draw_catalogue(self.table, self.given.items)
        if not self.log.exists():
            draw_log(self.log, self.given.users, self.given.items, self.given.events)
        return f"{self.log.stat().st_size / 1e6:.0f} MB of log"

    def update(self) -> str:
        """The whole log."""
        if Path(f"{self.users}_events.lance").exists():
            return "the store is there already"
        report = self._update(self.log, serve=self.folder / "served")
        return f"{report.added} events added, {report.users} users"

    def again(self) -> str:
        """The same log."""
        report = self._update(self.log)
        return f"{report.added} events added"

    def touched(self) -> str:
        """A hundred more events for each of a thousand users."""
        rng = np.random.default_rng(int(time.time()))
        path = self.folder / "more.csv"
        lines = [
            f"u{user:07},i{item:06},save,{START_US + DAYS * DAY_US + int(rng.integers(10**9))}"
            for user in rng.choice(self.given.users, TOUCHED_USERS, replace=False).tolist()
            for item in rng.integers(self.given.items, size=TOUCHED_EVENTS).tolist()
        ]
        path.write_text("user,item,kind,time\n" + "\n".join(lines) + "\n", encoding="utf-8")
        watch = Watch()
        report = self._update(path, progress=watch)
        per_user_ms = 1000 * watch.cpu_s["users"] / report.touched
        return f"{report.touched} users, {per_user_ms:.2f} ms CPU a user; stages {watch}"

    def lists(self) -> str:
        """A list for each of some users."""
        recommender = Recommender(EmbeddingTable.open(self.table), parse_address(self.users))
        recommender.open_arms(fresh=True)
        allowed_N = recommender.allowed(None)
        names = self._some_users()
        told = []
        for slots in (Slots(k=20, fresh=0.2), Slots(k=20, fresh=0.2, explore=0.1)):

            def ask(name: str, slots: Slots = slots) -> None:
                user = recommender.users.find(name)
                if user is not None:
                    recommender.recommend(user, slots, allowed_N)

            told.append(f"explore {slots.explore}: {timed(ask, names)}")
        return "; ".join(told)

    def lookups(self) -> str:
        """Users out of the served folder."""
        return timed(UserSource(self.folder / "served").get, self._some_users())

    def _some_users(self) -> list[str]:
        numbers = np.random.default_rng(2).choice(self.given.users, ASKED, replace=False)
        return [f"u{number:07}" for number in numbers.tolist()]

    def _update(self, log: Path, *, serve: Path | None = None, progress: Progress = SILENT) -> TasteUpdateReport:
        settings = TasteUpdateSettings(events=log, table=self.table, users=self.users, serve=serve)
        watch = progress if isinstance(progress, Watch) else Watch()
        report = taste_update(settings, progress=watch)
        say(f"    {watch}")
        return report


class Watch:
    """CPU and wall seconds of each stage that a job names."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}
        self.wall_s: dict[str, float] = {}
        self._begun: tuple[str, float, float] | None = None

    def start(self, stage: str, total: int | None = None, unit: str = "it") -> None:
        self.finish()
        self._begun = stage, time.process_time(), time.perf_counter()

    def finish(self) -> None:
        if self._begun is not None:
            what, cpu_s, wall_s = self._begun
            self.cpu_s[what] = time.process_time() - cpu_s
            self.wall_s[what] = time.perf_counter() - wall_s
        self._begun = None

    def advance(self, n: int = 1, note: str = "") -> None: ...
    def say(self, text: str) -> None: ...

    def __str__(self) -> str:
        return ", ".join(f"{what} {self.wall_s[what]:.1f} s ({cpu_s:.1f} CPU)" for what, cpu_s in self.cpu_s.items())


def timed(ask: Callable[[str], object], names: Sequence[str]) -> str:
    """Milliseconds a call, of wall and of CPU time; the first ten warm up."""
    wall_ms, cpu_ms = [], []
    for name in names:
        started = time.perf_counter(), time.thread_time()
        ask(name)
        wall_ms.append(1000 * (time.perf_counter() - started[0]))
        cpu_ms.append(1000 * (time.thread_time() - started[1]))
    shown = (np.percentile(times[10:], (50, 99)) for times in (wall_ms, cpu_ms))
    return " and CPU ".join(f"p50 {middle:.3f} ms, p99 {high:.3f} ms" for middle, high in shown)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=5_000)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--stage", choices=STAGES, help="run this one alone")
    given = parser.parse_args()
    if given.stage is None:
        for stage in STAGES:
            command = [sys.executable, "-m", "tests.benchmarks.taste_scale", *sys.argv[1:], "--stage", stage]
            subprocess.run(command, check=True)
        return
    started_s, cpu_s = time.perf_counter(), time.process_time()
    told = getattr(Shop(given.folder, given), given.stage)()
    wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"{given.stage}: {wall_s:.1f} s, CPU {cpu_s:.1f} s, peak {peak_mb:.0f} MiB: {told}")


if __name__ == "__main__":
    main()
