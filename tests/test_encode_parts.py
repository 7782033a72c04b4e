"""Inputs that come in parts give the table, the failures and the counts that they give in one."""

from __future__ import annotations

import csv
import errno
import os
import random
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinembed.catalogue import parts as parts_module
from pinembed.catalogue.beside import Beside
from pinembed.catalogue.files import ScannedFile
from pinembed.catalogue.frozen import files_of
from pinembed.catalogue.inputs import find_inputs
from pinembed.catalogue.listing import FolderListing
from pinembed.errors import DataError, StoppedError
from pinembed.nouns.failure import Failure
from pinembed.nouns.progress import Stop
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.side_tables import FailureTable
from tests.conftest import StopAfter
from tests.encoding import counts, rows_of
from tests.test_encode_inputs import COLORS, picture, write_tar

pytest_plugins = ("tests.encoding_fixtures",)
Run = Callable[..., EncodeReport]
SHAPES = ("circle", "square", "triangle")
HISTORIES = int(os.environ.get("PINEMBED_PARTS", "8"))
KINDS = ("tar", "parquet", "rows", "files")


class Heard(StopAfter):
    """Asks for a stop at the first image, and keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(Stop(), 1)
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


class Shop:
    """Items that a night adds, takes away, changes, moves to another file or gives twice.

    They lie in tars, in Parquet files, or as files of their own in folders, with a metadata.csv or without.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root = root
        self.random = random.Random(seed)
        self.kind = KINDS[seed % len(KINDS)]
        names = [f"{number:02}" for number in range(3)] + [self.random.choice(["03", "train"])]
        self.files: dict[str, dict[str, tuple[bytes, int]]] = {name: {} for name in names}
        self.moods = [seed] * 9
        for number in range(9):
            self.add(f"item{number}")

    def add(self, item: str) -> None:
        content = picture(self.random.choice(COLORS), self.random.choice(SHAPES), self.random.randrange(4))
        content = self.random.choice([content, content, b"broken"])
        self.files[self.random.choice(list(self.files))][item] = content, self.random.randrange(9)

    def night(self) -> None:
        for _ in range(self.random.randrange(4)):
            name = self.random.choice(list(self.files))
            items = self.files[name]
            if not items:
                continue
            item = self.random.choice(list(items))
            what = self.random.choice(["add", "away", "price", "picture", "move", "twice", "rename"])
            if what == "add":
                self.add(f"item{self.random.randrange(100)}")
            elif what == "away":
                del items[item]
            elif what == "price":
                items[item] = items[item][0], self.random.randrange(9)
            elif what == "picture":
                self.add(item)
            elif what == "rename":
                self.files[f"{name}x"] = self.files.pop(name)
            else:
                self.files[self.random.choice(list(self.files))][item] = items[item]
                if what == "move" and sum(item in found for found in self.files.values()) > 1:
                    del items[item]

    def write(self) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        self.moods[self.random.randrange(len(self.moods))] += 1
        if self.kind in {"files", "rows"}:
            self.write_files()
            return
        for name, items in self.files.items():
            if self.kind == "tar":
                members: dict[str, bytes | dict[str, Any]] = {}
                for item, (content, price) in items.items():
                    members |= {f"{item}.png": content, f"{item}.json": {"price": price}}
                written = write_tar(self.root / f"{name}.tar", members)
            else:
                rows = pa.table(
                    {
                        "id": pa.array(list(items), pa.string()),
                        "image": pa.array([content for content, _ in items.values()], pa.binary()),
                        "price": pa.array([price for _, price in items.values()], pa.int64()),
                    }
                )
                pq.write_table(rows, written := self.root / f"{name}.parquet")
            os.utime(written, ns=(1, hash(tuple(items.items()))))

    def write_files(self) -> None:
        """Each item in a file, some at the top and some of odd names, and metadata that agree with them in part."""
        files: dict[str, tuple[random.Random, str, int]] = {}
        for name, items in self.files.items():
            for item, (content, price) in items.items():
                chosen = random.Random(f"{item} {self.moods[int(item[4:]) % len(self.moods)]}")  # the same most nights
                suffix = chosen.choice([".png"] * 7 + [".raw", "\u00e9.png", "e\u0301.png"])
                path = self.root / chosen.choice([name, name, f"{name}/sub", "."]) / f"{item}{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                os.utime(path, ns=(1, hash((path.name, content)) % 2**40))
                files[path.relative_to(self.root).as_posix()] = chosen, item, price
        (self.root / "00" / "sub").mkdir(parents=True, exist_ok=True)
        (self.root / "00" / "metadata.xlsx").write_text("not read")
        if self.random.random() < 0.3:
            (self.root / "00" / "sub" / os.fsdecode(b"\xff.png")).write_bytes(picture("red"))
        if self.kind == "rows" and files:
            self.write_rows(files)

    def write_rows(self, files: dict[str, tuple[random.Random, str, int]]) -> None:
        """Rows for most files, in many spellings; some of no file, some with an id that is another file's name."""
        rows: dict[str, dict[str, Any]] = {}
        columns = ["file_name", "id", "price"][:: self.random.choice([1, 1, 1, 1, 2])]  # at times without ids
        for file_name, (chosen, item, price) in files.items():
            folder = file_name.partition("/")[0]
            for _ in range(chosen.choice([0, 0, 1, 1, 1, 1, len(columns) - 1])):
                spelled = chosen.choice(
                    [file_name] * 4
                    + [f"./{file_name}", file_name.replace("/", "\\"), f"{folder}//../{file_name}"]
                    + [unicodedata.normalize(form, file_name) for form in ("NFC", "NFD")]
                    + [f"gone/{file_name}", chosen.choice(sorted(files))]
                )
                wanted = chosen.choice(["", "", item, f"{item}.png", *(chosen.choice(sorted(files)) for _ in "123")])
                key = (wanted or spelled) if "id" in columns else spelled
                rows.setdefault(key, {"file_name": spelled, "id": wanted, "price": price})
        written = list(rows.values())
        self.random.shuffle(written)
        with (self.root / "metadata.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(written[: None if self.random.random() < 0.9 else 1])


def attempt(run: Run, *args: Any, **options: Any) -> EncodeReport | str:
    try:
        return run(*args, **options)
    except DataError as error:
        return error.message


def told(report: EncodeReport) -> dict[str, int]:
    """Counts, but for what was encoded and what copied: pictures that two items exchange are copied between parts."""
    found = counts(report)
    written = sum(found.pop(name, 0) for name in ("added", "updated", "duplicate"))
    return {**found, "written": written, "rows": report.counts.rows}


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_history_in_parts_is_the_history_in_one(run: Run, tmp_path: Path, seed: int) -> None:
    shop = Shop(tmp_path / "shop", seed)
    whole, parted = (str(tmp_path / name / "pins") for name in ("whole", "parted"))
    for night in range(4):
        shop.write()
        options = {"prune": night % 2 == 1, "force": True, "retry_failed": night == 3, "max_failure_rate": 1.0}
        size = shop.random.randrange(1, 5)
        for dry_run in (True, False):
            wanted = attempt(run, shop.root, table=whole, dry_run=dry_run, **options)
            found = attempt(run, shop.root, table=parted, dry_run=dry_run, plan_images=size, **options)
            if isinstance(wanted, str) or isinstance(found, str):
                assert found == wanted, (night, dry_run)
                continue
            assert told(found) == told(wanted), (night, dry_run)
            assert sorted(map(str, found.failures.items())) == sorted(map(str, wanted.failures.items()))
            assert set(found.notes) == set(wanted.notes)
        if not isinstance(wanted, str):
            assert rows_of(parted) == rows_of(whole)
            assert known_failures(parted, shop) == known_failures(whole, shop)
        shop.night()


def known_failures(table: str, shop: Shop) -> dict[str, Failure]:
    """Without messages for tars and Parquet files: of three that want an id, the third may be told of the second."""
    known = FailureTable(parse_address(table)).known()
    if shop.kind in {"rows", "files"}:
        return known
    return {item: replace(failure, message="") for item, failure in known.items()}


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars of three items; the last has an id of the first."""
    root = tmp_path / "tars"
    for number, shape in enumerate(("circle", "square", "triangle")):
        write_tar(root / f"{number}.tar", {f"{color}-{shape}.png": picture(color, shape) for color in COLORS})
    write_tar(root / "2.tar", {"red-circle.png": picture("blue"), "last.png": picture("green")})
    return root


def test_id_of_an_earlier_part_stays_with_it_and_the_failure_names_its_file(run: Run, tars: Path, table: str) -> None:
    report = run(tars, plan_images=3)
    assert (counts(report), report.counts.encoded) == ({"added": 6, "duplicate": 1, "failed": 1}, 6)
    [failure] = report.failed_images
    assert failure.reason == "id_taken"
    assert failure.message == "2.tar/red-circle.png has the id red-circle, which 0.tar/red-circle.png has."
    assert rows_of(table)["red-circle"]["file_name"] == "0.tar/red-circle.png"
    assert counts(run(tars, plan_images=3)) == {"unchanged": 7, "failed": 1}


def test_prune_that_would_take_too_much_is_refused_before_any_part_is_encoded(run: Run, tars: Path, table: str) -> None:
    run(tars)
    write_tar(tars / "0.tar", {"new.png": picture("red", "triangle")})
    before = EmbeddingTable.open(table).dataset.version
    with pytest.raises(DataError, match="--prune would remove 2 of 7 rows"):
        run(tars, plan_images=1, prune=True)
    assert EmbeddingTable.open(table).dataset.version == before
    report = run(tars, plan_images=1, prune=True, force=True)
    assert (report.counts.removed, report.counts.rows, sorted(rows_of(table))[0]) == (2, 6, "blue-square")


def test_stop_in_the_first_part_plans_no_other(run: Run, tars: Path, table: str) -> None:
    progress = Heard()
    with pytest.raises(StoppedError):
        run(tars, plan_images=3, stop=progress.stop, progress=progress)
    assert [said for said in progress.said if said.startswith("part ")] == ["part 1 of 3: 3 image(s) to encode"]
    assert counts(run(tars, plan_images=3)).keys() == {"unchanged", "added", "duplicate", "failed"}
    assert len(rows_of(table)) == 7


def test_parts_are_in_shards_too(run: Run, tars: Path, table: str, tmp_path: Path) -> None:
    run(tars, plan_images=3, shard_images=2)
    other = str(tmp_path / "other" / "pins")
    run(tars, table=other)
    assert rows_of(table) == rows_of(other)
    assert run(tars, plan_images=3, shard_images=2).counts.unchanged == 7


def test_no_room_for_the_list_of_parts_is_told(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **more: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(parts_module.pickle, "dump", full)
    settings = EncodeSettings(images=tars, table="db/pins", encoder="none", plan_images=1)
    with pytest.raises(DataError, match="cannot take the list of 3 images: No space left on device") as refused:
        find_inputs(settings)
    assert tempfile.gettempdir() in refused.value.message
    assert "TMPDIR" in refused.value.remedy


def test_parts_of_a_list_leave_no_file_behind(tars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    parts = find_inputs(EncodeSettings(images=tars, table="db/pins", encoder="none", plan_images=1))
    assert [len(part.candidates) for part in parts] == [3, 3, 1]
    assert list(scratch.iterdir()) == []
    held = parts.hold(pa.array(["last", "gone", "red-circle"]))
    assert held.tolist() == [True, False, True]


def files_in(root: Path, names: Mapping[str, str], metadata: str) -> Path:
    """Pictures of a folder, by name and colour, listed in this order, and their metadata."""
    for name, color in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(color))
    (root / "metadata.csv").write_text(metadata)
    return root


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders are listed by name, so that a test knows what each part holds."""

    def listed(found: FolderListing, beside: Beside) -> Iterator[ScannedFile]:
        yield from sorted(files_of(found.root, beside), key=lambda file: file.file_name)

    monkeypatch.setattr(FolderListing, "files", listed)


@pytest.mark.usefixtures("in_order")
def test_id_of_a_row_comes_before_the_name_of_a_file_in_an_earlier_part(run: Run, table: str, tmp_path: Path) -> None:
    root = files_in(tmp_path / "shop", {"a.png": "red", "b.png": "blue"}, "file_name,id\nb.png,a.png\n")
    report = run(root, plan_images=1)
    [failure] = report.failed_images
    assert failure.message == "a.png has the id a.png, which b.png has."
    assert [row["file_name"] for row in rows_of(table).values()] == ["b.png"]
    assert report.notes[0].startswith("1 image(s) have no row in the metadata")


@pytest.mark.usefixtures("in_order")
def test_very_name_in_a_later_part_comes_before_another_spelling(run: Run, table: str, tmp_path: Path) -> None:
    names = {"e\u0301.png": "red", "\u00e9.png": "blue"}
    root = files_in(tmp_path / "shop", names, "file_name,price\n\u00e9.png,5\n.//gone.png,6\n")
    report = run(root, plan_images=1)
    assert {row["file_name"]: row["price"] for row in rows_of(table).values()} == {"\u00e9.png": 5, "e\u0301.png": None}
    assert [failure.reason for failure in report.failed_images] == ["missing_file"]


@pytest.mark.usefixtures("in_order")
def test_metadata_of_no_part_is_refused(run: Run, tmp_path: Path) -> None:
    root = files_in(tmp_path / "shop", {"a.png": "red", "b.png": "blue"}, "file_name\nc.png\nd.png\n")
    with pytest.raises(DataError, match=r"names 2 file\(s\) of which .*shop holds none; the first is c\.png"):
        run(root, plan_images=1)


def test_parts_of_a_folder_are_of_this_size_and_leave_no_file_behind(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (scratch := tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    wanted = EncodeSettings(images=folder, table="db/pins", encoder="none")
    sizes = {most: [len(part.candidates) for part in find_inputs(replace(wanted, plan_images=most))] for most in (4, 6)}
    assert sizes == {4: [4, 2], 6: [6]}
    assert list(scratch.iterdir()) == []
