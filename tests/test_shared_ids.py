"""Ids that several folders share: settled once, and not looked into again every night."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import CliResult
from tests.encoding import rows_of, touch
from tests.odd_data import noise, png, two_images, write_tar

pytest_plugins = ("tests.odd_fixtures",)
Encode = Callable[..., CliResult]
WITH_IDS = "file_name,id\na0.png,p\na1.png,q\n"


def with_ids(folder: Path) -> Path:
    return two_images(folder, csv=WITH_IDS)


def folders_of(table: str) -> set[str]:
    return {row["folder"] for row in rows_of(table).values()}


def test_images_whose_id_a_folder_that_is_away_has_are_read_once(
    tmp_path: Path, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = with_ids(tmp_path / "x"), with_ids(tmp_path / "y")
    for index in (0, 1):
        noise(index + 5).save(second / f"a{index}.png")
    encode(first)
    shutil.rmtree(first)
    assert encode(second, "--max-failure-rate", "1").json["failures"] == {"id_taken": 2}

    again = encode(second, "--max-failure-rate", "1").json
    assert (again["failed"], again["not_retried"], again["stages"]["decode"]) == (2, 2, 0)
    assert encode(second, "--max-failure-rate", "1", "--retry-failed").json["not_retried"] == 0
    touch(second / "a0.png")
    assert encode(second, "--max-failure-rate", "1").json["not_retried"] == 1
    assert encode(second, "--moved-from", first).json["updated"] == 2


@pytest.mark.parametrize("kind", ["nested", "link", "hard-links"])
def test_a_file_on_two_paths_keeps_the_folder_that_made_its_row(
    kind: str, tmp_path: Path, encode: Encode, table: str
) -> None:
    whole = tmp_path / "x"
    part = with_ids(whole / "part" if kind == "nested" else whole)
    if kind == "nested":
        (whole / "metadata.csv").write_text(WITH_IDS.replace("a0", "part/a0").replace("a1", "part/a1"))
    elif kind == "link":
        part = tmp_path / "y"
        part.symlink_to(whole)
    else:
        part = tmp_path / "y"
        shutil.copytree(whole, part, copy_function=os.link)
    encode(whole)
    for _ in range(2):
        found = encode(part).json
        assert (found["unchanged"], found["updated"]) == (2, 0)
        assert encode(whole, "--prune", "--force").json["unchanged"] == 2
    assert folders_of(table) == {str(whole)}
    shutil.rmtree(whole) if kind == "hard-links" else None
    touch(part / "a0.png")
    assert encode(part).json["updated"] == (2 if kind == "hard-links" else 1)
    assert folders_of(table) == ({str(part)} if kind == "hard-links" else {str(whole), str(part)})


def test_a_tar_on_two_paths_keeps_the_folder_that_made_its_rows(tmp_path: Path, encode: Encode, table: str) -> None:
    write_tar(tmp_path / "x" / "m.tar", {"s.png": png("red")})
    (tmp_path / "y").symlink_to(tmp_path / "x")
    encode(tmp_path / "x" / "m.tar")
    for folder in ("y", "x"):
        assert encode(tmp_path / folder).json["unchanged"] == 1
    assert folders_of(table) == {str(tmp_path / "x")}
