"""Generations: sealed, switched in one step, held by their readers, and always a way back."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pinembed.errors import GenerationError, UsageError
from pinembed.generation import build
from pinembed.generation.build import clone_folder, make_read_only, own_bytes, prune
from pinembed.generation.home import Home
from pinembed.generation.ledger import await_switch, read_ledger
from pinembed.generation.reading import hold, pinned
from pinembed.jobs.evaluate import evaluate
from pinembed.jobs.search import search
from pinembed.settings.encoding import SearchSettings
from pinembed.settings.training import EvaluateSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult, draw_item, write_catalogue
from tests.homes import add_generation

Cli = Callable[..., CliResult]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, other_encoder: Path) -> Home:
    """Generation 1 of one encoder, and 2, in use, of another; not to be changed."""
    root = tmp_path_factory.mktemp("two")
    images = write_catalogue(root / "data")
    add_generation(root / "home", images, tiny_encoder)
    return add_generation(root / "home", images, other_encoder)


@pytest.fixture
def home(tmp_path: Path, tiny_encoder: Path) -> Home:
    """Three generations of one encoder, each with an item more, 3 in use; the test may change them."""
    images = write_catalogue(tmp_path / "data")
    for count in range(3):
        if count:
            draw_item("red", "circle", 3 + count).save(images / "images" / f"more-{count}.png")
            lines = (images / "metadata.csv").read_text().splitlines()
            row = lines[1].replace("red-circle-0.png", f"more-{count}.png").replace("red-circle-0,", f"more-{count},")
            (images / "metadata.csv").write_text("\n".join([*lines, row]) + "\n")
        made = add_generation(tmp_path / "home", images, tiny_encoder)
    return made


@pytest.mark.parametrize("spelling", ["", "current", "generations/000002"])
def test_a_home_is_read_as_a_table_and_a_source_are(two: Home, spelling: str) -> None:
    reference = two.folder / spelling
    assert EmbeddingTable.open(str(reference)).count_rows() == 24
    with EmbeddingSource.open(reference) as source:
        assert len(source) == 24
        assert source.spec.fingerprint == two.read(2).fingerprint


def test_a_generation_is_read_by_its_number(two: Home) -> None:
    first, second = (EmbeddingTable.open(str(two.folder), generation=number) for number in (1, 2))
    assert first.spec.fingerprint == two.read(1).fingerprint != second.spec.fingerprint
    assert EmbeddingSource.open(two.folder, generation=1).spec.fingerprint == first.spec.fingerprint


def test_the_encoder_of_a_table_is_that_of_its_generation(two: Home) -> None:
    table = EmbeddingTable.open(str(two.folder / "current" / "table" / "items"))
    assert table.reference == str(two.folder_of(2).resolve() / "encoder")
    assert search(SearchSettings(text="a red circle", table=str(two.folder), k=3)).rows == 24


def test_commands_read_a_home_and_its_generations(cli: Cli, two: Home, tmp_path: Path) -> None:
    found = cli("search", "--table", two.folder, "--item", "red-circle-0", "--generation", "1", "--json")
    assert found.exit_code == 0
    assert "000001" in found.json["table"]
    assert cli("inspect", "--table", two.folder, "--json").json["fingerprint"] == two.read(2).fingerprint
    assert cli("export", "--table", two.folder, "--out", tmp_path / "out", "--json").json["items"] == 24
    assert cli("verify", two.folder, "--generation", "1", "--json").json["fingerprint"] == two.read(1).fingerprint


def test_evaluate_takes_the_encoder_of_a_home(two: Home) -> None:
    data = two.folder.parent / "data"
    report = evaluate(EvaluateSettings(data=data, encoder=str(two.folder), generation=1))
    assert report.encoder.fingerprint == two.read(1).fingerprint


def test_a_generation_that_is_not_there_is_named(cli: Cli, two: Home, tmp_path: Path) -> None:
    with pytest.raises(GenerationError, match="holds no generation 7; it holds 1, 2"):
        EmbeddingTable.open(str(two.folder), generation=7)
    with pytest.raises(UsageError, match=r"--generation 1 came with .*data, which is no home"):
        EmbeddingTable.open(str(two.folder.parent / "data"), generation=1)
    with pytest.raises(GenerationError, match="is no home of generations"):
        Home.open(tmp_path)
    empty = Home.begin(tmp_path / "home")
    with pytest.raises(GenerationError, match="has no generation that serves") as caught:
        EmbeddingTable.open(str(empty.folder))
    assert "pinembed refresh" in caught.value.remedy


@pytest.mark.parametrize("place", ["", "current/table/items"])
def test_nobody_writes_into_a_sealed_generation(cli: Cli, two: Home, tiny_encoder: Path, place: str) -> None:
    data, table = two.folder.parent / "data", two.folder / place
    for command in (("encode", data, "--encoder", tiny_encoder), ("audit",)):
        ended = cli(*command, "--table", table)
        assert ended.exit_code == 2
        assert "lies in a home of generations, which are sealed" in ended.words


def test_a_sealed_generation_is_read_only_and_lists_its_files(home: Home) -> None:
    record = home.read(3)
    assert "source/manifest.json" in record.files
    assert not [name for name in record.files if "lock" in name or "holder" in name]
    for path in home.folder_of(3).rglob("*"):
        assert not path.lstat().st_mode & 0o222


def test_a_clone_shares_its_files_and_changes_nothing_of_the_old_one(home: Home) -> None:
    first, second = (home.folder_of(number) / "table" for number in (1, 2))
    shared = [path for path in first.rglob("*") if path.is_file() and (second / path.relative_to(first)).exists()]
    linked = [path for path in shared if path.samefile(second / path.relative_to(first))]
    assert [path for path in linked if path.parent.name == "data"]
    assert [EmbeddingTable.open(str(home.folder), generation=n).count_rows() for n in (1, 2, 3)] == [24, 25, 26]


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP])
def test_a_clone_copies_where_the_file_system_has_no_links(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_links(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(build.os, "link", no_links)
    old = home.folder_of(1) / "table"
    made = clone_folder(old, tmp_path / "clone")
    assert made.copied_bytes == sum(path.stat().st_size for path in old.rglob("*") if path.is_file()) > 0
    assert {path.relative_to(old) for path in old.rglob("*")} == {
        path.relative_to(tmp_path / "clone") for path in (tmp_path / "clone").rglob("*")
    }


@pytest.mark.parametrize("damage", ["gone", "new", "changed"])
def test_an_edited_generation_is_not_switched_to(home: Home, damage: str) -> None:
    manifest = home.folder_of(2) / "source" / "manifest.json"
    manifest.parent.chmod(0o755)
    manifest.chmod(0o644)
    if damage == "gone":
        manifest.unlink()
    elif damage == "changed":
        manifest.write_text(manifest.read_text().replace("1", "2"))
    else:
        manifest.with_name("extra.txt").write_text("mine")
    with pytest.raises(GenerationError, match="Generation 2 is not as it was sealed: ") as caught:
        home.switch(2)
    assert home.current == 3
    assert caught.value.remedy.startswith("Take the file away" if damage == "new" else "Put the file back")


def test_a_switch_is_refused_where_somebody_else_switched_meanwhile(home: Home) -> None:
    home.switch(1)
    with pytest.raises(GenerationError, match="named 3 when this run began and names 1 now; generation 2 is sealed"):
        home.switch(2, expected=3)
    assert home.current == 1


def test_rollback_goes_to_the_generation_before_and_further(cli: Cli, home: Home) -> None:
    assert cli("rollback", home.folder, "--json").json["now"] == 2
    assert cli("rollback", home.folder).words == f"{home.folder}: generation 1 is in use; before it was 2."
    ended = cli("rollback", home.folder)
    assert (ended.exit_code, home.current) == (1, 1)
    assert "has no generation before 1" in ended.words
    assert cli("rollback", home.folder, "3").exit_code == 0
    assert home.current == 3


def test_rollback_remembers_the_encoder_that_was_left_and_switch_forgives_it(
    cli: Cli, tmp_path: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    images = write_catalogue(tmp_path / "data")
    add_generation(tmp_path / "home", images, tiny_encoder)
    home = add_generation(tmp_path / "home", images, other_encoder)
    left = home.read(2).fingerprint
    await_switch(home, 2)
    assert cli("rollback", home.folder, "--json").json["refused"] == left
    assert (read_ledger(home).refused, read_ledger(home).awaiting) == ({left}, None)
    assert f"Encoder {left} was rolled back" in cli("generations", home.folder).words
    assert cli("switch", home.folder, "2").exit_code == 0
    assert (read_ledger(home).refused, home.current) == (set(), 2)


def test_generations_are_listed_with_what_they_are(cli: Cli, home: Home) -> None:
    shown = cli("generations", home.folder, "--json").json
    assert (shown["current"], [line["rows"] for line in shown["generations"]]) == (3, [24, 25, 26])
    assert shown["generations"][0]["own_bytes"] < shown["generations"][0]["size_bytes"]
    (home.folder_of(1)).chmod(0o755)
    (home.folder_of(1) / "generation.json").chmod(0o644)
    (home.folder_of(1) / "generation.json").write_text("{}")
    assert "cannot be used" in cli("generations", home.folder).words


def test_retention_keeps_the_one_in_use_the_latest_and_what_is_read(home: Home) -> None:
    home.switch(2)
    reader = EmbeddingTable.open(str(home.folder), generation=1)
    assert prune(home, keep=1) == ([], [1])
    assert reader.count_rows() == 24
    del reader
    assert prune(home, keep=1) == ([1], [])
    assert home.numbers == [2, 3]
    assert EmbeddingTable.open(str(home.folder), generation=3).count_rows() == 26


def test_what_a_killed_removal_left_is_removed_by_the_next(home: Home) -> None:
    left = home.folder_of(1).with_name(".removed-000001-abcd")
    home.folder_of(1).chmod(0o755)
    home.folder_of(1).rename(left)
    assert prune(home, keep=7) == ([], [])
    assert not left.exists()


def test_references_to_one_home_get_one_generation(home: Home) -> None:
    with pinned(home.folder, home.folder / "current", "elsewhere") as (source, model, other):
        home.switch(1)
        assert (source, model, other) == (str(home.folder_of(3)), str(home.folder_of(3)), "elsewhere")
    with pinned(home.folder, generation=2) as (source,):
        assert source == str(home.folder_of(2))


def test_readers_meet_no_mixture_while_the_link_switches(two: Home, tmp_path: Path) -> None:
    stop, wrong, reads = threading.Event(), [], []

    def read() -> None:
        while not stop.is_set():
            held = hold(two.folder)
            assert held is not None
            manifest = json.loads(held.part("source").joinpath("manifest.json").read_text())
            source = EmbeddingSource.open(held.folder).spec.fingerprint
            record = json.loads((held.folder / "generation.json").read_text())["fingerprint"]
            reads.append(1)
            if not (manifest["encoder"]["weights_sha256"] and source == record):
                wrong.append((source, record))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for count in range(200):
        two.switch(1 + count % 2)
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert len(reads) > 20
    assert two.current == 2


def test_a_rollback_loads_nothing_heavy(home: Home) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nimport pinembed\n"
        f"report = pinembed.rollback(pinembed.RollbackSettings(home=Path({str(home.folder)!r})))\n"
        "print(report.now, sorted({'torch', 'lancedb', 'lance', 'pyarrow'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "2 []\n"


def test_a_home_that_may_not_be_written_is_a_sentence(cli: Cli, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "symlink_to", refused)
    ended = cli("rollback", home.folder)
    assert (ended.exit_code, home.current) == (1, 3)
    assert "cannot be set to generations/000002: Permission denied" in ended.words


def test_a_link_that_leads_nowhere_is_told_and_can_be_set_anew(cli: Cli, home: Home) -> None:
    (home.folder / "current").unlink()
    (home.folder / "current").symlink_to("generations/000009")
    with pytest.raises(GenerationError, match=r"leads to generations/000009, which is no sealed generation"):
        EmbeddingTable.open(str(home.folder))
    assert cli("switch", home.folder, "3").exit_code == 0
    assert home.current == 3


def test_a_file_of_two_names_in_one_generation_is_its_own(tmp_path: Path) -> None:
    """As a shard of the source that is a file of the table."""
    for place in ("one/table", "one/source", "other"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "one" / "table" / "twice").write_bytes(b"12345")
    (tmp_path / "one" / "source" / "twice").hardlink_to(tmp_path / "one" / "table" / "twice")
    (tmp_path / "one" / "shared").write_bytes(b"1234567")
    (tmp_path / "other" / "shared").hardlink_to(tmp_path / "one" / "shared")
    assert (own_bytes(tmp_path / "one"), own_bytes(tmp_path / "one" / "source")) == (5, 0)
    make_read_only(tmp_path / "one")
    modes = [(tmp_path / "one" / name).stat().st_mode & 0o222 for name in ("source/twice", "table/twice", "table")]
    assert modes == [0, 0, 0]
    assert (tmp_path / "one" / "shared").stat().st_mode & 0o200
