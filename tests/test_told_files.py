"""What lies beside images and is not read is told: files of metadata, texts, other pictures, links to folders."""

from __future__ import annotations

import json
import os
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pinembed.catalogue.folder import read_catalogue
from tests.conftest import CliResult, Said
from tests.encoding import failures_of, rows_of
from tests.odd_data import png, two_images, write_tar

pytest_plugins = ("tests.odd_fixtures",)
Encode = Callable[..., CliResult]


def test_a_second_metadata_file_in_a_folder_is_told_not_to_be_read(tmp_path: Path, encode: Encode, table: str) -> None:
    folder = two_images(tmp_path / "x", csv="file_name,t\na0.png,x\na1.png,y\n", jsonl='{"file_name":"a0.png","u":1}\n')
    (folder / "sub").mkdir()
    (folder / "sub" / "metadata.csv").write_text("file_name,t\n")
    found = encode(folder)
    assert (found.exit_code, found.json["added"]) == (0, 2)
    assert f"metadata.jsonl, sub/metadata.csv in {folder}: not read, for metadata.csv is;" in found.words
    assert "not read" not in encode(folder, "--metadata", folder / "metadata.jsonl").words
    said = Said()
    read_catalogue(folder, progress=said)
    assert [line for line in said.lines if "metadata.jsonl" in line]


