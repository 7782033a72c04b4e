"""encode over images in an object store: the same rows as from a folder, few requests, and each trouble told."""

from __future__ import annotations

import io
import json
import tarfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pinembed.catalogue.listing import expand_braces, has_braces
from pinembed.catalogue.shards import Shard
from pinembed.catalogue.tar_shards import scan_tars
from pinembed.encoding import folders
from pinembed.errors import DataError, StoreError
from pinembed.images import remote
from pinembed.images.loading import load_pixels
from pinembed.images.read import read_members
from pinembed.jobs import encode as encode_job
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.item import FileRange
from pinembed.reports.encode import EncodeReport
from pinembed.stores import ranged
from pinembed.stores.address import Address
from pinembed.stores.objects import put_object, remove_object
from pinembed.stores.options import use_storage_options
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult, draw_item
from tests.encoding import counts, failures_of, rows_of, version_of
from tests.object_store import BUCKET, OPEN, PUBLIC, S3Server, flags
from tests.store_fronts import FRONTS

pytest_plugins = ("tests.encoding_fixtures",)
Cli = Callable[..., CliResult]
Run = Callable[..., EncodeReport]
COLORS = ("red", "green", "blue", "yellow")


@pytest.fixture
def prefix(at_s3: S3Server, tmp_path: Path) -> Address:
    """Of the test's own."""
    return Address("s3", BUCKET, tmp_path.name)


def put_up(folder: Path, prefix: Address) -> Path:
    """A folder's files as objects; the address as settings take it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            put_object(prefix / path.relative_to(folder).as_posix(), path)
    return Path(str(prefix))


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Three tars of four items with JSON beside each."""
    root = tmp_path / "tars"
    root.mkdir()
    for number in range(3):
        with tarfile.open(root / f"{number:03}.tar", "w") as tar:
            for color in COLORS:
                stream = io.BytesIO()
                draw_item(color, "circle", number).save(stream, "PNG")
                described = json.dumps({"title": f"{color} {number}", "price": number}).encode()
                for suffix, content in (("png", stream.getvalue()), ("json", described)):
                    header = tarfile.TarInfo(f"{color}-{number}.{suffix}")
                    header.size = len(content)
                    tar.addfile(header, io.BytesIO(content))
    return root


@pytest.fixture
def parquets(tmp_path: Path) -> Path:
    root = tmp_path / "parquets"
    root.mkdir()
    for number in range(2):
        images = []
        for color in COLORS:
            stream = io.BytesIO()
            draw_item(color, "square", number).save(stream, "PNG")
            images.append({"bytes": stream.getvalue(), "path": None})
        table = pa.table({"image": images, "title": [f"{color} {number}" for color in COLORS]})
        pq.write_table(table, root / f"{number}.parquet", row_group_size=2)
    return root


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The address of each object whose bytes a run has asked for, once a request."""
    addresses: list[str] = []

    def noting(real: Callable[..., Any]) -> Callable[..., Any]:
        def noted(address: Address, *args: Any, **more: Any) -> Any:
            addresses.append(str(address))
            return real(address, *args, **more)

        return noted

    for module, name in ((ranged, "read_range"), (remote, "read_range"), (remote, "read_object")):
        monkeypatch.setattr(module, name, noting(getattr(module, name)))
    return addresses


def comparable(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Without what says where the files lie."""
    apart = {"folder", "mtime_ns", "file_name"}
    return {item: {name: value for name, value in row.items() if name not in apart} for item, row in rows.items()}


def test_prefix_gives_the_rows_of_the_folder_that_was_put_up(
    run: Run, folder: Path, prefix: Address, table: str, asked: list[str]
) -> None:
    (folder / "metadata.csv").write_text("file_name,id,title\nred.png,r,A red one\nsub/blue.jpg,b,Blue\n")
    address = put_up(folder, prefix)

    report = run(address)
    local = run(table=f"{table}-local")

    assert counts(report) == counts(local) == {"added": 6}
    rows = rows_of(table)
    assert comparable(rows) == comparable(rows_of(f"{table}-local"))
    assert {row["folder"] for row in rows.values()} == {str(prefix)}
    assert all(row["mtime_ns"] < 0 for row in rows.values())
    assert sorted(asked) == sorted(f"{prefix}/{path.relative_to(folder)}" for path in folder.rglob("*.*g"))
    assert report.notes == local.notes


