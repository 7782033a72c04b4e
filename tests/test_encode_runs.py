"""encode as a command in scripts: locks, stops, pruning, plans, and sentences for bad arguments."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import lance
import pytest

from pinembed.errors import DataError, EncoderMismatchError, StoppedError, TableLockedError
from pinembed.nouns.progress import Stop
from pinembed.reports.encode import EncodeReport
from pinembed.table.address import parse_address
from pinembed.table.lock import run_lock
from pinembed.table.side_tables import RunTable
from tests.conftest import CliResult, StopAfter, draw_item
from tests.encoding import counts, rows_of

pytest_plugins = ("tests.encoding_fixtures",)
Cli = Callable[..., CliResult]


def test_other_encoder_is_refused_with_the_remedy(
    cli: Cli, run: Callable[..., EncodeReport], folder: Path, table: str, other_encoder: Path
) -> None:
    run()

    result = cli("encode", folder, "--table", table, "--encoder", other_encoder)

    assert result.exit_code == 1
    assert f"Table {table} holds tiny" in result.words
    assert "embeddings of 16 floats; this run makes other" in result.words
    assert "Give another --table for the new encoder; the old table stays usable" in result.words
    with pytest.raises(EncoderMismatchError):
        run(encoder=str(other_encoder))


def test_second_run_at_once_ends_with_exit_code_5_and_says_who_holds_the_table(
    cli: Cli, folder: Path, table: str, tiny_encoder: Path
) -> None:
    with run_lock(parse_address(table)):
        result = cli("encode", folder, "--table", table, "--encoder", tiny_encoder, "--quiet")

    assert result.exit_code == 5
    assert f"Another run holds table {table}: process {os.getpid()} on " in result.words
    assert not Path(table + ".lance").exists()


def test_lock_is_free_after_the_run(run: Callable[..., EncodeReport], table: str) -> None:
    run()

    with run_lock(parse_address(table)), pytest.raises(TableLockedError), run_lock(parse_address(table)):
        pass
    assert counts(run()) == {"unchanged": 6}


def test_stop_commits_what_is_encoded_and_the_next_run_goes_on(run: Callable[..., EncodeReport], table: str) -> None:
    stop = Stop()

    with pytest.raises(StoppedError) as caught:
        run(stop=stop, progress=StopAfter(stop, 3, signal.SIGTERM), batch_size=1)

    assert caught.value.exit_code == 143
    assert len(rows_of(table)) == 3
    assert counts(run()) == {"added": 3, "unchanged": 3}


def test_dry_run_tells_the_plan_and_touches_nothing(cli: Cli, folder: Path, table: str, tiny_encoder: Path) -> None:
    result = cli("encode", folder, "--table", table, "--encoder", tiny_encoder, "--dry-run", "--json")

    assert (result.json["added"], result.json["rows"], result.json["dry_run"]) == (6, 6, True)
    assert not Path(table).parent.exists()


def test_prune_removes_rows_whose_files_are_gone(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    run()
    (folder / "red.png").unlink()

    assert counts(run()) == {"unchanged": 5}
    report = run(prune=True)

    assert counts(report) == {"unchanged": 5, "removed": 1}
    assert report.counts.rows == 5
    assert "red.png" not in rows_of(table)


def test_prune_of_more_than_a_fifth_needs_force(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    run()
    for name in ("red.png", "blue.png"):
        (folder / name).unlink()

    with pytest.raises(DataError, match="--prune would remove 2 of 6 rows, more than a fifth; nothing was done"):
        run(prune=True)

    assert run(prune=True, force=True).counts.removed == 2


def test_prune_spares_the_rows_of_another_folder(
    run: Callable[..., EncodeReport], folder: Path, tmp_path: Path, table: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    draw_item("yellow", "circle", 2).save(other / "yellow.png")
    run()

    run(other, prune=True, force=True)

    assert len(rows_of(table)) == 7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{tmp}/void", "--table", "{tmp}/db/t"], "holds no image file"),
        (["{tmp}/none", "--table", "{tmp}/db/t"], "none does not exist; wanted a folder of images"),
        (["{photos}", "--table", "{tmp}/my pins"], "my pins' names no table"),
        (["{photos}", "--table", "{tmp}/file/pins"], "file is a file; wanted a folder for the LanceDB database"),
        (
            ["{photos}", "--table", "{tmp}/db/t", "--max-failure-rate", "7"],
            "--max-failure-rate is 7.0; wanted at most 1",
        ),
        (["{photos}", "--table", "{tmp}/db/t", "--metadata", "{tmp}/file"], "cannot be read as metadata"),
        (["{photos}", "--table", "{tmp}/db/t", "--metadata", "{tmp}/no.csv"], "no.csv cannot be read: No such file"),
        (["{photos}", "--table", "{tmp}/db/t", "--device", "abacus"], "--device abacus cannot be used here"),
    ],
)
def test_bad_arguments_are_explained(
    cli: Cli, folder: Path, tmp_path: Path, tiny_encoder: Path, arguments: list[str], words: str
) -> None:
    (tmp_path / "void").mkdir()
    (tmp_path / "file").write_text("something")
    filled = [argument.format(tmp=tmp_path, photos=folder) for argument in arguments]

    result = cli("encode", *filled, "--encoder", tiny_encoder)

    assert result.exit_code in {1, 2}
    assert words in result.words
    assert "remedy:" in result.words


def test_encoder_folder_without_configuration_is_explained(cli: Cli, folder: Path, table: str, tmp_path: Path) -> None:
    result = cli("encode", folder, "--table", table, "--encoder", tmp_path)

    assert result.exit_code == 1
    assert "has no open_clip_config.json" in result.words


def test_what_a_person_is_told_is_in_the_report_of_a_quiet_run(
    cli: Cli, folder: Path, table: str, tiny_encoder: Path
) -> None:
    (folder / "metadata.csv").write_text("file_name,price\nred.png,1.5\nblue.png,2\n")
    told = cli("encode", folder, "--table", table, "--encoder", tiny_encoder, "--quiet", "--json").json["notes"]
    assert [note.partition(";")[0] for note in told] == ["4 image(s) have no row in the metadata"]

    (folder / "metadata.csv").write_text("file_name,price\nred.png,cheap\nblue.png,2\n")
    for dry in ((), ("--dry-run",)):
        quiet = cli("encode", folder, "--table", table, "--encoder", tiny_encoder, "--quiet", "--json", *dry)
        assert "are no double" in quiet.json["notes"][1]
        assert "are no double" not in quiet.stderr


def test_runs_of_a_table_that_an_earlier_version_made_are_read_and_go_on(
    run: Callable[..., EncodeReport], table: str
) -> None:
    run()
    runs = parse_address(table).runs
    lance.dataset(runs.uri).drop_columns(["folder", "disk"])

    assert RunTable(parse_address(table)).disks() == {}
    assert [found.folder for found in RunTable(parse_address(table)).latest(1, is_running=False)] == [None]
    assert counts(run()) == {"unchanged": 6}
    first, second = RunTable(parse_address(table)).latest(2, is_running=False)
    assert (first.ending, first.disk is None, second.disk) == ("done", False, None)
