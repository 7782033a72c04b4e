"""A source that goes on from an earlier one: the same answers as one made at once, for the price of what is new."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from pinembed.errors import SourceError
from pinembed.jobs.verify import verify
from pinembed.nouns.manifest import FLOAT_BYTES
from pinembed.settings.source import VerifySettings
from pinembed.source.continued import continue_source
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.source.writer import write_source
from tests.source_material import DIM, SPEC

Items = dict[str, np.ndarray]
SHARD_ROWS = 64
SHARD_BYTES = SHARD_ROWS * DIM * FLOAT_BYTES["float16"]


def drawn(names: Iterable[str], seed: int = 0) -> Items:
    draw = np.random.default_rng(seed)
    return {name: draw.standard_normal(DIM).astype(np.float16) for name in names}


def names(start: int, end: int) -> list[str]:
    return [f"item-{number:06}" for number in range(start, end)]


def batches(items: Items) -> list[tuple[list[str], np.ndarray]]:
    ids, rows_ND = list(items), np.stack(list(items.values()))
    return [(ids[start : start + 50], rows_ND[start : start + 50]) for start in range(0, len(ids), 50)]


@pytest.fixture
def first(tmp_path: Path) -> tuple[Path, Items]:
    items = drawn(names(0, 1000))
    (tmp_path / "first").mkdir()
    write_source(tmp_path / "first", SPEC, batches(items), count=len(items), shard_bytes=SHARD_BYTES)
    return tmp_path / "first", items


def go_on(folder: Path, base: Path, items: Items) -> list[str]:
    """Continue a source; returns the names of the files that were written."""
    folder.mkdir()
    with EmbeddingSource.open(base) as source:
        made = continue_source(folder, source, batches(items), count=len(items), shard_bytes=SHARD_BYTES)
    assert made is not None
    return sorted(path.name for path in folder.glob("*.safetensors") if path.stat().st_nlink == 1)


def check(folder: Path, items: Items) -> None:
    assert not verify(VerifySettings(folder=folder)).findings
    with EmbeddingSource.open(folder) as source:
        assert sorted(source.ids) == sorted(items)
        np.testing.assert_array_equal(source.get(list(items)), np.stack(list(items.values())))
        assert [source.ids.index(item_id) for item_id in source.ids] == list(range(len(source)))
        assert source.find(["nothing", "item-9", ""]).tolist() == [-1, -1, -1]


def test_new_rows_are_all_that_is_written(first: tuple[Path, Items], tmp_path: Path) -> None:
    folder, items = first
    more = items | drawn(names(1000, 1010), 1)
    # the last shard has 40 rows, more than twice ten: it stays, and the large index too
    assert go_on(tmp_path / "second", folder, more) == ["embeddings-00016.safetensors", "ids-00001.safetensors"]
    check(tmp_path / "second", more)


def test_rows_that_only_moved_in_the_table_are_not_written(first: tuple[Path, Items], tmp_path: Path) -> None:
    folder, items = first
    moved = {name: items[name] for name in [*names(500, 1000), *names(0, 500)]}
    assert go_on(tmp_path / "second", folder, moved) == []
    check(tmp_path / "second", moved)


@pytest.mark.parametrize(
    "change", [lambda items: {name: items[name] for name in items if name != "item-000100"},
               lambda items: items | drawn(["item-000100"], 7)], ids=["gone", "changed"]
)  # fmt: skip
def test_a_row_that_went_or_changed_costs_its_own_shard(
    first: tuple[Path, Items], tmp_path: Path, change: Callable[[Items], Items]
) -> None:
    folder, items = first
    changed = change(items)
    written = go_on(tmp_path / "second", folder, changed)
    assert "embeddings-00001.safetensors" in written
    assert len([name for name in written if name.startswith("embeddings")]) <= 2
    check(tmp_path / "second", changed)


def test_a_year_of_nights_gives_the_same_answers_from_few_files(first: tuple[Path, Items], tmp_path: Path) -> None:
    folder, items = first
    draw = np.random.default_rng(5)
    written_bytes = 0
    for night in range(365):
        items = items | drawn(names(1000 + 10 * night, 1010 + 10 * night), night)
        if night % 7 == 3:  # some go and some change
            gone, changed = draw.choice(list(items), 6, replace=False).reshape(2, 3).tolist()
            items = {name: items[name] for name in items if name not in gone} | drawn(changed, 1000 + night)
        new = tmp_path / str(night)
        written = go_on(new, folder, items)
        written_bytes += sum((new / name).stat().st_size for name in written)
        shutil.rmtree(folder)
        folder = new
        if night % 60 == 59:
            check(folder, items)
    check(folder, items)
    with EmbeddingSource.open(folder) as source:
        assert len(source.manifest.index) <= 12
        assert len(source.manifest.shards) <= 2.5 * len(items) / SHARD_ROWS
        assert written_bytes < 365 * source.manifest.size_bytes / 4


def test_ids_of_all_files_are_told_apart_where_hashes_meet(
    first: tuple[Path, Items], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.source import id_index, index_writer

    def few(ids_utf8: Iterable[bytes]) -> np.ndarray:
        return np.array([sum(item_id) % 5 for item_id in ids_utf8], np.uint64)

    for module in (id_index, index_writer):
        monkeypatch.setattr(module, "hash_ids", few)
    (tmp_path / "few").mkdir()
    items = dict(list(first[1].items())[:100])
    write_source(tmp_path / "few", SPEC, batches(items), count=100, shard_bytes=SHARD_BYTES)
    more = items | drawn(names(2000, 2010), 1)
    go_on(tmp_path / "second", tmp_path / "few", more)
    with EmbeddingSource.open(tmp_path / "second") as source:
        np.testing.assert_array_equal(source.get(list(more)), np.stack(list(more.values())))


@pytest.mark.parametrize("twice", ["item-000100", "new"])
def test_an_id_that_occurs_twice_is_refused(first: tuple[Path, Items], tmp_path: Path, twice: str) -> None:
    folder, items = first
    more = items | drawn(["new"], 1)
    doubled = [*batches(more), ([twice], more[twice][None])]
    with EmbeddingSource.open(folder) as source, pytest.raises(SourceError, match=f"occur more than once: '{twice}'"):
        continue_source(tmp_path, source, doubled, count=len(more) + 1, shard_bytes=SHARD_BYTES)


def test_where_much_is_new_all_is_written_anew(first: tuple[Path, Items], tmp_path: Path) -> None:
    folder, items = first
    more = items | drawn(names(2000, 2400), 1)
    with EmbeddingSource.open(folder) as source:
        made = continue_source(tmp_path / "second", source, batches(more), count=1400, shard_bytes=SHARD_BYTES)
    assert made is None


def test_verify_finds_an_id_that_two_index_files_hold(first: tuple[Path, Items], tmp_path: Path) -> None:
    folder, items = first
    go_on(tmp_path / "second", folder, items | drawn(names(1000, 1010), 1))
    path = tmp_path / "second" / "ids-00001.safetensors"
    (tmp_path / "double").mkdir()
    write_source(tmp_path / "double", SPEC, batches(drawn(names(0, 10))), count=10)
    path.write_bytes((tmp_path / "double" / "ids-00000.safetensors").read_bytes())
    found = verify(VerifySettings(folder=tmp_path / "second")).findings
    assert [finding.problem for finding in found] == ["checksum", "duplicate_id"]
    assert "10 id(s) occur more than once" in found[1].detail


def test_files_that_the_earlier_source_has_too_are_not_read_again(tmp_path: Path, first: tuple[Path, Items]) -> None:
    base, items = first
    more = items | drawn(names(1000, 1010), seed=1)
    written = go_on(tmp_path / "second", base, more)
    report = verify(VerifySettings(folder=tmp_path / "second", base=base))
    assert not report.findings
    sizes = [(tmp_path / "second" / name).stat().st_size for name in written]
    assert report.size_bytes <= sum(sizes)
    assert report.files == verify(VerifySettings(folder=tmp_path / "second")).files
    flipped = tmp_path / "second" / written[0]
    flipped.write_bytes(flipped.read_bytes()[:-1] + b"\x01")
    assert verify(VerifySettings(folder=tmp_path / "second", base=base)).findings


def test_a_copy_and_an_edited_list_of_the_earlier_source_are_read(tmp_path: Path, first: tuple[Path, Items]) -> None:
    base, items = first
    shutil.copytree(base, tmp_path / "copy")
    [shard] = sorted((tmp_path / "copy").glob("embeddings-00003*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    assert verify(VerifySettings(folder=tmp_path / "copy", base=base)).findings
    go_on(tmp_path / "second", base, items | drawn(["one more"]))
    linked = tmp_path / "second" / shard.name
    assert linked.samefile(base / shard.name)
    with (base / "manifest.json").open("ab") as file:  # nothing vouches for the files of a base that was edited
        file.write(b" ")
    content = linked.read_bytes()
    (base / shard.name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert verify(VerifySettings(folder=tmp_path / "second", base=base)).findings
