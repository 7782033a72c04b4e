"""What a plan keeps of millions of items: columns, an index of ids by hash, and contents by their sha256."""

from __future__ import annotations

import gc
import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pinembed.catalogue import candidates as id_index
from pinembed.catalogue import folder, listing
from pinembed.catalogue.candidates import NOT_FOUND, IdIndex
from pinembed.catalogue.files import Beside, ScannedFile
from pinembed.encoding.diff import ContentHashes, digests_of

FILES = 20_000


def texts(*values: str) -> pa.LargeStringArray:
    return pa.array(values, pa.large_string())


def sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture(params=["hashes", "one hash for all"])
def hashes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "one hash for all":
        monkeypatch.setattr(id_index, "hashes_of", lambda ids: np.full(len(ids), 7, dtype=np.int64))


@pytest.mark.usefixtures("hashes")
def test_index_finds_ids_and_tells_those_of_one_hash_apart() -> None:
    index = IdIndex(texts("b", "é", "a"))

    assert index.find(pa.array(["a", "b", "c", "é"])).tolist() == [2, 0, NOT_FOUND, 1]
    assert index.find(texts()).tolist() == []
    assert IdIndex(texts()).find(texts("a")).tolist() == [NOT_FOUND]


@pytest.mark.usefixtures("hashes")
def test_index_names_the_first_of_equal_ids() -> None:
    assert sorted(IdIndex(texts("a", "b", "a", "c", "b", "a")).repeated()) == [(2, 0), (4, 1), (5, 0)]
    assert list(IdIndex(texts()).repeated()) == []


def test_stored_contents_are_found_by_their_size_and_hash() -> None:
    stored = ContentHashes(
        [
            (np.array([5, 7]), digests_of([sha256(1), sha256(2)])),
            (np.array([5, 5]), digests_of([sha256(3), sha256(1)])),
        ]
    )

    assert stored.of_size(5) == sorted([sha256(1), sha256(3)])
    assert stored.of_size(6) == []
    assert (stored.has(sha256(2), 7), stored.has(sha256(2), 5), stored.has(sha256(4), 7)) == (True, False, False)


def test_scan_of_many_files_keeps_a_few_bytes_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scanned(root: Path, beside: Beside) -> Iterator[ScannedFile]:
        for number in reversed(range(FILES)):
            name = f"some/folder/photo-{number:08}.jpg"
            yield ScannedFile(root=str(root), file_name=name, size_bytes=number, mtime_ns=2 * number)

    monkeypatch.setattr(listing, "files_of", scanned)
    folder.scan_folder(tmp_path, metadata=None, listed=None)  # once before, so that no first import is counted
    gc.collect()
    arrow_bytes = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        candidates = folder.scan_folder(tmp_path, metadata=None, listed=None).candidates
        found = candidates.find(pa.array(["some/folder/photo-00000002.jpg"]))
        peak_bytes = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - arrow_bytes
    finally:
        tracemalloc.stop()

    assert (len(candidates), found.tolist(), candidates[2].mtime_ns) == (FILES, [2], 4)
    assert peak_bytes < 300 * FILES
