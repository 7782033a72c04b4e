"""Verify: every kind of damage is found, named, and ends with exit code 1."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pinembed.errors import SourceError
from pinembed.jobs.verify import verify
from pinembed.reports.source import VerifyReport
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.source.formats import write_npy
from tests.conftest import CliResult
from tests.source_material import (
    DIM,
    SPEC,
    edit_manifest,
    embeddings,
    in_batches,
    item_ids,
    make_source,
    refresh_entry,
)

Cli = Callable[..., CliResult]
SHARD = "embeddings-00001.safetensors"
INDEX = "ids-00000.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_source(tmp_path / "source")


def problems(report: VerifyReport) -> list[tuple[str, str]]:
    return [(finding.file, finding.problem) for finding in report.findings]


def flip(path: Path, index: int) -> None:
    content = bytearray(path.read_bytes())
    content[index] ^= 1
    path.write_bytes(content)


def test_verify_says_that_a_whole_folder_is_whole(cli: Cli, folder: Path) -> None:
    done = cli("verify", folder)
    assert done.exit_code == 0
    assert f"whole. 25 items x 8, encoder {SPEC.fingerprint}" in done.words
    assert cli("verify", folder, "--json").json["findings"] == []


def test_verify_counts_every_file_and_byte(folder: Path) -> None:
    report = verify(VerifySettings(folder=folder))
    tensors = list(folder.glob("*.safetensors"))
    assert report.files == len(tensors) == 4
    assert report.size_bytes >= sum(path.stat().st_size for path in tensors) - 4 * 200  # headers are read apart


@pytest.mark.parametrize("file", [SHARD, INDEX, "manifest.json", "SHA256SUMS"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.999])
def test_verify_finds_a_flipped_byte_anywhere(folder: Path, file: str, part: float) -> None:
    flip(folder / file, int(part * (folder / file).stat().st_size))
    report = verify(VerifySettings(folder=folder))
    assert report.exit_code == 1
    named = {finding.file for finding in report.findings}
    assert file in named or (file == "SHA256SUMS" and "manifest.json" in named)


def test_verify_finds_every_single_flipped_byte_of_a_small_source(tmp_path: Path) -> None:
    folder = make_source(tmp_path / "source", 2)
    for path in sorted(folder.iterdir()):
        for index in range(path.stat().st_size):
            flip(path, index)
            assert verify(VerifySettings(folder=folder)).findings, f"{path.name} byte {index}"
            flip(path, index)
    assert not verify(VerifySettings(folder=folder)).findings


def test_verify_names_all_damage_and_not_only_the_first(cli: Cli, folder: Path) -> None:
    (folder / "embeddings-00000.safetensors").unlink()
    flip(folder / SHARD, 200)
    os.truncate(folder / "embeddings-00002.safetensors", 150)
    done = cli("verify", folder, "--json")
    assert done.exit_code == 1
    assert [(found["file"], found["problem"]) for found in done.json["findings"]] == [
        ("embeddings-00000.safetensors", "missing"),
        (SHARD, "checksum"),
        ("embeddings-00002.safetensors", "size"),
    ]
    assert "has 150 bytes; the manifest says" in done.words
    assert "3 finding(s)" in cli("verify", folder).words


def test_verify_finds_a_wrong_count(folder: Path) -> None:
    edit_manifest(folder, lambda stored: stored.update(count=24))
    report = verify(VerifySettings(folder=folder))
    assert problems(report) == [("manifest.json", "manifest")]
    assert "count is 24, but the shards hold 25 rows together" in report.findings[0].detail


def test_verify_finds_a_count_that_was_changed_everywhere_in_the_manifest(folder: Path) -> None:
    def shrink(stored: dict) -> None:  # type: ignore[type-arg]
        stored["count"] = stored["index"][0]["rows"] = 24
        stored["shards"][2]["rows"] = 4

    edit_manifest(folder, shrink)
    assert problems(verify(VerifySettings(folder=folder))) == [
        ("embeddings-00002.safetensors", "layout"),
        (INDEX, "layout"),
    ]


def test_verify_finds_an_edited_manifest(folder: Path) -> None:
    edit_manifest(folder, lambda stored: stored["encoder"].update(architecture="other"), fix_checksum=False)
    report = verify(VerifySettings(folder=folder))
    assert problems(report) == [("manifest.json", "manifest")]
    assert "was changed after it was written" in report.findings[0].detail


def test_verify_finds_a_manifest_that_disagrees_with_the_checksum_list(folder: Path) -> None:
    edit_manifest(folder, lambda stored: stored["shards"][0].update(sha256="0" * 64))
    found = problems(verify(VerifySettings(folder=folder)))
    assert found == [("SHA256SUMS", "checksum"), ("embeddings-00000.safetensors", "checksum")]


def test_verify_checks_the_files_even_without_a_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    flip(folder / SHARD, 200)
    assert problems(verify(VerifySettings(folder=folder))) == [("manifest.json", "manifest"), (SHARD, "checksum")]


def test_verify_follows_no_path_out_of_the_folder(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (folder / "manifest.json").unlink()
    with (folder / "SHA256SUMS").open("a") as file:
        file.write("0" * 64 + "  ../secret\n")
    assert problems(verify(VerifySettings(folder=folder))) == [("manifest.json", "manifest")]


def test_verify_finds_rows_that_are_not_finite_though_the_checksums_fit(folder: Path) -> None:
    rows_ND = embeddings(25)[10:20]
    rows_ND[2, 0], rows_ND[9, 3] = np.nan, -np.inf
    save_file({"embeddings": rows_ND}, folder / SHARD)
    refresh_entry(folder, SHARD)
    report = verify(VerifySettings(folder=folder))
    assert problems(report) == [(SHARD, "non_finite")]
    assert report.findings[0].detail == "holds NaN or inf in 2 row(s): 2, 9"


def test_verify_never_unpickles(folder: Path) -> None:
    (folder / SHARD).write_bytes(pickle.dumps(list(range(100))))
    refresh_entry(folder, SHARD)
    report = verify(VerifySettings(folder=folder))
    assert problems(report) == [(SHARD, "layout")]
    assert "which pinembed never opens" in report.findings[0].detail


def rewrite_index(folder: Path, **tensors: np.ndarray) -> None:
    path = folder / INDEX
    content = {**load_file(path), **tensors}
    text = path.read_bytes()
    header = text[: 8 + struct.unpack("<Q", text[:8])[0]]
    path.write_bytes(header + b"".join(content[name].tobytes() for name in ("hash", "row", "offset", "utf8")))
    refresh_entry(folder, INDEX)


def test_verify_finds_ids_that_were_exchanged(folder: Path) -> None:
    utf8 = load_file(folder / INDEX)["utf8"].copy()
    utf8[:9], utf8[9:18] = utf8[9:18].copy(), utf8[:9].copy()
    rewrite_index(folder, utf8=utf8)
    report = verify(VerifySettings(folder=folder))
    assert problems(report) == [(INDEX, "index")]
    assert "2 id(s) are filed under a hash that is not theirs" in report.findings[0].detail


def test_verify_finds_duplicate_ids(folder: Path) -> None:
    stored = load_file(folder / INDEX)
    utf8, hash_N, row_N = stored["utf8"].copy(), stored["hash"].copy(), stored["row"].copy()
    utf8[9:18] = utf8[:9]  # row 1 gets the id of row 0, and its hash
    hash_N[row_N == 1] = hash_N[row_N == 0]
    order = np.argsort(hash_N, kind="stable")
    rewrite_index(folder, utf8=utf8, hash=hash_N[order], row=row_N[order])
    report = verify(VerifySettings(folder=folder))
    assert problems(report) == [(INDEX, "duplicate_id")]
    assert report.findings[0].detail == "1 id(s) occur more than once: 'item-0000'"


def test_verify_finds_hashes_out_of_order_and_rows_that_no_id_finds(folder: Path) -> None:
    stored = load_file(folder / INDEX)
    row_N = stored["row"].copy()
    row_N[0], row_N[1] = row_N[1], 99
    rewrite_index(folder, hash=stored["hash"][::-1].copy(), row=row_N)
    details = [finding.detail for finding in verify(VerifySettings(folder=folder)).findings]
    assert details == ["the hashes do not ascend, so ids cannot be found", "1 of 25 rows cannot be found by an id"]


def test_verify_finds_offsets_that_do_not_ascend_and_ids_that_are_no_text(folder: Path) -> None:
    stored = load_file(folder / INDEX)
    offset = stored["offset"].copy()
    offset[3] = 2**60
    rewrite_index(folder, offset=offset)
    assert verify(VerifySettings(folder=folder)).findings[0].detail == "the offsets of the ids do not ascend"
    utf8 = stored["utf8"].copy()
    utf8[0] = 0xFF
    rewrite_index(folder, offset=stored["offset"], utf8=utf8)
    details = [finding.detail for finding in verify(VerifySettings(folder=folder)).findings]
    assert details == ["1 id(s) are filed under a hash that is not theirs", "1 id(s) are no UTF-8 text"]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_verify_refuses_what_is_no_export(cli: Cli, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "place")
    done = cli("verify", tmp_path / "place")
    assert done.exit_code == 1
    assert "pinembed export --table TABLE --out DIR" in done.words
    with pytest.raises(SourceError):
        verify(VerifySettings(folder=tmp_path / "place"))


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    folder = tmp_path / "npy"
    folder.mkdir()
    write_npy(folder, SPEC, in_batches(item_ids(25), embeddings(25)), count=25)
    return folder


def test_verify_checks_an_npy_export(npy: Path) -> None:
    report = verify(VerifySettings(folder=npy))
    assert (report.findings, report.format, report.files) == ((), "pinembed-npy", 2)
    flip(npy / "vectors.npy", 300)
    (npy / "ids.jsonl").write_text((npy / "ids.jsonl").read_text().replace("item-0001", "item-0000"))
    found = problems(verify(VerifySettings(folder=npy)))
    assert found == [("vectors.npy", "checksum"), ("ids.jsonl", "checksum"), ("ids.jsonl", "duplicate_id")]


def test_verify_finds_an_npy_header_and_lines_of_another_kind(npy: Path) -> None:
    np.save(npy / "vectors.npy", embeddings(25).reshape(50, DIM // 2))
    lines = (npy / "ids.jsonl").read_text().splitlines()
    (npy / "ids.jsonl").write_text("\n".join([*lines[:-2], "12", "{", json.dumps("x")]) + "\n")
    for file in ("vectors.npy", "ids.jsonl"):
        refresh_entry(npy, file)
    found = problems(verify(VerifySettings(folder=npy)))
    assert found == [("vectors.npy", "layout"), ("ids.jsonl", "count"), ("ids.jsonl", "index")]


def test_verify_checks_a_parquet_export(tmp_path: Path) -> None:
    from pinembed.jobs.export import export
    from tests.test_export import make_table

    folder = tmp_path / "parquet"
    export(ExportSettings(table=make_table(tmp_path), out=folder, format="parquet"))
    assert verify(VerifySettings(folder=folder)).findings == ()
    shard = "embeddings-00000.parquet"
    (folder / shard).write_bytes(b"PAR1" + b"\x00" * ((folder / shard).stat().st_size - 4))
    assert problems(verify(VerifySettings(folder=folder))) == [(shard, "checksum"), (shard, "layout")]
