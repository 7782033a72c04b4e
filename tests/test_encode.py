"""encode: nothing twice, nothing lost, nothing mixed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from pinembed.encoder.encoder import load_encoder
from pinembed.images.decode import read_image
from pinembed.images.preprocess import preprocess
from pinembed.reports.encode import EncodeReport
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult, draw_item
from tests.encoding import counts, rows_of, touch, version_of

pytest_plugins = ("tests.encoding_fixtures",)
Cli = Callable[..., CliResult]


def test_first_run_stores_file_facts_and_the_encoders_vectors(
    run: Callable[..., EncodeReport], folder: Path, table: str, tiny_encoder: Path
) -> None:
    report = run()

    assert counts(report) == {"added": 6}
    assert (report.counts.rows, report.counts.encoded) == (6, 6)
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

    assert (counts(report), report.counts.encoded) == ({"updated": 1, "unchanged": 5}, 0)
    after = rows_of(table)["red.png"]
    assert after["mtime_ns"] == (folder / "red.png").stat().st_mtime_ns
    assert (after["vector"], after["width_px"]) == (before["vector"], before["width_px"])
    assert counts(run()) == {"unchanged": 6}


def test_file_that_was_only_touched_keeps_its_size_beside_a_new_copy_of_it(
    run: Callable[..., EncodeReport], folder: Path, table: str
) -> None:
    run()
    touch(folder / "red.png")
    shutil.copy(folder / "red.png", folder / "then.png")

    run()

    for name in ("red.png", "then.png"):
        row = rows_of(table)[name]
        assert (row["width_px"], row["height_px"]) == (48, 48)


def test_equal_content_is_encoded_once(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    shutil.copy(folder / "red.png", folder / "copy-1.png")
    shutil.copy(folder / "red.png", folder / "copy-2.png")

    report = run()

    assert (counts(report), report.counts.encoded) == ({"added": 6, "duplicate": 2}, 6)
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

    assert (report.counts.encoded, report.counts.duplicate, report.counts.rows) == (6, 5, 11)


def test_renamed_file_keeps_its_vector(run: Callable[..., EncodeReport], folder: Path, table: str) -> None:
    run()
    before = rows_of(table)["red.png"]["vector"]
    (folder / "red.png").rename(folder / "sub" / "crimson.png")

    report = run(prune=True)

    assert (counts(report), report.counts.encoded) == ({"duplicate": 1, "unchanged": 5, "removed": 1}, 0)
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


def test_moved_folder_rewrites_the_rows_and_encodes_nothing(
    run: Callable[..., EncodeReport], folder: Path, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    moved = folder.rename(folder.with_name("mounted-elsewhere"))

    report = run(moved, prune=True)

    assert (counts(report), report.counts.encoded) == ({"updated": 6}, 0)
    assert {row["folder"] for row in rows_of(table).values()} == {str(moved)}
