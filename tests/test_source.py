"""EmbeddingSource: what was exported comes back by id, and damage is told in a sentence."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pickle
import struct
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pinembed import EmbeddingSource
from pinembed.errors import NonFiniteEmbeddingError, PinembedError, SourceError, UnknownItemError
from pinembed.jobs.verify import verify
from pinembed.settings.source import VerifySettings
from pinembed.source import id_index, index_writer
from pinembed.source import id_index as id_hash
from pinembed.source.writer import write_source
from tests.source_material import (
    DIM,
    SHARD_BYTES,
    SPEC,
    edit_manifest,
    embeddings,
    fix_manifest_checksum,
    in_batches,
    item_ids,
    make_source,
    refresh_entry,
)

FIRST_SHARD = "embeddings-00000.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_source(tmp_path / "source")


def test_source_gives_rows_in_the_order_asked(folder: Path) -> None:
    source = EmbeddingSource.open(folder)
    asked = ["item-0024", "item-0000", "item-0011", "item-0000"]
    got = source.get(asked)
    assert got.dtype == np.float16
    np.testing.assert_array_equal(got, embeddings(25)[[24, 0, 11, 0]])


def test_source_knows_its_length_ids_spec_and_dim(folder: Path) -> None:
    source = EmbeddingSource.open(str(folder))
    assert (len(source), source.dim, source.spec) == (25, DIM, SPEC)
    assert len(source.manifest.shards) == 3
    assert "item-0003" in source
    assert "item-9999" not in source
    assert 3 not in source
    assert repr(source) == f"EmbeddingSource({str(folder)!r}: 25 x 8, encoder {SPEC.fingerprint})"


def test_source_ids_are_a_sequence_in_row_order(folder: Path) -> None:
    ids = EmbeddingSource.open(folder).ids
    assert list(ids) == item_ids(25)
    assert (ids[0], ids[-1], ids[3:5]) == ("item-0000", "item-0024", ["item-0003", "item-0004"])
    assert ids.index("item-0007") == 7
    with pytest.raises(ValueError, match="'nothing' is not among the ids"):
        ids.index("nothing")
    with pytest.raises(IndexError):
        ids[25]


def test_source_names_every_unknown_id(folder: Path) -> None:
    with pytest.raises(UnknownItemError, match=r"holds no item 'x', 'y\\nz' among its 25 items") as caught:
        EmbeddingSource.open(folder).get(["x", "item-0001", "y\nz", "x"])
    assert "encoded and exported" in caught.value.remedy


def test_source_finds_rows_without_an_error_for_unknown_ids(folder: Path) -> None:
    source = EmbeddingSource.open(folder)
    row_M = source.find(["item-0002", "nothing", "\udcff", ""])
    assert row_M.tolist() == [2, -1, -1, -1]
    np.testing.assert_array_equal(source.rows(row_M[:1]), embeddings(25)[[2]])
    with pytest.raises(IndexError, match="rows go from 0 to 24"):
        source.rows(row_M)


def test_source_refuses_a_bare_string_for_a_list(folder: Path) -> None:
    with pytest.raises(TypeError, match=r"write \['item-0001'\]"):
        EmbeddingSource.open(folder).get("item-0001")


def test_source_gives_an_empty_array_for_no_ids(folder: Path) -> None:
    assert EmbeddingSource.open(folder).get([]).shape == (0, DIM)


def test_source_gives_everything_in_batches(folder: Path) -> None:
    batches = list(EmbeddingSource.open(folder).batches(4))
    assert [item_id for ids, _ in batches for item_id in ids] == item_ids(25)
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in batches]), embeddings(25))


@pytest.mark.parametrize("ids", [["", " ", "a\nb", "ü", "日本", "../../etc/passwd", "a" * 5000, "\x00", '"', "\ufeff"]])
def test_source_keeps_any_text_as_an_id(tmp_path: Path, ids: list[str]) -> None:
    source = EmbeddingSource.open(make_source(tmp_path / "source", ids=ids))
    assert list(source.ids) == ids
    np.testing.assert_array_equal(source.get(ids[::-1]), embeddings(len(ids))[::-1])


def test_source_tells_ids_apart_that_share_a_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def one_bit(ids_utf8: Any) -> Any:
        return np.array([hashlib.sha256(item_id).digest()[0] & 1 for item_id in ids_utf8], np.uint64)

    for module in (index_writer, id_index):
        monkeypatch.setattr(module, "hash_ids", one_bit)
    source = EmbeddingSource.open(make_source(tmp_path / "source"))
    np.testing.assert_array_equal(source.get(item_ids(25)), embeddings(25))
    assert source.find(["nothing", "else", "more"]).tolist() == [-1, -1, -1]


def test_source_hash_is_the_start_of_sha256() -> None:
    assert id_hash.hash_ids([b"abc"]).tolist() == [0xBA7816BF8F01CFEA]


def test_source_is_the_same_bytes_each_time_and_whatever_the_batches(tmp_path: Path) -> None:
    for name, rows in (("a", 7), ("b", 25)):
        (tmp_path / name).mkdir()
        batches = in_batches(item_ids(25), embeddings(25), rows)
        write_source(tmp_path / name, SPEC, batches, count=25, shard_bytes=SHARD_BYTES)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "SHA256SUMS",
        *(f"embeddings-0000{number}.safetensors" for number in range(3)),
        "ids-00000.safetensors",
        "manifest.json",
    ]
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_source_shards_are_safetensors_that_the_library_reads(folder: Path) -> None:
    np.testing.assert_array_equal(load_file(folder / FIRST_SHARD)["embeddings"], embeddings(25)[:10])
    index = load_file(folder / "ids-00000.safetensors")
    assert (np.diff(index["hash"].astype(object)) > 0).all()
    assert bytes(index["utf8"]).decode() == "".join(item_ids(25))


def test_source_checksums_satisfy_sha256sum(folder: Path) -> None:
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=False, text=True)
    assert checked.returncode == 0


def documented_reader() -> Callable[[Path, str], tuple[float, ...]]:
    """`look_up` as docs/embedding-source.md prints it."""
    document = (Path(__file__).parent.parent / "docs" / "embedding-source.md").read_text(encoding="utf-8")
    code = document.split("```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, Any] = {}
    exec(compile(code, "docs/embedding-source.md", "exec"), names)
    return names["look_up"]  # type: ignore[no-any-return]


def test_source_is_read_by_the_code_of_its_document(folder: Path) -> None:
    look_up = documented_reader()
    for row in (0, 9, 10, 17, 24):
        np.testing.assert_array_equal(np.array(look_up(folder, f"item-{row:04d}"), np.float16), embeddings(25)[row])
    with pytest.raises(KeyError, match="nothing"):
        look_up(folder, "nothing")


def test_source_document_prints_the_bytes_of_its_example(tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, dim=2)
    rows_ND = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float16)
    write_source(tmp_path, spec, [(["a", "b", "ü"], rows_ND)], count=3)
    document = (Path(__file__).parent.parent / "docs" / "embedding-source.md").read_text(encoding="utf-8")
    index = load_file(tmp_path / "ids-00000.safetensors")
    for values in (
        ", ".join(f"{value:x}" for value in index["hash"].tolist()),
        ", ".join(map(str, index["row"].tolist())),
        ", ".join(map(str, index["offset"].tolist())),
        bytes(index["utf8"]).hex(" "),
    ):
        assert f"| {values}" in document
    shard = (tmp_path / FIRST_SHARD).read_bytes()
    assert shard[:8].hex(" ") + "                              H = 72" in document
    assert shard[8:80].decode().rstrip() in document
    assert len(shard[8:80].decode().rstrip()) == 66
    assert shard[80:].hex(" ") == "00 3c 00 00  00 00 00 3c  cd 38 66 3a".replace("  ", " ")
    assert documented_reader()(tmp_path, "b") == (0.0, 1.0)


def test_source_reads_from_several_threads(folder: Path) -> None:
    source, wrong = EmbeddingSource.open(folder), []

    def look_up(seed: int) -> None:
        rows = np.random.default_rng(seed).integers(0, 25, 64)
        for _ in range(50):
            got = source.get([f"item-{row:04d}" for row in rows])
            if not np.array_equal(got, embeddings(25)[rows]):
                wrong.append(seed)

    threads = [threading.Thread(target=look_up, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def rows_in_another_process(source: EmbeddingSource) -> list[list[float]]:
    return source.get(["item-0003"]).tolist()


def test_source_goes_to_another_process(folder: Path) -> None:
    source = EmbeddingSource.open(folder)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(rows_in_another_process, source).result() == embeddings(25)[[3]].tolist()


def test_source_goes_on_when_its_folder_is_replaced(folder: Path) -> None:
    with EmbeddingSource.open(folder) as source:
        folder.rename(folder.with_name("old"))
        for path in folder.with_name("old").iterdir():
            path.unlink()
        np.testing.assert_array_equal(source.get(["item-0021"]), embeddings(25)[[21]])


def test_source_gives_its_files_back(folder: Path) -> None:
    def open_files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = open_files()
    for _ in range(3):
        EmbeddingSource.open(folder)
    (folder / "embeddings-00002.safetensors").unlink()
    with pytest.raises(SourceError):
        EmbeddingSource.open(folder)
    assert open_files() == before


# --- refused at open


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "No such file or directory; wanted a folder that `pinembed export` wrote"),
        (lambda path: path.write_text("x"), "Not a directory; wanted a folder that `pinembed export` wrote"),
        (lambda path: path.mkdir(), "holds no manifest.json; it is no exported folder, or its export never ended"),
    ],
)
def test_source_open_refuses_what_is_no_export(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "source")
    with pytest.raises(SourceError, match=message):
        EmbeddingSource.open(tmp_path / "source")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


@pytest.mark.parametrize("file", [FIRST_SHARD, "embeddings-00002.safetensors", "ids-00000.safetensors"])
def test_source_open_refuses_a_truncated_file(folder: Path, file: str) -> None:
    truncate(folder / file)
    with pytest.raises(SourceError, match=rf"{file} has \d+ bytes; the manifest says \d+"):
        EmbeddingSource.open(folder)


@pytest.mark.parametrize("file", [FIRST_SHARD, "ids-00000.safetensors"])
def test_source_open_refuses_a_missing_file(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(SourceError, match=f"{file} is missing; the manifest names it"):
        EmbeddingSource.open(folder)


def test_source_open_refuses_an_edited_manifest(folder: Path) -> None:
    edit_manifest(folder, lambda stored: stored["encoder"].update(architecture="other"), fix_checksum=False)
    with pytest.raises(SourceError, match=r"was changed after it was written: its sha256 is"):
        EmbeddingSource.open(folder)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(SourceError, match=r"has no line in SHA256SUMS"):
        EmbeddingSource.open(folder)


def paged(manifest: dict[str, Any], pages: Any, *, where: str = "shards") -> None:
    manifest.update(version=2)
    manifest[where][0].update(pages=pages)


EDITS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda m: m.update(format="other"), "the format is 'other'; wanted one of pinembed-source"),
    (lambda m: m.update(version=3), "the format version is 3; this pinembed reads 1 and 2"),
    (lambda m: m.update(version=True), "the format version is True"),
    (lambda m: m.pop("shards"), "has no field 'shards'"),
    (lambda m: m.pop("fingerprint"), "has no field 'fingerprint'"),
    (lambda m: m.update(fingerprint="0" * 16), "the fingerprint is '0000000000000000', but the encoder written there"),
    (lambda m: m["encoder"].update(dim=9), "the fingerprint is"),
    (lambda m: m["encoder"].update(color="red"), "the encoder has color, which this version does not know"),
    (lambda m: m.update(dim=4), "dim is 4, but the encoder written there gives 8 floats"),
    (lambda m: m.update(dtype="float64"), "dtype is 'float64'; wanted 'float16' or 'float32'"),
    (lambda m: m.update(count=24), "count is 24, but the shards hold 25 rows together"),
    (lambda m: m.update(count=-1), "count is -1; wanted a whole number"),
    (lambda m: m.update(count=25.0), "count is 25.0; wanted a whole number"),
    (lambda m: m["index"][0].update(rows=24), "count is 25, but the index holds 24 ids"),
    (lambda m: m.update(index=[]), "format pinembed-source has no index entry"),
    (lambda m: m["shards"].append(m["shards"][0]), "a file name stands there twice"),
    (lambda m: m["shards"][0].update(file="../x.safetensors"), r"the file name '\.\./x\.safetensors' is no plain name"),
    (lambda m: m["shards"][0].update(file="/etc/passwd"), "the file name '/etc/passwd' is no plain name"),
    (lambda m: m["shards"][0].update(file=".."), r"the file name '\.\.' is no plain name"),
    (lambda m: m["shards"][0].update(file="a\x00b"), "is no plain name"),
    (lambda m: m["shards"][0].update(file=7), "the file name 7 is no plain name"),
    (lambda m: m["shards"][0].update(sha256="short"), "wanted 64 hex digits"),
    (lambda m: m["shards"][0].update(rows=2**70), "wanted a whole number"),
    (lambda m: m["shards"][0].update(pages=[[80, 10]]), "has pages, which a format of version 1 does not know"),
    (lambda m: paged(m, [[80, 10]], where="index"), "an id file has pages; wanted them in shards alone"),
    (lambda m: paged(m, [[80, 4], [96, 6]]), "the pages of embeddings-00000.safetensors overlap, or do not ascend"),
    (lambda m: paged(m, [[81, 10]]), "the pages of embeddings-00000.safetensors do not fit its 10 rows in 240 bytes"),
    (lambda m: paged(m, [[80, 9]]), "do not fit its 10 rows"),
    (
        lambda m: paged(m, [[80]]),
        r"a page of embeddings-00000.safetensors is \[80\]; wanted its first",
    ),
    (lambda m: paged(m, [[-1, 10]]), "a page of embeddings-00000.safetensors is -1; wanted a whole number"),
    (lambda m: paged(m, 7), "pages is 7; wanted a list"),
    (lambda m: m.update(shards="none"), "cannot be used"),
    (lambda m: m["shards"][0].update(rows=9) or m["shards"][1].update(rows=11), r"wanted .*\"shape\": \[9, 8\]"),
]


def test_source_reads_a_shard_in_pages(folder: Path) -> None:
    (header_length,) = struct.unpack("<Q", (folder / FIRST_SHARD).read_bytes()[:8])
    begin, row_bytes = 8 + header_length, 2 * DIM
    edit_manifest(folder, lambda m: paged(m, [[begin, 3], [begin + 3 * row_bytes, 7]]))
    np.testing.assert_array_equal(EmbeddingSource.open(folder).get(item_ids(25)), embeddings(25))
    assert not verify(VerifySettings(folder=folder)).findings
    look_up = documented_reader()
    for row in (2, 3, 9, 10):
        np.testing.assert_array_equal(np.array(look_up(folder, f"item-{row:04d}"), np.float16), embeddings(25)[row])


@pytest.mark.parametrize(("edit", "message"), EDITS, ids=[message[:40] for _, message in EDITS])
def test_source_open_refuses_a_manifest_that_cannot_be(
    folder: Path, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    edit_manifest(folder, edit)
    with pytest.raises(SourceError, match=message):
        EmbeddingSource.open(folder)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"index": {}, "a": NaN}'])
def test_source_open_refuses_a_manifest_that_is_no_object(folder: Path, text: bytes) -> None:
    (folder / "manifest.json").write_bytes(text)
    with pytest.raises(SourceError, match=r"manifest\.json"):
        EmbeddingSource.open(folder)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_source_open_never_unpickles(folder: Path, tmp_path: Path, protocol: int) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"), protocol=protocol)
    (folder / FIRST_SHARD).write_bytes(bomb.ljust(500, b"\x00"))
    refresh_entry(folder, FIRST_SHARD)
    with pytest.raises(SourceError, match="is a pickle or a zip archive, which pinembed never opens"):
        EmbeddingSource.open(folder)
    assert not (tmp_path / "exploded").exists()


SHARDS: list[tuple[str, Callable[[Path], None], str]] = [
    ("float32", lambda path: save_file({"embeddings": np.zeros((10, DIM), np.float32)}, path), r'"dtype": "F32"'),
    ("other name", lambda path: save_file({"rows": np.zeros((10, DIM), np.float16)}, path), r"the tensors \['rows'\]"),
    ("other shape", lambda path: save_file({"embeddings": np.zeros((5, 16), np.float16)}, path), r"\[5, 16\]"),
    ("no header", lambda path: path.write_bytes(b"\xff" * 400), "does not begin with a safetensors header"),
    ("empty", lambda path: path.write_bytes(b""), "does not begin with a safetensors header"),
    ("no JSON", lambda path: path.write_bytes(struct.pack("<Q", 8) + b"{broken}"), "header that is no JSON"),
    ("a list", lambda path: path.write_bytes(struct.pack("<Q", 2) + b"[]"), "header that is no JSON object"),
    ("deep", lambda path: path.write_bytes(struct.pack("<Q", 90_000) + b"[" * 90_000), "header that is no JSON"),
]


@pytest.mark.parametrize(("replace", "message"), [case[1:] for case in SHARDS], ids=[case[0] for case in SHARDS])
def test_source_open_refuses_a_shard_of_another_kind(
    folder: Path, replace: Callable[[Path], None], message: str
) -> None:
    replace(folder / FIRST_SHARD)
    refresh_entry(folder, FIRST_SHARD)
    with pytest.raises(SourceError, match=message):
        EmbeddingSource.open(folder)


def test_source_open_refuses_a_header_that_promises_more_than_the_file(folder: Path) -> None:
    path = folder / FIRST_SHARD
    truncate(path)
    refresh_entry(folder, FIRST_SHARD)
    with pytest.raises(SourceError, match=r"has \d+ bytes; its header tells of \d+"):
        EmbeddingSource.open(folder)


def test_source_open_does_not_wait_for_a_pipe(folder: Path) -> None:
    (folder / FIRST_SHARD).unlink()
    os.mkfifo(folder / FIRST_SHARD)
    with pytest.raises(SourceError, match="has 0 bytes; the manifest says"):
        EmbeddingSource.open(folder)


# --- refused while reading


def test_source_get_refuses_rows_that_are_not_finite(folder: Path) -> None:
    rows_ND = embeddings(25)[:10]
    rows_ND[4, 2], rows_ND[6, 0] = np.nan, np.inf
    save_file({"embeddings": rows_ND}, folder / FIRST_SHARD)
    refresh_entry(folder, FIRST_SHARD)
    source = EmbeddingSource.open(folder)
    assert source.get(["item-0003"]).shape == (1, DIM)
    for read in (
        lambda: source.get(["item-0003", "item-0004"]),
        lambda: source.rows(np.array([3, 4])),
        lambda: next(iter(source.batches(5))),
    ):
        with pytest.raises(NonFiniteEmbeddingError, match="hold NaN or inf: item\\(s\\) 'item-0004'"):
            read()


def test_source_get_tells_of_a_shard_that_was_cut_short_meanwhile(folder: Path) -> None:
    source = EmbeddingSource.open(folder)
    os.truncate(folder / FIRST_SHARD, 100)
    with pytest.raises(SourceError, match="it was cut short meanwhile"):
        source.get(["item-0009"])
    np.testing.assert_array_equal(source.get(["item-0015"]), embeddings(25)[[15]])


def rewrite_index(folder: Path, **changes: Callable[[Any], Any]) -> None:
    """Change tensors of the index, in the order that the format wants."""
    path = folder / "ids-00000.safetensors"
    tensors = load_file(path)
    for name, change in changes.items():
        tensors[name] = change(tensors[name].copy())
    text = path.read_bytes()
    header = text[: 8 + struct.unpack("<Q", text[:8])[0]]
    path.write_bytes(header + b"".join(tensors[name].tobytes() for name in ("hash", "row", "offset", "utf8")))
    refresh_entry(folder, path.name)


def test_source_find_tells_of_an_index_that_names_rows_beyond_the_last(folder: Path) -> None:
    rewrite_index(folder, row=lambda row: row + np.uint64(2**63))
    with pytest.raises(SourceError, match=r"ids-00000.safetensors is damaged: it names rows beyond the last one"):
        EmbeddingSource.open(folder).get(item_ids(25))


def test_source_find_tells_of_offsets_that_do_not_ascend(folder: Path) -> None:
    rewrite_index(folder, offset=lambda offset: np.concatenate([offset[:1], offset[1:-1][::-1], offset[-1:]]))
    with pytest.raises(SourceError, match="its offsets do not ascend"):
        EmbeddingSource.open(folder).get(item_ids(25))


def test_source_open_tells_of_offsets_that_do_not_span_the_ids(folder: Path) -> None:
    rewrite_index(folder, offset=lambda offset: offset + np.uint64(1))
    with pytest.raises(SourceError, match="its offsets do not span the ids"):
        EmbeddingSource.open(folder)


# --- refused while writing


def refused_write(tmp_path: Path, ids: list[str], rows: Any, count: int) -> None:
    (tmp_path / "source").mkdir()
    write_source(tmp_path / "source", SPEC, in_batches(ids, rows), count=count)


def test_source_writer_refuses_no_rows(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There are no rows to export; wanted at least one item"):
        refused_write(tmp_path, [], embeddings(0), 0)


def test_source_writer_refuses_duplicate_ids_by_name(tmp_path: Path) -> None:
    ids = [*item_ids(20), "item-0003", "item-0003", "item-0011"]
    with pytest.raises(SourceError, match=r"2 item id\(s\) occur more than once: ") as caught:
        refused_write(tmp_path, ids, embeddings(23), 23)
    assert "'item-0003'" in caught.value.message
    assert "'item-0011'" in caught.value.message
    assert not (tmp_path / "source" / "manifest.json").exists()


def test_source_writer_refuses_rows_that_are_not_finite(tmp_path: Path) -> None:
    rows_ND = embeddings(20)
    rows_ND[13, 0] = -np.inf
    with pytest.raises(NonFiniteEmbeddingError, match="item\\(s\\) 'item-0013'"):
        refused_write(tmp_path, item_ids(20), rows_ND, 20)


@pytest.mark.parametrize(("count", "found"), [(21, "20 rows came, but 21"), (19, "20 or more rows came, but 19")])
def test_source_writer_refuses_another_number_of_rows(tmp_path: Path, count: int, found: str) -> None:
    with pytest.raises(SourceError, match=found):
        refused_write(tmp_path, item_ids(20), embeddings(20), count)


@pytest.mark.parametrize("rows", [np.zeros((20, DIM), np.float32), np.zeros((20, 4), np.float16)])
def test_source_writer_refuses_another_shape_or_type(tmp_path: Path, rows: Any) -> None:
    with pytest.raises(SourceError, match=r"Rows came as float\d\d of shape .*; wanted float16 of shape \(7, 8\)"):
        refused_write(tmp_path, item_ids(20), rows, 20)


# --- anything at all


@pytest.mark.parametrize("seed", range(60))
def test_source_with_any_damage_gives_rows_or_an_error_in_words(tmp_path: Path, seed: int) -> None:
    """Bytes changed, cut or put in, and checksums made to fit: no traceback, no crash, no other kind of error."""
    draw = np.random.default_rng(seed)
    folder = make_source(tmp_path / "source", 12)
    path = sorted(folder.iterdir())[seed % 5]
    content = bytearray(path.read_bytes())
    for _ in range(int(draw.integers(1, 4))):
        index = int(draw.integers(0, len(content)))
        match int(draw.integers(0, 3)):
            case 0:
                content[index] = int(draw.integers(0, 256))
            case 1:
                del content[index : index + int(draw.integers(1, 40))]
            case 2:
                content[index:index] = draw.bytes(int(draw.integers(1, 40)))
    path.write_bytes(content)
    if path.suffix == ".safetensors":
        refresh_entry(folder, path.name)
    else:
        fix_manifest_checksum(folder)
    with contextlib.suppress(PinembedError), EmbeddingSource.open(folder) as source:
        assert source.get([item_id for item_id in item_ids(12) if item_id in source]).dtype == np.float16
        assert sum(len(ids) for ids, _ in source.batches()) == 12
    with contextlib.suppress(PinembedError):
        verify(VerifySettings(folder=folder))