@pytest.mark.parametrize("scheme", FRONTS)
def test_images_and_table_in_other_stores_give_the_rows_of_the_folder(
    run: Run, folder: Path, tmp_path: Path, at_s3: S3Server, scheme: str
) -> None:
    with FRONTS[scheme](at_s3.endpoint) as options:
        use_storage_options(options)
        prefix = Address(scheme, OPEN, tmp_path.name)
        images, table = put_up(folder, prefix / "images"), f"{prefix}/db/pins"

        report, again = run(images, table=table), run(images, table=table)
        local = run()

        assert (counts(report), counts(again)) == (counts(local), {"unchanged": 6})
        assert comparable(rows_of(table)) == comparable(rows_of(local.table))


def test_object_that_stands_for_a_folder_is_no_image(run: Run, folder: Path, prefix: Address) -> None:
    address = put_up(folder, prefix)
    put_object(prefix / "sub/empty", b"")

    report = run(address)

    assert (counts(report), report.failures) == ({"added": 6}, {})


def test_second_run_over_a_prefix_asks_for_no_image_and_commits_nothing(
    run: Run, folder: Path, prefix: Address, table: str, asked: list[str]
) -> None:
    address = put_up(folder, prefix)
    run(address)
    version = version_of(table)
    asked.clear()
    put_up(folder, prefix)  # the same bytes have the same ETags, whenever they came

    assert counts(run(address)) == {"unchanged": 6}
    assert asked == []
    assert version_of(table) == version


def test_object_that_is_another_is_encoded_again_and_one_that_is_gone_is_pruned(
    run: Run, folder: Path, prefix: Address, table: str
) -> None:
    address = put_up(folder, prefix)
    run(address)
    draw_item("yellow", "square", 1).save(folder / "red.png")
    put_object(prefix / "red.png", folder / "red.png")
    remove_object(prefix / "sub/blue.jpg")

    assert counts(run(address, prune=True)) == {"updated": 1, "unchanged": 4, "removed": 1}
    assert "sub/blue.jpg" not in rows_of(table)


def test_rows_of_a_prefix_that_is_empty_are_spared(run: Run, folder: Path, prefix: Address, table: str) -> None:
    run(put_up(folder, prefix / "here"), id_prefix="s3-")
    for name in rows_of(table):
        remove_object(prefix / "here" / name.removeprefix("s3-"))

    report = run(folder, prune=True, force=True)

    assert counts(report) == {"duplicate": 6}
    assert any(f"{prefix}/here is missing or empty" in note for note in report.notes)
    assert len(rows_of(table)) == 12
    with pytest.raises(DataError, match=f"{prefix}/here holds no object"):
        run(Path(f"{prefix}/here"))


def test_prefix_that_moved_is_known_by_its_content(run: Run, folder: Path, prefix: Address, table: str) -> None:
    run(put_up(folder, prefix / "old"))
    before = rows_of(table)
    for name in before:
        remove_object(prefix / "old" / name)

    report = run(put_up(folder, prefix / "new"))

    assert (report.failures, report.counts.encoded) == ({}, 0)
    assert {item: row["folder"] for item, row in rows_of(table).items()} == dict.fromkeys(before, f"{prefix}/new")


def test_equal_names_on_this_machine_and_in_a_store_are_told(
    run: Run, folder: Path, prefix: Address, table: str
) -> None:
    run(folder)
    report = run(put_up(folder, prefix))
    assert report.failures == {"id_taken": 6}
    assert {row["folder"] for row in rows_of(table).values()} == {str(folder)}
    assert counts(run(Path(str(prefix)), id_prefix="s3-")) == {"duplicate": 6}


def test_list_names_the_only_objects_that_are_encoded(run: Run, folder: Path, prefix: Address, tmp_path: Path) -> None:
    address = put_up(folder, prefix)
    names = tmp_path / "list.txt"
    names.write_text(f"red.png\n{prefix}/sub/red.jpg\n./red.png\nnone.png\ns3://other/red.png\n")

    report = run(address, files_from=names)

    assert (report.counts.added, report.failures) == (2, {"missing_file": 1, "outside": 1})
    assert "stand for a file that it has named before" in "".join(report.notes)


@pytest.mark.parametrize("braces", [False, True])
def test_tars_in_a_store_give_the_rows_of_tars_on_disk_in_few_requests(
    run: Run, tars: Path, prefix: Address, table: str, asked: list[str], braces: bool
) -> None:
    address = put_up(tars, prefix)

    report = run(Path(f"{address}/{{000..002}}.tar") if braces else address)
    run(tars, table=f"{table}-local")

    assert counts(report) == {"added": 12}
    rows, local = rows_of(table), rows_of(f"{table}-local")
    assert comparable(rows) == comparable(local)
    assert {row["file_name"] for row in rows.values()} == {row["file_name"] for row in local.values()}
    assert {row["folder"] for row in rows.values()} == {str(prefix)}
    assert len(asked) == 2 * 3  # a tar for its headers, and for its pictures

    asked.clear()
    assert counts(run(address)) == {"unchanged": 12}
    assert asked == []