@pytest.mark.parametrize("name", ["metadata.tsv", "Metadata.csv", "metadata.csv.gz", "metadata.xlsx"])
def test_a_metadata_file_of_another_kind_is_told_not_to_be_read(name: str, tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x")
    (folder / name).write_bytes(b"file_name\tt\na0.png\tx\n")
    assert f"{name} in {folder}: not read; wanted metadata.csv" in encode(folder).words


@pytest.mark.parametrize("name", ["a0.txt", "a0.json", "a0.png.json"])
def test_texts_beside_images_are_told_not_to_be_read(name: str, tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x")
    (folder / "readme.txt").write_text("of no image")
    assert "not read" not in encode(folder).words
    (folder / name).write_text("{}")
    assert f"1 text or JSON file(s) beside the images, such as {name}: not read" in encode(folder).words


@pytest.mark.parametrize("name", ["b.psd", "b.JXL", "b.dng", "b.jpg_large", "b.png~", "b.jpg?width=300"])
def test_pictures_of_other_formats_and_names_are_told_not_to_be_read(name: str, tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x")
    (folder / name).write_bytes(png("red"))
    assert f"1 picture(s) of other formats or names, such as {name}: not read" in encode(folder).words


def test_a_folder_of_other_pictures_alone_says_what_it_holds(tmp_path: Path, encode: Encode) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "b.psd").write_bytes(png("red"))
    found = encode(tmp_path / "x")
    assert found.exit_code == 1
    assert "holds no image file." in found.words
    assert "such as b.psd: not read" in found.words


@pytest.mark.parametrize("suffix", ["ico", "j2k", "pfm", "mpo", "avifs", "heics"])
def test_every_suffix_of_a_format_that_is_decoded_is_read(suffix: str, tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x")
    (folder / f"b.{suffix}").write_bytes(png("red"))  # contents decide what it is
    assert encode(folder).json["added"] == 3


def test_a_link_to_a_folder_is_told_not_to_be_followed(tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x")
    (folder / "round").symlink_to(folder)
    found = encode(folder)
    assert found.json["added"] == 2
    assert "1 link(s) to folders, such as round: not followed" in found.words


def test_what_a_tar_holds_beside_items_is_told(tmp_path: Path, encode: Encode, table: str) -> None:
    members = {
        "0.png": png("red"),
        "0.cls": b"3",
        "0.json": b'{"text": "one"}',
        "0.txt": b"two",
        "1.json": b"[1]",
        "2.psd": b"8BPS",
        "LICENSE": b"mine",
        "._0.png": b"what macOS adds",
    }
    found = encode(write_tar(tmp_path / "m.tar", members))
    assert (found.exit_code, found.json["added"]) == (0, 1)
    assert "the metadata of 1 belong to no picture" in found.words
    assert "1 picture(s) of other formats or names, such as 2.psd: not read" in found.words
    assert "1 file(s) of metadata, such as 0.txt, say something else of a name" in found.words
    assert "not read are 1 .cls, 1 without a suffix; wanted metadata as .json and .txt" in found.words
    assert rows_of(table)["0"]["text"] == "two"


@pytest.mark.parametrize("content", [b'{"id": {"k": 1}}', b'{"id": [1]}', b"[" * 100_000, b"\xff"])
def test_metadata_of_a_tar_that_cannot_be_used_fail_their_picture_alone(
    content: bytes, tmp_path: Path, encode: Encode, table: str
) -> None:
    members = {"0.png": png("red"), "1.png": png("blue"), "1.json": content}
    found = encode(write_tar(tmp_path / "m.tar", members))
    assert (found.exit_code, found.json["added"]) == (0, 1)
    assert failures_of(table) == {"m.tar/1.png": "broken_metadata"}


def test_an_empty_id_is_none(tmp_path: Path, encode: Encode, table: str) -> None:
    encode(write_tar(tmp_path / "m.tar", {"0.png": png("red"), "0.json": b'{"id": "", "split": " Train "}'}))
    lines = [{"file_name": "a0.png", "id": "", "split": "Train "}, {"file_name": "a1.png", "id": "one", "split": " "}]
    encode(two_images(tmp_path / "x", jsonl="\n".join(map(json.dumps, lines))))
    rows = rows_of(table)
    assert set(rows) == {"0", "a0.png", "one"}
    assert [rows[name]["split"] for name in ("0", "a0.png", "one")] == ["train", "train", None]


def test_a_folder_in_a_tar_is_nothing_to_tell(tmp_path: Path, encode: Encode) -> None:
    path = write_tar(tmp_path / "m.tar", {"x/0.png": png("red")})
    with tarfile.open(path, "a") as tar:
        folder = tarfile.TarInfo("x")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    assert "not read" not in encode(path).words


def test_archives_beside_images_and_tars_are_told(tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x")
    write_tar(folder / "more.tar", {"0.png": png("red")})
    (folder / "some.zip").write_bytes(b"PK")
    found = encode(folder)
    assert found.json["added"] == 2
    assert "2 tar, Parquet or packed file(s), such as more.tar: not read with image files" in found.words
    for name in ("a0.png", "a1.png"):
        (folder / name).unlink()
    found = encode(folder)
    assert found.json["added"] == 1
    assert f"some.zip in {folder}: packed, and not read" in found.words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lfs.jpg", "lfs.jpg is what Git LFS keeps in the place of a file"),
        ("socket.jpg", "socket.jpg is not a regular file"),
    ],
)
def test_what_stands_in_the_place_of_an_image_is_called_by_its_name(
    name: str, words: str, tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two_images(tmp_path / "x")
    if name == "lfs.jpg":
        (folder / name).write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n")
    else:
        monkeypatch.chdir(folder)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(name)
    found = encode(folder)
    assert (found.exit_code, found.json["failed"]) == (0, 1)
    assert words in found.json["failed_images"][0]["message"]


def test_a_name_cannot_colour_the_terminal(tmp_path: Path, encode: Encode) -> None:
    folder = two_images(tmp_path / "x")
    (folder / "\x1b[31mred\u202e.png").write_bytes(b"no image")
    found = encode(folder)
    assert "\x1b" not in found.stderr
    assert "\\x1b[31mred\\u202e.png is not an image" in found.words
    assert found.json["failed_images"][0]["id"] == "\x1b[31mred\u202e.png"


NOT_UTF8 = os.fsdecode(b"dir\xff")


@pytest.mark.parametrize("json_output", [(), ("--json",)])
@pytest.mark.parametrize(
    "command",
    [
        ("encode", NOT_UTF8, "--table", "db/t", "--encoder", "e"),
        ("encode", "x", "--table", f"{NOT_UTF8}/t", "--encoder", "e"),
        ("encode", "x", "--table", "db/t", "--encoder", "e", "--id-prefix", NOT_UTF8),
        ("encode", "x", "--table", "db/t", "--encoder", "e", "--column", f"{NOT_UTF8}=int"),
        ("export", "--table", "db/t", "--out", NOT_UTF8),
        ("search", NOT_UTF8, "--table", "db/t"),
        ("finetune", NOT_UTF8, "--base", "e", "--out", "o", "--text", NOT_UTF8),
        ("verify", NOT_UTF8),
    ],
)
def test_an_argument_that_is_no_utf_8_is_refused(
    command: tuple[str, ...], json_output: tuple[str, ...], cli: Callable[..., CliResult]
) -> None:
    found = cli(*command, *json_output)
    assert found.exit_code == 2
    assert "dir\\xff" in found.words
    assert "is no UTF-8" in found.words


def test_a_folder_whose_name_is_no_utf_8_is_told_in_json_too(
    tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = two_images(tmp_path / NOT_UTF8 / "x")
    monkeypatch.chdir(tmp_path / NOT_UTF8)
    found = encode("x")
    assert found.exit_code == 1
    assert "dir\\xff/x is no UTF-8" in found.json["error"]["message"]
    found = encode(tmp_path, "--metadata", "none.csv")
    assert found.exit_code == 1
    assert folder.is_dir()
