"""encode: nothing twice, nothing lost, nothing mixed, and each bad image named."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from pinembed.encoder.backends.tower import ImageTower
from pinembed.encoder.encoder import load_encoder
from pinembed.errors import DataError, EncoderMismatchError, StoppedError, TableLockedError
from pinembed.images.decode import read_image
from pinembed.images.preprocess import preprocess
from pinembed.jobs.encode import encode
from pinembed.nouns.encode_report import EncodeReport
from pinembed.nouns.progress import Silent
from pinembed.nouns.stop import Stop
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.failures import FailureTable
from pinembed.table.lock import run_lock
from tests.conftest import CliResult, draw_item

Cli = Callable[..., CliResult]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images without metadata."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    for color in ("red", "green", "blue"):
        draw_item(color, "circle", 0).save(root / f"{color}.png")
        draw_item(color, "square", 0).save(root / "sub" / f"{color}.jpg")
    return root


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "catalog" / "pins")


@pytest.fixture
def run(folder: Path, table: str, tiny_encoder: Path) -> Callable[..., EncodeReport]:
    """Encode the folder with the tiny encoder."""

    def encode_folder(images: Path = folder, **changes: Any) -> EncodeReport:
        return encode(images, **{"table": table, "encoder": str(tiny_encoder), "workers": 1, **changes})

    return encode_folder


def rows_of(table: str) -> dict[str, dict[str, Any]]:
    opened = EmbeddingTable.open(table)
    batches = opened.batches(opened.schema.names)
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert len({row["id"] for row in rows}) == len(rows)
    return {row["id"]: row for row in rows}


def failures_of(table: str) -> dict[str, str]:
    return {item: failure.reason for item, failure in FailureTable(parse_address(table)).known().items()}


def version_of(table: str) -> int:
    return int(EmbeddingTable.open(table).lance.version)


def counts(report: EncodeReport) -> dict[str, int]:
    names = ("added", "updated", "unchanged", "duplicate", "failed", "removed")
    return {name: getattr(report, name) for name in names if getattr(report, name)}


def touch(path: Path, seconds: int = 5) -> None:
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


def test_first_run_stores_file_facts_and_the_encoders_vectors(
    run: Callable[..., EncodeReport], folder: Path, table: str, tiny_encoder: Path
) -> None:
    report = run()

    assert counts(report) == {"added": 6}
    assert (report.rows, report.encoded) == (6, 6)
    row = rows_of(table)["sub/red.jpg"]
    path = folder / "sub/red.jpg"
    assert (row["folder"], row["file_name"]) == (str(folder), "sub/red.jpg")
    assert (row["size_bytes"], row["mtime_ns"]) == (path.stat().st_size, path.stat().st_mtime_ns)
    assert (row["width_px"], row["height_px"]) == (48, 48)
    encoder = load_encoder(str(tiny_encoder))
    pixels = preprocess(read_image(path), encoder.preprocessing)
    expected = encoder.embed_images(torch.from_numpy(pixels)[None])[0].numpy()
    np.testing.assert_allclose(np.array(row["vector"], np.float32), expected, atol=1e-3)


def test_table_has_fp16_vectors_primary_key_and_the_encoders_identity(
    run: Callable[..., EncodeReport], table: str
) -> None:
    report = run()

    opened = EmbeddingTable.open(table)
    assert opened.schema.field("vector").type == pa.list_(pa.float16(), 16)
    assert not opened.schema.field("id").nullable
    assert b"lance-schema:unenforced-primary-key:position" in opened.schema.field("id").metadata
    assert opened.spec.fingerprint == report.fingerprint


def test_second_run_encodes_nothing_commits_nothing_and_loads_no_encoder(
    run: Callable[..., EncodeReport], table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    before = version_of(table)
    monkeypatch.setattr("pinembed.encoder.encoder.build_encoder", lambda *args, **kwargs: pytest.fail("loaded"))
    monkeypatch.setattr("pinembed.images.read.read_file", lambda path: pytest.fail("opened"))

    report = run()

    assert counts(report) == {"unchanged": 6}
    assert version_of(table) == before


def test_changed_image_is_encoded_again(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    run()
    before = rows_of(table)
    draw_item("yellow", "square", 1).save(folder / "red.png")

    report = run()

    assert counts(report) == {"updated": 1, "unchanged": 5}
    after = rows_of(table)
    assert after["red.png"]["vector"] != before["red.png"]["vector"]
    assert after["blue.png"] == before["blue.png"]


def test_touched_file_of_the_same_content_keeps_its_vector_without_encoding(
    run: Callable[..., EncodeReport], folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    before = rows_of(table)["red.png"]
    touch(folder / "red.png")
    monkeypatch.setattr("pinembed.encoder.encoder.build_encoder", lambda *args, **kwargs: pytest.fail("loaded"))

    report = run()

    assert (counts(report), report.encoded) == ({"updated": 1, "unchanged": 5}, 0)
    after = rows_of(table)["red.png"]
    assert after["mtime_ns"] == (folder / "red.png").stat().st_mtime_ns
    assert (after["vector"], after["width_px"]) == (before["vector"], before["width_px"])
    assert counts(run()) == {"unchanged": 6}


def test_equal_content_is_encoded_once(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    shutil.copy(folder / "red.png", folder / "copy-1.png")
    shutil.copy(folder / "red.png", folder / "copy-2.png")

    report = run()

    assert (counts(report), report.encoded) == ({"added": 6, "duplicate": 2}, 6)
    rows = rows_of(table)
    assert rows["copy-1.png"]["vector"] == rows["copy-2.png"]["vector"] == rows["red.png"]["vector"]
    assert rows["copy-1.png"]["width_px"] == 48


@pytest.mark.parametrize("commit_rows", [1, 1000])
def test_equal_content_is_encoded_once_whenever_commits_fall(
    run: Callable[..., EncodeReport], folder: Path, table: str, commit_rows: int
) -> None:
    for number in range(5):
        shutil.copy(folder / "red.png", folder / f"copy-{number}.png")

    report = run(commit_rows=commit_rows, batch_size=1)

    assert (report.encoded, report.duplicate, report.rows) == (6, 5, 11)


def test_renamed_file_keeps_its_vector(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    run()
    before = rows_of(table)["red.png"]["vector"]
    (folder / "red.png").rename(folder / "sub" / "crimson.png")

    report = run(prune=True)

    assert (counts(report), report.encoded) == ({"duplicate": 1, "unchanged": 5, "removed": 1}, 0)
    rows = rows_of(table)
    assert rows["sub/crimson.png"]["vector"] == before
    assert "red.png" not in rows


def test_files_that_swapped_their_names_swap_their_vectors(
    run: Callable[..., EncodeReport], folder: Path, table: str
) -> None:
    run()
    before = rows_of(table)
    (folder / "red.png").rename(folder / "x")
    (folder / "blue.png").rename(folder / "red.png")
    (folder / "x").rename(folder / "blue.png")
    touch(folder / "red.png")
    touch(folder / "blue.png")

    run(commit_rows=1, batch_size=1)

    after = rows_of(table)
    assert after["red.png"]["sha256"] == before["blue.png"]["sha256"]
    np.testing.assert_allclose(after["red.png"]["vector"], before["blue.png"]["vector"], atol=1e-3)
    np.testing.assert_allclose(after["blue.png"]["vector"], before["red.png"]["vector"], atol=1e-3)


def test_moved_folder_rewrites_the_rows_without_opening_a_file(
    run: Callable[..., EncodeReport], folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    moved = folder.rename(folder.with_name("mounted-elsewhere"))

    report = run(moved, prune=True)

    assert (counts(report), report.encoded) == ({"updated": 6}, 0)
    assert {row["folder"] for row in rows_of(table).values()} == {str(moved)}


# --- metadata


def change_metadata(folder: Path, change: Callable[[list[dict[str, str]]], list[dict[str, str]]]) -> None:
    path = folder / "metadata.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = change(list(csv.DictReader(file)))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_metadata_columns_keep_their_types(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    report = run(catalogue_folder)

    assert report.added == 24
    opened = EmbeddingTable.open(table)
    kinds = {name: opened.schema.field(name).type for name in ("title", "price", "split")}
    assert kinds == {"title": pa.string(), "price": pa.float64(), "split": pa.string()}
    row = rows_of(table)["red-circle-1"]
    assert (row["title"], row["price"], row["split"]) == ("A red circle", 11.0, "val")


def test_changed_metadata_updates_the_row_without_encoding(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    run(catalogue_folder)
    before = rows_of(table)["red-circle-1"]

    def change(rows: list[dict[str, str]]) -> list[dict[str, str]]:
        return [{**row, "title": "Sold out"} if row["id"] == "red-circle-1" else row for row in rows]

    change_metadata(catalogue_folder, change)
    report = run(catalogue_folder)

    assert (counts(report), report.encoded) == ({"updated": 1, "unchanged": 23}, 0)
    assert rows_of(table)["red-circle-1"] == {**before, "title": "Sold out"}


def test_new_metadata_column_appears_in_the_table(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    run(catalogue_folder)
    change_metadata(catalogue_folder, lambda rows: [{**row, "stock": str(n)} for n, row in enumerate(rows)])

    report = run(catalogue_folder)

    assert (counts(report), report.encoded) == ({"updated": 24}, 0)
    assert EmbeddingTable.open(table).schema.field("stock").type == pa.int64()
    assert {row["stock"] for row in rows_of(table).values()} == set(range(24))
    assert counts(run(catalogue_folder)) == {"unchanged": 24}


def test_metadata_column_that_was_whole_numbers_takes_fractions(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "3"} for row in rows])
    run(catalogue_folder)
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "3.5"} for row in rows])

    assert run(catalogue_folder).updated == 24
    assert rows_of(table)["red-circle-1"]["price"] == 3.5
    assert EmbeddingTable.open(table).schema.field("price").type == pa.float64()


def test_widening_of_a_column_that_was_killed_midway_is_completed(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "3"} for row in rows])
    run(catalogue_folder)
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "3.5"} for row in rows])
    lance = type(EmbeddingTable.open(table).lance)
    for killed in ("drop_columns", "alter_columns"):
        with monkeypatch.context() as patch:
            patch.setattr(lance, killed, lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                run(catalogue_folder)

    assert run(catalogue_folder).updated == 24
    assert {row["price"] for row in rows_of(table).values()} == {3.5}


def test_metadata_column_of_another_kind_is_refused(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    run(catalogue_folder)
    change_metadata(catalogue_folder, lambda rows: [{**row, "price": "cheap"} for row in rows])

    with pytest.raises(DataError, match=r"The metadata column price holds string; table .* stores it as double"):
        run(catalogue_folder)

    assert rows_of(table)["red-circle-1"]["price"] == 11.0


def test_metadata_column_with_a_name_of_the_table_is_refused(
    run: Callable[..., EncodeReport], catalogue_folder: Path
) -> None:
    change_metadata(catalogue_folder, lambda rows: [{**row, "vector": "1"} for row in rows])

    with pytest.raises(DataError, match="The metadata column 'vector' cannot be a column of the table: the name is"):
        run(catalogue_folder)


def test_metadata_file_elsewhere_is_used(
    cli: Cli, catalogue_folder: Path, table: str, tiny_encoder: Path, tmp_path: Path
) -> None:
    moved = (catalogue_folder / "metadata.csv").rename(tmp_path / "rows.csv")

    result = cli(
        "encode",
        catalogue_folder,
        "--table",
        table,
        "--encoder",
        tiny_encoder,
        "--metadata",
        moved,
        "--json",
        "--quiet",
    )

    assert result.json["added"] == 24
    assert rows_of(table)["red-circle-1"]["title"] == "A red circle"


def test_row_without_file_fails_and_file_without_row_is_encoded(
    run: Callable[..., EncodeReport], catalogue_folder: Path, table: str
) -> None:
    (catalogue_folder / "images/red-circle-0.png").rename(catalogue_folder / "images/stray.png")
    said: list[str] = []

    class Listener(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    report = run(catalogue_folder, progress=Listener())

    assert (counts(report), report.failures) == ({"added": 24, "failed": 1}, {"missing_file": 1})
    assert failures_of(table) == {"images/red-circle-0.png": "missing_file"}
    assert rows_of(table)["images/stray.png"]["title"] is None
    assert said == [
        "1 image(s) have no row in the metadata; they are encoded under their file names, with empty columns."
    ]


# --- bad images


def test_bad_images_are_named_and_the_run_goes_on(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    (folder / "empty.jpg").touch()
    (folder / "notes.png").write_text("no picture")
    whole = (folder / "sub/red.jpg").read_bytes()
    (folder / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "two\nlines.png").write_bytes((folder / "red.png").read_bytes())
    (folder / os.fsdecode(b"caf\xe9.png")).write_bytes(whole)

    report = run()

    assert counts(report) == {"added": 6, "duplicate": 1, "failed": 7}
    assert failures_of(table) == {
        "empty.jpg": "empty",
        "notes.png": "not_an_image",
        "half.jpg": "truncated",
        "nowhere.jpg": "missing_file",
        "circle.jpg": "unreadable",
        "pipe.jpg": "not_a_file",
        "caf\\xe9.png": "name_not_utf8",
    }
    assert "two\nlines.png" in rows_of(table)


def test_failed_image_is_not_retried_until_it_changes(
    run: Callable[..., EncodeReport], folder: Path, table: str
) -> None:
    (folder / "bad.png").write_bytes(b"not yet")
    run()
    before = version_of(table)

    again = run()

    assert (counts(again), again.not_retried) == ({"unchanged": 6, "failed": 1}, 1)
    assert version_of(table) == before
    draw_item("yellow", "circle", 0).save(folder / "bad.png")
    assert counts(run()) == {"added": 1, "unchanged": 6}
    assert failures_of(table) == {}


def test_file_that_could_not_be_read_for_the_moment_is_read_by_the_next_run(
    run: Callable[..., EncodeReport], folder: Path, tmp_path: Path, table: str
) -> None:
    disk = (tmp_path / "disk.png").resolve()
    (folder / "on-disk.png").symlink_to(disk)
    run()
    assert failures_of(table) == {"on-disk.png": "missing_file"}
    before = version_of(table), FailureTable(parse_address(table))._lance.version

    again = run()
    after = version_of(table), FailureTable(parse_address(table))._lance.version
    draw_item("yellow", "circle", 2).save(disk)

    assert (counts(again), again.not_retried) == ({"unchanged": 6, "failed": 1}, 0)
    assert after == before
    assert counts(run()) == {"added": 1, "unchanged": 6}
    assert failures_of(table) == {}


def test_retry_failed_reads_a_failed_image_again(
    run: Callable[..., EncodeReport], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "bad.png").write_bytes(b"not an image")
    run()

    report = run(retry_failed=True)

    assert (report.failed, report.not_retried) == (1, 0)


def test_changed_image_that_is_broken_now_keeps_its_row(
    run: Callable[..., EncodeReport], folder: Path, table: str
) -> None:
    run()
    before = rows_of(table)["red.png"]
    (folder / "red.png").write_bytes(b"broken by a copy")

    report = run()

    assert counts(report) == {"unchanged": 5, "failed": 1}
    assert rows_of(table)["red.png"] == before


def test_too_many_failures_end_with_exit_code_3_and_what_was_good_is_stored(
    cli: Cli, folder: Path, table: str, tiny_encoder: Path
) -> None:
    for number in range(7):
        (folder / f"bad-{number}.png").write_bytes(b"bad")

    result = cli("encode", folder, "--table", table, "--encoder", tiny_encoder, "--json")

    assert result.exit_code == 3
    assert result.json["failures"] == {"not_an_image": 7}
    assert "7 items failed, 54% of all; --max-failure-rate allows 50%. What was good is stored." in result.words
    assert len(rows_of(table)) == 6


def test_nothing_but_bad_images_does_not_end_with_0(cli: Cli, tmp_path: Path, table: str, tiny_encoder: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/bad.png").write_bytes(b"bad")

    assert cli("encode", tmp_path / "photos", "--table", table, "--encoder", tiny_encoder).exit_code == 3


def test_image_that_makes_the_encoder_give_nan_fails_alone(
    run: Callable[..., EncodeReport], folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (32, 32), (1, 2, 3)).save(folder / "cursed.png")
    honest = ImageTower.forward

    def forward(self: ImageTower, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        cursed_B = (pixels_BCHW.float().mean(dim=(2, 3)) == torch.tensor([1.0, 2.0, 3.0])).all(dim=1)
        return torch.where(cursed_B[:, None], torch.nan, honest(self, pixels_BCHW))

    monkeypatch.setattr(ImageTower, "forward", forward)

    report = run()

    assert (counts(report), failures_of(table)) == ({"added": 6, "failed": 1}, {"cursed.png": "non_finite"})


# --- runs


def test_other_encoder_is_refused_with_the_remedy(
    cli: Cli, run: Callable[..., EncodeReport], folder: Path, table: str, other_encoder: Path
) -> None:
    run()

    result = cli("encode", folder, "--table", table, "--encoder", other_encoder)

    assert result.exit_code == 1
    assert f"Table {table} holds tiny" in result.words
    assert "embeddings of 16 floats; this run makes other" in result.words
    assert "Give another --table, or run `pinembed refresh`" in result.words
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

    class StopAfterThree(Silent):
        done = 0

        def advance(self, n: int = 1, note: str = "") -> None:
            self.done += n
            if self.done == 3:
                stop.signum = signal.SIGTERM

    with pytest.raises(StoppedError) as caught:
        run(stop=stop, progress=StopAfterThree(), batch_size=1)

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
    assert report.rows == 5
    assert "red.png" not in rows_of(table)


def test_prune_of_more_than_a_fifth_needs_force(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    run()
    for name in ("red.png", "blue.png"):
        (folder / name).unlink()

    with pytest.raises(DataError, match="--prune would remove 2 of 6 rows, more than a fifth; nothing was done"):
        run(prune=True)

    assert run(prune=True, force=True).removed == 2


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
        (["{photos}", "--table", "{tmp}/db/t", "--max-failure-rate", "7"], "--max-failure-rate 7.0 is no share"),
        (["{photos}", "--table", "{tmp}/db/t", "--metadata", "{tmp}/file"], "cannot be read as metadata"),
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