def test_parquet_in_a_store_gives_the_rows_of_parquet_on_disk(
    run: Run, parquets: Path, prefix: Address, table: str, asked: list[str]
) -> None:
    address = put_up(parquets, prefix)
    assert counts(run(address)) == {"added": 8}
    run(parquets, table=f"{table}-local")
    assert comparable(rows_of(table)) == comparable(rows_of(f"{table}-local"))
    assert counts(run(address)) == {"unchanged": 8}
    assert len(set(asked)) == 2


@pytest.mark.parametrize("kind", ["prefix", "tars", "parquets"])
def test_object_that_vanishes_after_the_listing_fails_alone(
    kind: str, run: Run, prefix: Address, table: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, gone, lost = {
        "prefix": ("folder", "red.png", {"red.png"}),
        "tars": ("tars", "001.tar", {f"{color}-1" for color in COLORS}),
        "parquets": ("parquets", "1.parquet", {f"1.parquet/{row}" for row in range(4)}),
    }[kind]
    address = put_up(request.getfixturevalue(local), prefix)
    real = encode_job.find_inputs

    def then_gone(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)
        remove_object(prefix / gone)
        return found

    monkeypatch.setattr(encode_job, "find_inputs", then_gone)
    report = run(address)

    assert failures_of(table) == dict.fromkeys(lost, "missing_file")
    assert str(prefix) in report.failed_images[0].message
    assert report.counts.added == len(rows_of(table)) > 0


@pytest.mark.parametrize("kind", ["tars", "parquets", "folder"])
def test_objects_come_in_parts_as_they_come_in_one(
    kind: str, run: Run, prefix: Address, table: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    address = put_up(request.getfixturevalue(kind), prefix)
    whole = str(tmp_path / "whole" / "pins")
    run(address, table=whole)
    run(address, plan_images=5)
    assert rows_of(table) == rows_of(whole)
    assert run(address, plan_images=5, prune=True).counts.unchanged == len(rows_of(table))


def test_tar_that_is_rewritten_after_the_listing_is_noticed(
    run: Run, tars: Path, prefix: Address, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = put_up(tars, prefix)
    real = encode_job.find_inputs

    def then_another(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)
        put_object(prefix / "001.tar", tars / "000.tar")
        return found

    monkeypatch.setattr(encode_job, "find_inputs", then_another)
    run(address)
    assert failures_of(table) == {f"{color}-1": "changed_while_read" for color in COLORS}
    monkeypatch.undo()


def test_tar_that_is_cut_in_the_store_gives_what_is_before_the_cut(
    run: Run, tars: Path, prefix: Address, table: str
) -> None:
    whole = (tars / "002.tar").read_bytes()
    with tarfile.open(tars / "002.tar") as tar:
        third = tar.getmembers()[4]
    (tars / "002.tar").write_bytes(whole[: third.offset_data + third.size // 2])

    run(put_up(tars, prefix))

    assert failures_of(table) == {"002.tar": "broken_shard", "blue-2": "truncated"}
    assert len(rows_of(table)) == 10


def test_store_that_goes_away_ends_the_run_with_a_sentence(
    run: Run, folder: Path, prefix: Address, at_s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = put_up(folder, prefix)
    real = encode_job.find_inputs

    def then_away(*args: Any, **more: Any) -> Any:
        found = real(*args, **more)
        use_storage_options({**at_s3.options, "aws_endpoint": "http://127.0.0.1:1"})
        return found

    monkeypatch.setattr(encode_job, "find_inputs", then_away)
    with pytest.raises(StoreError, match="does not answer"):
        run(address)


def test_picture_in_a_store_is_found_again_by_the_name_that_its_row_has(
    run: Run, tars: Path, parquets: Path, folder: Path, prefix: Address, table: str
) -> None:
    preprocessing = Preprocessing(image_px=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    for local, name in ((tars, "001.tar/red-1.png"), (parquets, "1.parquet/image/2"), (folder, "sub/red.jpg")):
        put_up(local, prefix)
        there = load_pixels(prefix / name, preprocessing)
        assert (there == load_pixels(local / name, preprocessing)).all()


def test_public_images_are_encoded_without_credentials(
    run: Run, folder: Path, at_s3: S3Server, tmp_path: Path, table: str
) -> None:
    address = put_up(folder, Address("s3", PUBLIC, tmp_path.name))
    use_storage_options(at_s3.anonymous)
    assert counts(run(address)) == {"added": 6}


def test_command_line_takes_images_table_and_encoder_in_a_store(
    cli: Cli, folder: Path, tiny_encoder: Path, prefix: Address, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_up(folder, prefix / "images")
    put_up(tiny_encoder, prefix / "encoder")
    use_storage_options({})
    given = [f"{prefix}/images", "--table", f"{prefix}/db/pins", "--encoder", f"{prefix}/encoder", "--json"]

    first = cli("encode", *given, *flags(s3.options))
    assert (first.exit_code, first.json["added"]) == (0, 6)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    second = cli("encode", *given)
    assert (second.exit_code, second.json["unchanged"]) == (0, 6)

    shown = cli("inspect", "--table", f"{prefix}/db/pins", "--json").json
    assert (shown["rows"], shown["reference"], shown["locked_by"]) == (6, f"{prefix}/encoder", "")
    sheet = f"{prefix}/out/sheet.png"
    found = cli("search", "--table", f"{prefix}/db/pins", "--item", "red.png", "-k", "2", "--sheet", sheet, "--json")
    assert (found.exit_code, found.json["sheet"]) == (0, sheet)
    assert EmbeddingTable.open(f"{prefix}/db/pins").count_rows() == 6


@pytest.mark.parametrize(
    ("written", "names"),
    [
        ("a-{08..11}.tar", ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
        ("plain{x}.tar", ["plain{x}.tar"]),
    ],
)
def test_braces_stand_for_names(written: str, names: list[str]) -> None:
    assert list(expand_braces(written)) == names
    assert has_braces(written) == (len(names) > 1)


def test_shards_that_braces_name_and_that_are_not_there_are_told(run: Run, tars: Path, prefix: Address) -> None:
    put_up(tars, prefix)
    with pytest.raises(DataError, match=r"names 2 object\(s\) that are not there: .*003\.tar"):
        run(Path(f"{prefix}/{{001..004}}.tar"))


def test_row_whose_store_does_not_answer_may_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(_: Address) -> None:
        raise StoreError("away", remedy="wait")

    monkeypatch.setattr(folders, "look_at", away)
    assert folders.Folders(None, {}).may_hold(f"s3://{BUCKET}/a", "b.jpg")


def test_prefix_of_which_many_names_are_asked_for_is_listed(prefix: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jpg", "000.tar"):
        put_object(prefix / name, b"1")
    monkeypatch.setattr(folders, "ASKED_ONE_BY_ONE", 2)
    held = folders.Folders(None, {})
    names = ("a.jpg", "000.tar/b.jpg", "gone.jpg", "001.tar/b.jpg")
    for _ in range(2):
        assert [held.may_hold(str(prefix), name) for name in names] == [True, True, False, False]


def test_headers_of_several_tars_in_a_store_are_read_at_the_same_time(
    tars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=20)  # which one reader alone does not pass

    @contextmanager
    def read_by_two(place: Any, found: Any) -> Iterator[tuple[tarfile.TarFile, int, str]]:
        if place.name != "002.tar":
            both.wait()
        with tarfile.open(tars / place.name) as tar:
            yield tar, 1, "tag"

    monkeypatch.setattr("pinembed.catalogue.tar_shards.opened_tar", read_by_two)
    shards = [Shard(path=Address("s3", BUCKET, name), file_name=name) for name in ("000.tar", "001.tar", "002.tar")]

    scan = scan_tars(shards)

    assert [name.partition("/")[0] for name in scan.candidates.names.to_pylist()] == [
        shard.file_name for shard in shards for _ in COLORS
    ]


def test_members_of_a_range_are_cut_out_without_copying_what_follows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    content, size_bytes = bytes(4 << 20), 1000
    monkeypatch.setattr("pinembed.images.read.read_remote", lambda image: (content, 7))
    tar = Address("s3", BUCKET, "a.tar")
    members = [
        FileRange(path=tar, name=f"{place}.jpg", offset=place * size_bytes, size_bytes=size_bytes, mtime_ns=7)
        for place in range(1000)
    ]
    tracemalloc.start()

    found = [answer for answer in read_members(members) if isinstance(answer, tuple)]
    _, peak_bytes = tracemalloc.get_traced_memory()

    tracemalloc.stop()
    assert [len(part) for part, _ in found] == [size_bytes] * 1000
    assert peak_bytes < 2 << 20
