"""What encode takes beside a folder: lists of files, WebDataset tars, Parquet with image bytes."""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinembed.catalogue.shards import Shard
from pinembed.catalogue.tar_shards import scan_tars
from pinembed.errors import DataError, UsageError
from pinembed.images.decode import read_image
from pinembed.reports.encode import EncodeReport
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult, draw_item
from tests.encoding import counts, failures_of, rows_of, touch, version_of

pytest_plugins = ("tests.encoding_fixtures",)
Cli = Callable[..., CliResult]
Run = Callable[..., EncodeReport]
COLORS = ("red", "green", "blue")


def picture(color: str, shape: str = "circle", view: int = 0) -> bytes:
    stream = io.BytesIO()
    draw_item(color, shape, view).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes | dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            stored = json.dumps(content).encode() if isinstance(content, dict) else content
            header = tarfile.TarInfo(name)
            header.size = len(stored)
            tar.addfile(header, io.BytesIO(stored))
    return path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two tars of three items; each has metadata as JSON and text."""
    root = tmp_path / "shards"
    for number, shape in enumerate(("circle", "square")):
        members: dict[str, bytes | dict[str, Any]] = {}
        for price, color in enumerate(COLORS):
            key = f"./{color}-{shape}"
            members[f"{key}.png"] = picture(color, shape)
            members[f"{key}.json"] = {"title": f"A {color} {shape}", "price": price + number / 2, "tags": [color]}
            members[f"{key}.txt"] = f"{color} {shape}\n".encode()
        write_tar(root / f"{number:03}.tar", members)
    return root


def write_parquet(path: Path, *, rows_per_group: int = 2, shape: str = "circle") -> Path:
    rows = [
        {"image": {"bytes": picture(color, shape), "path": f"{color}.png"}, "label": n, "id": f"{color}-{shape}"}
        for n, color in enumerate(COLORS)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=rows_per_group)
    return path


def test_list_names_the_only_files_that_are_encoded_however_they_are_spelled(
    run: Run, folder: Path, table: str, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text(f"red.png\n./red.png\r\nsub//red.jpg\n\nsub/../red.png\n{folder}/blue.png\n")

    report = run(files_from=tmp_path / "list")

    assert counts(report) == {"added": 3}
    assert set(rows_of(table)) == {"red.png", "blue.png", "sub/red.jpg"}
    assert counts(run(files_from=tmp_path / "list")) == {"unchanged": 3}
    assert counts(run()) == {"added": 3, "unchanged": 3}


def test_names_of_a_list_that_are_no_file_of_the_folder_are_told_one_by_one(
    run: Run, table: str, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("red.png\nsub\nnone.png\n../list\n/etc/passwd\nred.png/x.png\n")

    report = run(files_from=tmp_path / "list")

    assert counts(report) == {"added": 1, "failed": 5}
    assert failures_of(table) == {
        "sub": "not_a_file",
        "none.png": "missing_file",
        "../list": "outside",
        "/etc/passwd": "outside",
        "red.png/x.png": "unreadable",
    }


def test_list_on_standard_input_ends_its_names_in_nul_where_asked(
    cli: Cli, folder: Path, table: str, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "two\nlines.png").write_bytes(picture("yellow"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"two\nlines.png\0red.png\0")))

    result = cli("encode", folder, "--table", table, "--encoder", tiny_encoder, "--files-from", "-", "-0", "--json")

    assert result.json["added"] == 2
    assert set(rows_of(table)) == {"two\nlines.png", "red.png"}


def test_list_leaves_metadata_rows_of_other_files_in_peace(
    run: Run, catalogue_folder: Path, table: str, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("images/red-circle-0.png\n")

    report = run(catalogue_folder, files_from=tmp_path / "list")

    assert counts(report) == {"added": 1}
    assert rows_of(table)["red-circle-0"]["title"] == "A red circle"


def test_prune_with_a_list_removes_only_what_is_gone_from_the_disk(
    run: Run, folder: Path, table: str, tmp_path: Path
) -> None:
    run()
    (folder / "green.png").unlink()
    (tmp_path / "list").write_text("red.png\n")

    report = run(files_from=tmp_path / "list", prune=True)

    assert counts(report) == {"unchanged": 1, "removed": 1}
    assert len(rows_of(table)) == 5


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_list_without_names_leaves_everything_as_it_is(run: Run, tmp_path: Path, table: str, content: str) -> None:
    (tmp_path / "list").write_text(content)

    assert counts(run(files_from=tmp_path / "list")) == {}
    run()
    assert counts(run(files_from=tmp_path / "list")) == {}
    assert len(rows_of(table)) == 6


def test_list_with_another_separator_is_explained(run: Run, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("a\0b\0")

    with pytest.raises(DataError, match="holds NUL bytes; wanted one name a line"):
        run(files_from=tmp_path / "list")


def test_tars_become_rows_with_their_metadata(run: Run, shards: Path, table: str) -> None:
    report = run(shards)

    assert counts(report) == {"added": 6}
    row = rows_of(table)["green-square"]
    assert (row["folder"], row["file_name"]) == (str(shards), "001.tar/green-square.png")
    assert (row["title"], row["text"], row["price"], row["tags"]) == (
        "A green square",
        "green square",
        1.5,
        '["green"]',
    )
    assert row["size_bytes"] == len(picture("green", "square"))
    assert row["mtime_ns"] == (shards / "001.tar").stat().st_mtime_ns


def test_images_of_a_tar_take_few_bytes_each_while_they_are_listed(tmp_path: Path) -> None:
    small, large = (
        write_tar(tmp_path / f"{count}.tar", {f"{number:08}.jpg": b"" for number in range(count)})
        for count in (10, 3000)
    )
    scan_tars([Shard(path=small, file_name=small.name)])  # imports what it needs
    tracemalloc.start()

    scan = scan_tars([Shard(path=large, file_name=large.name)])
    held, _ = tracemalloc.get_traced_memory()

    tracemalloc.stop()
    assert len(scan.candidates) == 3000
    assert held < 3000 * 150


def test_column_of_many_tars_has_the_type_of_all_its_values(
    run: Run, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinembed.catalogue.json_rows.ROWS_AT_ONCE", 2)
    prices: tuple[Any, ...] = (1, 2.5, 3, None, 4, "5 or 6", True)
    for number, price in enumerate(prices):
        fields = {"price": price, "size": price if number < 3 else number, "stock": number} | (
            {"late": number} if number > 3 else {}
        )
        members = {f"{number}.png": picture(COLORS[number % 3], view=number), f"{number}.json": fields}
        write_tar(tmp_path / f"tars/{number}.tar", members)

    run(tmp_path / "tars")

    rows = rows_of(table)
    stored = {name: [rows[str(number)][name] for number in range(len(prices))] for name in rows["0"]}
    assert stored["price"] == ["1", "2.5", "3", None, "4", "5 or 6", "true"]
    assert stored["size"] == [1.0, 2.5, 3.0, 3.0, 4.0, 5.0, 6.0]
    assert stored["stock"] == list(range(len(prices)))
    assert stored["late"] == [None, None, None, None, 4, 5, 6]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_row_of_a_shard_has_the_vector_of_the_same_picture_in_a_folder(
    run: Run, shards: Path, table: str, tmp_path: Path, kind: str
) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    for color in COLORS:
        (loose / f"{color}-circle").with_suffix(".png").write_bytes(picture(color))
    source = shards / "000.tar" if kind == "tar" else write_parquet(tmp_path / "p/train.parquet")

    run(source)
    run(loose, table=f"{table}-loose")

    packed, unpacked = rows_of(table), rows_of(f"{table}-loose")
    for color in COLORS:
        one, other = packed[f"{color}-circle"], unpacked[f"{color}-circle.png"]
        assert one["sha256"] == other["sha256"]
        np.testing.assert_allclose(one["vector"], other["vector"], atol=1e-3)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_second_run_over_shards_reads_no_picture_and_commits_nothing(
    run: Run, shards: Path, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = shards if kind == "tar" else write_parquet(tmp_path / "p/train.parquet").parent
    first = run(source)
    before = version_of(table)
    monkeypatch.setattr("pinembed.images.pool.LoadingPool.__init__", lambda *args, **kwargs: pytest.fail("loaded"))

    report = run(source)

    assert counts(report) == {"unchanged": first.counts.added}
    assert version_of(table) == before


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_shard_that_was_only_touched_is_hashed_and_not_encoded(
    run: Run, shards: Path, table: str, tmp_path: Path, kind: str
) -> None:
    source = shards / "000.tar" if kind == "tar" else write_parquet(tmp_path / "p/train.parquet")
    run(source)
    touch(source)

    report = run(source)

    assert (counts(report), report.counts.encoded) == ({"updated": 3}, 0)
    assert counts(run(source)) == {"unchanged": 3}


def test_picture_that_moved_to_another_tar_keeps_its_vector(run: Run, shards: Path, table: str) -> None:
    run(shards)
    (shards / "000.tar").rename(shards / "first.tar")

    report = run(shards, prune=True)

    assert (report.counts.encoded, report.counts.rows, report.counts.removed) == (0, 6, 0)
    assert rows_of(table)["red-circle"]["file_name"] == "first.tar/red-circle.png"


def test_metadata_that_changed_in_a_tar_updates_the_row_without_encoding(run: Run, shards: Path, table: str) -> None:
    write_tar(shards / "000.tar", {"a.png": picture("red"), "a.json": {"title": "before"}})
    run(shards / "000.tar")
    write_tar(shards / "000.tar", {"a.png": picture("red"), "a.json": {"title": "after"}})

    report = run(shards / "000.tar")

    assert (counts(report), report.counts.encoded) == ({"updated": 1}, 0)
    assert rows_of(table)["a"]["title"] == "after"


def test_tar_that_is_cut_gives_what_is_before_the_cut_and_prune_spares_the_rest(
    run: Run, shards: Path, table: str
) -> None:
    run(shards)
    whole = (shards / "000.tar").read_bytes()
    (shards / "000.tar").write_bytes(whole[: len(whole) // 2])

    report = run(shards, prune=True)

    assert (report.counts.rows, report.counts.removed, report.failures) == (6, 0, {"broken_shard": 1})
    assert "000.tar is cut or damaged" in report.failed_images[0].message
    (shards / "000.tar").write_bytes(whole)
    assert run(shards).counts.failed == 0
    assert failures_of(table) == {}


def test_picture_in_which_the_tar_is_cut_is_truncated_and_not_read_every_night(
    run: Run, tmp_path: Path, table: str
) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.png": picture("red"), "b.png": picture("blue")})
    path.write_bytes(path.read_bytes()[: 512 + 512 + 512 + 100])

    first = run(path, max_failure_rate=1.0)
    again = run(path, max_failure_rate=1.0)

    assert first.failures == again.failures
    assert failures_of(table)["b"] == "truncated"
    assert again.not_retried == 2


def test_tar_without_its_end_mark_is_taken_for_cut(run: Run, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"a.png": picture("red")})
    content = path.read_bytes().rstrip(b"\0")
    path.write_bytes(content + b"\0" * (-len(content) % 512))

    assert counts(run(path)) == {"added": 1, "failed": 1}


def test_equal_keys_in_two_tars_are_told_and_the_first_one_counts(run: Run, shards: Path, table: str) -> None:
    write_tar(shards / "002.tar", {"red-circle.jpg": picture("yellow"), "new.png": picture("yellow")})

    report = run(shards)

    assert (report.counts.added, report.failures) == (7, {"id_taken": 1})
    assert report.failed_images[0].message == (
        "002.tar/red-circle.jpg has the id red-circle, which 000.tar/red-circle.png has."
    )


def test_id_in_the_json_names_the_item_where_keys_start_over_in_each_tar(run: Run, tmp_path: Path, table: str) -> None:
    for number, color in enumerate(("red", "blue")):
        members = {"0.png": picture(color), "0.json": {"id": 100 + number, "sha256": "theirs", "a.b": 1}}
        write_tar(tmp_path / f"t/{number}.tar", members)

    run(tmp_path / "t")

    rows = rows_of(table)
    assert set(rows) == {"100", "101"}
    assert (rows["100"]["source_sha256"], rows["100"]["a_b"]) == ("theirs", 1)


def test_member_with_useless_metadata_or_that_is_a_link_fails_alone(run: Run, tmp_path: Path, table: str) -> None:
    path = write_tar(
        tmp_path / "a.tar",
        {
            "good.png": picture("red"),
            "list.png": picture("blue"),
            "list.json": b"[1, 2]",
            "half.png": picture("green"),
            "half.json": b'{"title": ',
            "broken.png": b"no picture",
            "._good.png": b"what macOS adds",
            "alone.json": {"title": "no picture"},
        },
    )
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "good.png"
        tar.addfile(link)

    run(path, max_failure_rate=1.0)

    assert set(rows_of(table)) == {"good"}
    assert failures_of(table) == {
        "a.tar/list.png": "broken_metadata",
        "a.tar/half.png": "broken_metadata",
        "a.tar/link.png": "not_a_file",
        "broken": "not_an_image",
    }


def test_tar_that_is_rewritten_while_it_is_read_is_noticed(run: Run, shards: Path, table: str) -> None:
    from pinembed.images import pool

    honest = pool.LoadingPool.__init__

    def rewriting(self: pool.LoadingPool, *args: Any, **kwargs: Any) -> None:
        write_tar(shards / "000.tar", {"red-circle.png": picture("yellow")})
        touch(shards / "000.tar")
        honest(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool.LoadingPool, "__init__", rewriting)
        report = run(shards / "000.tar", max_failure_rate=1.0)

    assert report.failures == {"changed_while_read": 3}
    assert counts(run(shards / "000.tar")) == {"added": 1}


def test_parquet_rows_become_rows_with_their_columns(run: Run, tmp_path: Path, table: str) -> None:
    report = run(write_parquet(tmp_path / "p/train.parquet"))

    assert counts(report) == {"added": 3}
    row = rows_of(table)["blue-circle"]
    assert (row["file_name"], row["label"]) == ("train.parquet/image/2", 2)
    assert EmbeddingTable.open(table).schema.field("label").type == pa.int64()
    assert "image" not in row


def test_parquet_of_plain_bytes_without_ids_names_rows_by_their_place(run: Run, tmp_path: Path, table: str) -> None:
    columns = {"img": [picture("red"), None, picture("blue"), b"no picture"], "mask": [b"", b"", b"", b""]}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)

    report = run(path, image_column="img")

    assert report.failures == {"empty": 1, "not_an_image": 1}
    assert set(rows_of(table)) == {"a.parquet/0", "a.parquet/2"}


def test_parquet_without_a_column_of_images_is_explained(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"title": ["x"], "price": [1]}), path)

    with pytest.raises(DataError, match="has no column of image bytes; its columns are title, price"):
        run(path)


def test_parquet_with_several_columns_of_bytes_asks_which(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"front": [picture("red")], "back": [picture("blue")]}), path)

    with pytest.raises(DataError, match="has 2 columns of image bytes: front, back"):
        run(path)
    with pytest.raises(DataError, match="has no column side of image bytes; it has front, back"):
        run(path, image_column="side")
    assert counts(run(path, image_column="back")) == {"added": 1}


def test_parquet_that_is_damaged_in_the_middle_names_the_rows_that_it_costs(
    run: Run, tmp_path: Path, table: str
) -> None:
    path = write_parquet(tmp_path / "a.parquet", rows_per_group=1)
    content = bytearray(path.read_bytes())
    at = content.find(picture("green"))
    content[at - 40 : at + 40] = os.urandom(80)
    path.write_bytes(content)

    report = run(path)

    assert (report.counts.added, report.counts.failed) == (2, 1)
    assert set(rows_of(table)) == {"red-circle", "blue-circle"}


def test_parquet_whose_metadata_is_damaged_gives_the_rows_before(run: Run, tmp_path: Path, table: str) -> None:
    path = tmp_path / "a.parquet"
    rows = {"image": [picture(color) for color in COLORS], "title": ["first one", "second one", "third one"]}
    pq.write_table(pa.table(rows), path, row_group_size=1, use_dictionary=False, write_statistics=False)
    path.write_bytes(path.read_bytes().replace(b"second one", b"second \xff\xfee"))

    report = run(path)

    assert (counts(report), report.failures) == ({"added": 1, "failed": 1}, {"broken_shard": 1})
    assert rows_of(table)["a.parquet/0"]["title"] == "first one"
    assert counts(run(path)) == {"unchanged": 1, "failed": 1}


def test_parquet_that_is_cut_is_explained(run: Run, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet")
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(
        DataError, match=r"a.parquet holds no image in 1 file\(s\). a.parquet cannot be read as Parquet"
    ):
        run(path)


def test_contents_that_are_equal_across_parquet_and_folder_are_encoded_once(
    run: Run, tmp_path: Path, table: str
) -> None:
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose/red.png").write_bytes(picture("red"))
    run(tmp_path / "loose")

    report = run(write_parquet(tmp_path / "p/train.parquet"))

    assert (report.counts.encoded, report.counts.duplicate, report.counts.rows) == (2, 1, 4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: write_tar(root / "a.tar", {"b.tar": b"x" * 600}), "holds no image in 1 file"),
        (lambda root: (root / "a.tar.gz").write_bytes(b"\x1f\x8b") and root / "a.tar.gz", "is compressed"),
        (lambda root: (root / "a.tar").write_bytes(b"") or root / "a.tar", "a.tar is cut or damaged"),
        (
            lambda root: write_tar(root / "b/a.tar", {"a.png": b"x"}) and write_parquet(root / "b/a.parquet").parent,
            r"holds 1 tar and 1 Parquet file\(s\)",
        ),
    ],
)
def test_shards_that_cannot_be_used_are_explained(
    run: Run, tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        run(make(tmp_path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"metadata": Path("rows.csv")}, "--metadata goes with a folder of images; .* bring their own metadata"),
        ({"files_from": Path("list")}, "--files-from goes with a folder of images"),
        ({"image_column": "image"}, "--image-column goes with Parquet files"),
        ({"null_separated": True}, "--null says how --files-from is separated; there is none"),
    ],
)
def test_options_that_do_not_go_with_tars_are_refused(
    run: Run, shards: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        run(shards / "000.tar", **options)


def test_prune_of_a_folder_spares_rows_whose_tar_is_elsewhere_and_there(
    run: Run, folder: Path, shards: Path, table: str
) -> None:
    run(shards)
    run()

    assert run(prune=True, force=True).counts.removed == 0
    (shards / "000.tar").unlink()
    assert run(prune=True, force=True).counts.removed == 3


def test_picture_in_a_shard_is_found_again_by_the_name_that_its_row_has(
    run: Run, shards: Path, table: str, tmp_path: Path
) -> None:
    run(shards)
    run(write_parquet(tmp_path / "p/train.parquet", shape="square"))

    for row in rows_of(table).values():
        assert read_image(Path(row["folder"], row["file_name"])).size == (48, 48)


def test_parquet_that_names_a_column_twice_is_explained(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table([pa.array([picture("red")]), pa.array([1]), pa.array([2])], names=["image", "t", "t"]), path
    )

    with pytest.raises(DataError, match="it has several columns t"):
        run(path)
