"""Faults that people report of comparable tools, each as a small input and what is right; each stands for its kind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from tests.conftest import CliResult
from tests.encoding import failures_of, rows_of
from tests.odd_data import noise, png, two_images, write_tar

pytest_plugins = ("tests.odd_fixtures",)
Cli = Callable[..., CliResult]


def assert_each_row_is_its_files(table: str, rows: int) -> None:
    """Every stored row has the hash of the file that its folder and file name lead to."""
    found = rows_of(table)
    assert len(found) == rows
    for row in found.values():
        path = Path(row["folder"]) / row["file_name"]
        if path.is_file():
            assert row["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest(), row["id"]


# identity without place


def equal_names(tmp_path: Path) -> tuple[Path, Path]:
    for name, first in (("x", 0), ("y", 9)):
        (tmp_path / name).mkdir()
        for index in range(4):
            path = tmp_path / name / f"{index}.bmp"
            noise(first + index).save(path)
            os.utime(path, (315532800,) * 2)
    return tmp_path / "x", tmp_path / "y"


def test_equal_names_in_two_folders_collide_and_the_first_holder_is_named(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    first, second = equal_names(tmp_path)
    assert encode(first).json["added"] == 4
    before = rows_of(table)
    found = encode(second, "--max-failure-rate", "1").json
    assert found["failures"] == {"id_taken": 4}
    assert str(first / "0.bmp") in found["failed_images"][0]["message"]
    assert rows_of(table) == before
    assert_each_row_is_its_files(table, 4)


def test_a_prefix_lets_two_folders_of_equal_names_share_a_table(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    first, second = equal_names(tmp_path)
    encode(first, "--id-prefix", "x/")
    assert encode(second, "--id-prefix", "y/").json["added"] == 4
    assert encode(second, "--id-prefix", "y/").json["unchanged"] == 4
    assert set(rows_of(table)) == {f"{folder}/{index}.bmp" for folder in "xy" for index in range(4)}
    assert_each_row_is_its_files(table, 8)


def test_a_folder_that_moved_keeps_its_rows_and_is_not_encoded_again(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    first, _ = equal_names(tmp_path)
    encode(first)
    shutil.move(first, tmp_path / "z")
    found = encode(tmp_path / "z").json
    assert (found["updated"], found["encoded"], found["failed"]) == (4, 0, 0)
    assert {row["folder"] for row in rows_of(table).values()} == {str(tmp_path / "z")}
    assert_each_row_is_its_files(table, 4)


def test_other_pictures_take_the_names_of_a_folder_that_is_away_only_when_it_is_said_to_be_gone(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    first, second = equal_names(tmp_path)
    encode(first)
    before = rows_of(table)
    shutil.rmtree(first)
    found = encode(second, "--max-failure-rate", "1")
    assert found.json["failures"] == {"id_taken": 4}
    assert "--moved-from" in found.json["failed_images"][0]["message"]
    assert rows_of(table) == before
    assert encode(second, "--moved-from", first).json["encoded"] == 4
    assert_each_row_is_its_files(table, 4)
    assert failures_of(table) == {}


def test_equal_keys_in_tars_of_two_folders_collide(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    for index, name in enumerate(("cats", "dogs")):
        members = {"000000000.png": png((index * 90, 10, 10)), "000000001.png": png((10, index * 90, 10))}
        write_tar(tmp_path / name / "00000.tar", members)
    encode(tmp_path / "cats" / "00000.tar")
    before = rows_of(table)
    found = encode(tmp_path / "dogs" / "00000.tar", "--max-failure-rate", "1").json
    assert found["failures"] == {"id_taken": 2}
    assert rows_of(table) == before


# absence of the root taken for absence of the file


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["prune", "prune-and-force"])
@pytest.mark.parametrize("away", ["missing", "empty"])
def test_prune_spares_the_rows_of_a_disk_that_is_away(
    away: str, force: tuple[str, ...], tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    for name, count in (("nas", 3), ("loc", 17)):
        (tmp_path / name).mkdir()
        for index in range(count):
            noise(index + 50 * count).save(tmp_path / name / f"{name}{index}.png")
        encode(tmp_path / name)
    (tmp_path / "nas").rename(tmp_path / "away")
    if away == "empty":
        (tmp_path / "nas").mkdir()  # what is left where a disk was mounted
    found = encode(tmp_path / "loc", "--prune", *force)
    assert found.json["removed"] == 0
    assert str(tmp_path / "nas") in found.words
    assert len(rows_of(table)) == 20


SHM = Path("/dev/shm")
other_disk = pytest.mark.skipif(
    not SHM.is_dir() or SHM.stat().st_dev == Path(tempfile.gettempdir()).stat().st_dev, reason="needs a second disk"
)


@pytest.fixture
def nas(tmp_path: Path) -> Iterator[Path]:
    """A folder of three images on a disk of its own, found by a link, as a mount would be."""
    with tempfile.TemporaryDirectory(dir=SHM) as disk:
        for index in range(3):
            noise(index + 150).save(Path(disk) / f"nas{index}.png")
        (tmp_path / "nas").symlink_to(disk)
        yield tmp_path / "nas"


def put_away(nas: Path) -> None:
    """The disk goes, and what it hid comes to light: a folder that is not empty."""
    nas.unlink()
    nas.mkdir()
    noise(1000).save(nas / "stray.png")


@other_disk
def test_prune_spares_the_rows_of_a_folder_that_is_on_another_disk(
    nas: Path, tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    encode(nas)
    encode(two_images(tmp_path / "loc"))
    put_away(nas)
    for night in range(2):
        for folder, rows in ((tmp_path / "loc", 5 + (night > 0)), (nas, 6)):
            found = encode(folder, "--prune", "--force")
            assert (found.json["removed"], len(rows_of(table))) == (0, rows)
            assert f"{nas} is on another disk than before" in found.words


@other_disk
def test_a_folder_that_stays_on_another_disk_is_pruned_once_that_is_said(
    nas: Path, encode: Callable[..., CliResult], table: str
) -> None:
    encode(nas)
    put_away(nas)
    assert encode(nas, "--prune", "--force").json["removed"] == 0
    assert encode(nas, "--prune", "--force", "--moved-from", nas).json["removed"] == 3
    assert set(rows_of(table)) == {"stray.png"}
    noise(1001).save(nas / "new.png")
    (nas / "stray.png").unlink()
    assert encode(nas, "--prune", "--force").json["removed"] == 1


def test_a_disk_that_has_another_number_after_a_start_is_known_by_its_files(
    tmp_path: Path, encode: Callable[..., CliResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two_images(tmp_path / "x")
    noise(5).save(folder / "a2.png")
    encode(folder)
    monkeypatch.setattr("pinembed.encoding.folders.disk_of", lambda folder: 12345)
    monkeypatch.setattr("pinembed.catalogue.inputs.disk_of", lambda folder: 12345)
    (folder / "a2.png").unlink()
    assert encode(folder, "--prune", "--force").json["removed"] == 1


@pytest.mark.parametrize("away", ["missing", "empty"])
def test_prune_spares_the_rows_behind_a_link_to_a_disk_that_is_away(
    away: str, tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    disk = two_images(tmp_path / "disk")
    folder = two_images(tmp_path / "x")
    (folder / "linked").symlink_to(disk)
    (folder / "metadata.csv").write_text("file_name,t\nlinked/a0.png,x\na0.png,y\n")
    assert encode(folder).json["added"] + encode(folder).json["duplicate"] >= 1
    before = set(rows_of(table))
    disk.rename(tmp_path / "elsewhere")
    if away == "empty":
        disk.mkdir()
    (folder / "metadata.csv").write_text("file_name,t\na0.png,y\n")
    found = encode(folder, "--prune", "--force")
    assert found.json["removed"] == 0
    assert f"{folder / 'linked'} leads to nothing" in found.words
    assert set(rows_of(table)) == before


# two decoders, two orientation rules


def test_exif_behind_another_application_segment_turns_the_picture_in_both_decoders(
    tmp_path: Path, encode: Callable[..., CliResult], cli: Cli, table: str, tiny_encoder: Path
) -> None:
    def segment(content: bytes) -> bytes:
        return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content

    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((320, 200)).save(buffer, "JPEG")
    exif = Image.Exif()
    exif[0x112] = 6
    raw = buffer.getvalue()
    xmp = segment(b"http://ns.adobe.com/xap/1.0/\0<x/>")
    (tmp_path / "x").mkdir()
    path = tmp_path / "x" / "a.jpg"
    path.write_bytes(raw[:2] + xmp + segment(exif.tobytes()) + raw[2:])
    encode(tmp_path / "x")
    row = rows_of(table)["a.jpg"]
    assert (row["width_px"], row["height_px"]) == (200, 320)
    found = cli("search", "--table", table, "--image", path, "--json").json
    assert found["results"][0]["score"] == pytest.approx(1, abs=2e-3)


# types that JSON does not know


def test_a_date_is_shown_by_search(tmp_path: Path, encode: Callable[..., CliResult], cli: Cli, table: str) -> None:
    encode(two_images(tmp_path / "x", csv="file_name,added\na0.png,2024-05-01\na1.png,2024-05-02\n"))
    found = cli("search", "--table", table, "--item", "a1.png", "--json")
    assert found.json["results"][0]["fields"]["added"] == "2024-05-01"


# one odd file ends the run


@pytest.mark.parametrize("mtime_s", [10**10, -(10**9)], ids=["year-2286", "year-1938"])
def test_a_file_of_another_age_is_encoded(
    mtime_s: int, tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    folder = two_images(tmp_path / "x")
    os.utime(folder / "a1.png", (mtime_s,) * 2)
    assert encode(folder).json["added"] == 2
    assert encode(folder).json["unchanged"] == 2


# Arrow's errors as tracebacks


def test_trailing_empty_columns_are_left_out(tmp_path: Path, encode: Callable[..., CliResult], table: str) -> None:
    assert encode(two_images(tmp_path / "x", csv="file_name,t,,\na0.png,x,,\na1.png,y,,\n")).exit_code == 0
    assert {row["t"] for row in rows_of(table).values()} == {"x", "y"}


def test_a_header_that_names_a_column_twice_is_refused(tmp_path: Path, encode: Callable[..., CliResult]) -> None:
    found = encode(two_images(tmp_path / "x", csv="file_name,t,t\na0.png,x,y\na1.png,x,y\n"))
    assert found.exit_code == 1
    assert "several columns t" in found.words


def test_times_to_the_nanosecond_are_stored(tmp_path: Path, encode: Callable[..., CliResult], table: str) -> None:
    csv = "file_name,at\na0.png,2024-05-01 10:00:00.123456789\na1.png,2024-05-02 10:00:00.5\n"
    assert encode(two_images(tmp_path / "x", csv=csv)).exit_code == 0
    assert rows_of(table)["a0.png"]["at"] == "2024-05-01 10:00:00.123456789"


def test_an_id_that_is_no_text_is_refused(tmp_path: Path, encode: Callable[..., CliResult]) -> None:
    lines = [{"file_name": f"a{index}.png", "id": {"k": str(index)}} for index in (0, 1)]
    found = encode(two_images(tmp_path / "x", jsonl="\n".join(map(json.dumps, lines))))
    assert found.exit_code == 1
    assert "column id" in found.words


# a type guessed from one night and frozen


def test_a_column_without_values_takes_the_type_of_the_first_ones(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    folder = two_images(tmp_path / "x", csv="file_name,sale\na0.png,\na1.png,\n")
    assert encode(folder).exit_code == 0
    two_images(folder, csv="file_name,sale\na0.png,9.5\na1.png,\n")
    assert encode(folder).exit_code == 0
    assert rows_of(table)["a0.png"]["sale"] == 9.5


# column names that poison the table


@pytest.mark.parametrize("name", ["_distance", "_rowid", "_score", "it`s"])
def test_a_column_that_would_poison_the_table_is_refused_before_there_is_one(
    name: str, tmp_path: Path, encode: Callable[..., CliResult]
) -> None:
    encoded = encode(two_images(tmp_path / "x", csv=f"file_name,{name}\na0.png,1\na1.png,2\n"))
    assert encoded.exit_code == 1
    assert repr(name) in encoded.words
    assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("name", ["score", "distance", "vector 2", "order", "preis €"])
def test_a_column_of_an_odd_name_is_searched_and_shown(
    name: str, tmp_path: Path, encode: Callable[..., CliResult], cli: Cli, table: str
) -> None:
    assert encode(two_images(tmp_path / "x", csv=f"file_name,{name}\na0.png,1\na1.png,2\n")).exit_code == 0
    found = cli("search", "--table", table, "--item", "a0.png", "--json")
    assert found.json["results"][0]["fields"] == {name: 2}
    assert encode(tmp_path / "x").json["unchanged"] == 2


@pytest.mark.parametrize(
    ("first", "second", "stored"),
    [("1", "2.5", 2.5), ("1", "many", None), ("word", "7", "7"), ("", "true", True), ("2024-05-01", "soon", None)],
)
def test_a_type_that_the_first_night_guessed_stops_no_later_night(
    first: str, second: str, stored: object, tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    folder = two_images(tmp_path / "x", csv=f"file_name,v\na0.png,{first}\na1.png,\n")
    encode(folder)
    noise(7).save(folder / "new.png")
    (folder / "metadata.csv").write_text(f"file_name,v\na0.png,{first}\na1.png,\nnew.png,{second}\n")
    found = encode(folder)
    assert (found.exit_code, found.json["added"]) == (0, 1)
    assert rows_of(table)["new.png"]["v"] == stored
    assert (stored is None) == (f"the first is '{second}'" in found.words)
    assert encode(folder).json["unchanged"] == 3


# values changed in silence


def test_codes_keep_their_zeros(tmp_path: Path, encode: Callable[..., CliResult], table: str) -> None:
    csv = "file_name,ean,size,big\na0.png,0012,10E5,123456789012345678901\na1.png,0034,20E5,2\n"
    encode(two_images(tmp_path / "x", csv=csv))
    row = rows_of(table)["a0.png"]
    assert (row["ean"], row["size"], row["big"]) == ("0012", "10E5", "123456789012345678901")


# pixels outside of the expected range


def test_a_float_picture_a_little_above_one_is_not_black(tmp_path: Path) -> None:
    from pinembed.images.decode import read_image

    values = np.random.default_rng(0).random((60, 80)).astype("f4")
    Image.fromarray(values / values.max() * 1.001).save(tmp_path / "f.tif")
    assert 100 < np.asarray(read_image(tmp_path / "f.tif")).mean() < 155


# what belongs to a picture and is dropped, or not seen


def test_a_key_of_a_tar_ends_at_the_first_dot(tmp_path: Path, encode: Callable[..., CliResult], table: str) -> None:
    members = {"s.left.png": png("red"), "s.right.png": png("blue"), "s.json": b'{"color":"c"}'}
    encode(write_tar(tmp_path / "m.tar", members))
    assert {row["color"] for row in rows_of(table).values()} == {"c"}


def test_a_downloaders_own_folder_is_encoded(tmp_path: Path, encode: Callable[..., CliResult], table: str) -> None:
    write_tar(tmp_path / "x" / "00000.tar", {"000000000.png": png("red"), "000000000.txt": b"cap"})
    pq.write_table(pa.table({"key": ["000000000"]}), tmp_path / "x" / "00000.parquet")
    assert encode(tmp_path / "x").json["added"] == 1


def test_metadata_beside_tars_are_told_not_to_be_read(tmp_path: Path, encode: Callable[..., CliResult]) -> None:
    write_tar(tmp_path / "x" / "00000.tar", {"000000000.png": png("red")})
    (tmp_path / "x" / "metadata.csv").write_text("file_name,t\n000000000.png,x\n")
    found = encode(tmp_path / "x")
    assert found.json["added"] == 1
    assert f"metadata.csv in {tmp_path / 'x'}: not read; .tar files bring their own metadata." in found.words


def test_metadata_in_subfolders_are_read(tmp_path: Path, encode: Callable[..., CliResult], table: str) -> None:
    for index, name in enumerate(("shoes", "bags")):
        (tmp_path / "x" / name).mkdir(parents=True)
        noise(index).save(tmp_path / "x" / name / "0.png")
        (tmp_path / "x" / name / "metadata.csv").write_text(f"file_name,kind\n0.png,{name}\n")
    encode(tmp_path / "x")
    assert {row["kind"] for row in rows_of(table).values()} == {"shoes", "bags"}


@pytest.mark.parametrize("name", ["./a{}.png", ".\\a{}.png"], ids=["dot-slash", "backslash"])
def test_another_spelling_of_a_file_name_finds_the_file(
    name: str, tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    csv = f"file_name,t\n{name.format(0)},x\n{name.format(1)},y\n"
    assert encode(two_images(tmp_path / "x", csv=csv)).exit_code == 0
    assert {row["t"] for row in rows_of(table).values()} == {"x", "y"}


def test_metadata_of_which_no_row_has_a_file_is_refused(tmp_path: Path, encode: Callable[..., CliResult]) -> None:
    found = encode(two_images(tmp_path / "x", csv="file_name,t\nb0.png,x\nb1.png,y\n"))
    assert found.exit_code == 1
    assert "b0.png" in found.words


def test_a_picture_with_long_text_beside_it_is_encoded(tmp_path: Path, encode: Callable[..., CliResult]) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "x" * 1_500_000, zip=True)
    (tmp_path / "x").mkdir()
    Image.new("RGB", (40, 40), "red").save(tmp_path / "x" / "t.png", pnginfo=info)
    assert encode(tmp_path / "x").json["added"] == 1


def test_a_tilde_in_the_tables_name_is_the_users_home(
    tmp_path: Path, cli: Cli, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    folder = two_images(tmp_path / "x")
    command: tuple[Any, ...] = ("encode", folder, "--table=~/cat/pins", "--encoder", tiny_encoder, "--json")
    assert cli(*command).json["added"] == 2
    assert cli(*command).json["unchanged"] == 2
    assert (tmp_path / "home" / "cat" / "pins.lance").is_dir()
    assert not (tmp_path / "~").exists()
    assert failures_of(f"{tmp_path}/home/cat/pins") == {}


def test_a_home_that_nobody_has_becomes_no_folder(
    tmp_path: Path, cli: Cli, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = two_images(tmp_path / "x")
    encoded = cli("encode", folder, "--table=~no-such-user/pins", "--encoder", tiny_encoder)
    exported = cli("export", "--table", f"{tmp_path}/db/pins", "--out=~no-such-user/source")
    for found in (encoded, exported):
        assert found.exit_code == 2
        assert "~no-such-user is no user's home here" in found.words
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_tilde_is_the_users_home_in_options_that_come_several_times(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    found = cli("evaluate", tmp_path, "--encoder=~/one", "--against=~/other")
    assert found.exit_code == 1
    assert "~" not in found.words


# found by reading the change once more


def test_an_id_in_a_tar_is_of_the_picture_of_the_very_same_name(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    members = {"p.v2.png": png("red"), "p.png": png("blue"), "p.json": b'{"id":"P","c":"x"}'}
    encode(write_tar(tmp_path / "m.tar", members))
    rows = rows_of(table)
    assert set(rows) == {"P", "p.v2"}
    assert rows["P"]["file_name"] == "m.tar/p.png"
    assert {row["c"] for row in rows.values()} == {"x"}


def test_a_list_of_files_reads_the_metadata_of_their_folders(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    two_images(tmp_path / "x" / "train", csv="file_name,id,price\na0.png,one,5\na1.png,two,6\n")
    encode(tmp_path / "x")
    (tmp_path / "list.txt").write_text("train/a0.png\n")
    assert encode(tmp_path / "x", "--files-from", tmp_path / "list.txt").json["unchanged"] == 1
    assert set(rows_of(table)) == {"one", "two"}


def test_a_folder_that_is_still_there_is_not_moved_from(tmp_path: Path, encode: Callable[..., CliResult]) -> None:
    first, second = equal_names(tmp_path)
    encode(first)
    found = encode(second, "--moved-from", first, "--prune", "--force")
    assert found.exit_code == 2
    assert "is still there" in found.words


@pytest.mark.parametrize(
    ("first", "second", "stored"), [("2024-05-01", "2024-05-02 10:30:00", None), ("true", "5", None), ("1", "2.5", 2.5)]
)
def test_a_value_that_a_stored_type_would_change_is_left_out(
    first: str, second: str, stored: object, tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    folder = two_images(tmp_path / "x", csv=f"file_name,v\na0.png,{first}\na1.png,\n")
    encode(folder)
    two_images(folder, csv=f"file_name,v\na0.png,\na1.png,{second}\n")
    assert encode(folder).exit_code == 0
    assert rows_of(table)["a1.png"]["v"] == stored


def test_ids_in_json_lines_stay_as_they_are_written(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    lines = [{"file_name": "a0.png", "id": "2024-01-01"}, {"file_name": "a1.png", "id": "2024-01-02"}]
    encode(two_images(tmp_path / "x", jsonl="\n".join(map(json.dumps, lines))))
    assert set(rows_of(table)) == {"2024-01-01", "2024-01-02"}


def test_the_same_parquet_by_another_path_is_no_collision(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    (tmp_path / "x").mkdir()
    pq.write_table(pa.table({"id": ["a", "b"], "image": [png("red"), png("blue")]}), tmp_path / "x" / "t.parquet")
    encode(tmp_path / "x")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert encode(tmp_path / "link" / "t.parquet").json["failed"] == 0


def test_images_behind_a_linked_folder_are_found_where_metadata_name_them(
    tmp_path: Path, encode: Callable[..., CliResult], table: str
) -> None:
    two_images(tmp_path / "disk")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "images").symlink_to(tmp_path / "disk")
    (tmp_path / "x" / "metadata.csv").write_text("file_name,t\nimages/a0.png,x\n./images/a1.png,y\n")
    assert encode(tmp_path / "x").json["added"] == 2
    assert set(rows_of(table)) == {"images/a0.png", "images/a1.png"}


def test_metadata_of_another_program_in_a_folder_below_are_left_alone(
    tmp_path: Path, encode: Callable[..., CliResult]
) -> None:
    folder = two_images(tmp_path / "x")
    (folder / "tool").mkdir()
    (folder / "tool" / "metadata.csv").write_text("key,value\na,1\n")
    assert encode(folder).json["added"] == 2


@pytest.mark.parametrize("value", ["0000-01-01", "0000-01-01 10:00", "9999-12-31"])
def test_days_at_the_end_of_the_calendar_end_no_run(
    value: str, tmp_path: Path, encode: Callable[..., CliResult]
) -> None:
    assert encode(two_images(tmp_path / "x", csv=f"file_name,d\na0.png,{value}\na1.png,\n")).json["added"] == 2


@pytest.mark.parametrize("kind", [pa.timestamp("us"), pa.date32(), pa.timestamp("ns"), pa.duration("ns")])
def test_times_of_parquet_that_python_does_not_know_end_no_run(
    kind: pa.DataType, tmp_path: Path, encode: Callable[..., CliResult]
) -> None:
    far = pa.array([2**62, 1]) if kind != pa.date32() else pa.array([2**30, 1], pa.int32())
    folder = two_images(tmp_path / "x")
    pq.write_table(pa.table({"file_name": ["a0.png", "a1.png"], "at": far.cast(kind)}), folder / "metadata.parquet")
    assert encode(folder).json["added"] == 2
