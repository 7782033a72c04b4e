"""Encoding in shards: the rows of an ordinary run, each exactly once, whatever died at whatever step."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lance import LanceDataset
from PIL import Image

from pinembed.catalogue.candidates import Candidates
from pinembed.catalogue.parts import Inputs
from pinembed.encoder.backends.choose import BackendChoice
from pinembed.encoding import plan_run
from pinembed.encoding.diff import SHA256_BYTES, ContentHashes, StoredItems
from pinembed.encoding.plan import Plan
from pinembed.encoding.shards import adopt
from pinembed.encoding.shards import run as shard_run
from pinembed.encoding.shards.epoch import Epoch, Epochs
from pinembed.encoding.shards.receipt import Receipt
from pinembed.encoding.shards.shard import FEWEST_IMAGES, SHARD_S, ShardQueue
from pinembed.encoding.shards.worker import ShardWorker
from pinembed.errors import EncoderMismatchError, TableError, UsageError
from pinembed.images.loading import LoadRequest
from pinembed.images.pool import Answer
from pinembed.images.worker import answer
from pinembed.jobs.encode import encode
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.table import append
from pinembed.table.address import TableAddress, parse_address
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.lock import fence
from pinembed.table.notes import FileNotes, notes_of
from pinembed.table.quality_tables import MeasureTable
from pinembed.table.side_tables import FailureTable
from tests.encoding import counts, failures_of, rows_of, touch, write_noise
from tests.object_store import BUCKET

IMAGES = 18
SEEDS = int(os.environ.get("PINEMBED_CRASHES", "8"))
MOST_DEATHS = 12
STEPS: tuple[tuple[Any, str], ...] = (
    (Epochs, "open_next"),
    (append, "write_fragments"),
    (Epoch, "put"),
    (FailureTable, "record"),
    (adopt, "fence"),
    (adopt, "append_fragments"),
    (LanceDataset, "commit"),
    (shard_run, "merge_changed"),
    (FileNotes, "put_new"),
    (FileNotes, "remove"),
    (Epochs, "close"),
)
Encode = Callable[..., EncodeReport]
OPENED: dict[tuple[str, str], Any] = {}


class HerePool:
    """Loads in this process, so that a run takes some milliseconds."""

    waiting = 0

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self._requests: Iterator[LoadRequest] = iter(())

    def begin(self, requests: Iterable[LoadRequest]) -> None:
        self._requests = iter(requests)

    def answers(self) -> Iterator[Answer]:
        for request in self._requests:
            yield request.index, answer(request, self._preprocessing, ())

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards without the start of processes, and an encoder that opens once."""
    monkeypatch.setattr(ShardWorker, "_new_pool", lambda worker: HerePool(worker._work.spec.preprocessing))
    honest = BackendChoice.open

    def open_once(choice: BackendChoice, name: str) -> Any:
        key = (choice.fingerprint, name)
        if key not in OPENED:
            OPENED[key] = honest(choice, name)
        return OPENED[key]

    monkeypatch.setattr(BackendChoice, "open", open_once)


class KilledError(BaseException):
    """The process is gone: nobody catches this, and nothing that it would still do is done."""


class Deaths:
    """Ends a run before or after a random one of its steps."""

    def __init__(self, patch: pytest.MonkeyPatch, rng: random.Random) -> None:
        self._rng = rng
        self._left = 0
        self.is_dead = False
        for owner, name in STEPS:
            patch.setattr(owner, name, self._mortal(getattr(owner, name)))

    def arm(self) -> None:
        self._left, self.is_dead = self._rng.randrange(60), False

    def _mortal(self, honest: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            self._pass()
            answer = honest(*args, **options)
            self._pass()
            return answer

        return step

    def _pass(self) -> None:
        self._left -= 1
        if self.is_dead or self._left < 0:
            self.is_dead = True
            raise KilledError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 pictures, two of them equal, and one that is broken; not to be changed."""
    folder = write_noise(tmp_path_factory.mktemp("photos"), IMAGES)
    shutil.copy(folder / "000.png", folder / f"{IMAGES - 1:03}.png")
    return folder


@pytest.fixture
def in_shards(tmp_path: Path, tiny_encoder: Path, photos: Path) -> Encode:
    return encode_by(str(tmp_path / "db/pins"), tiny_encoder, photos)


def encode_by(table: str, encoder: Path, photos: Path) -> Encode:
    def run(images: Path = photos, **changes: Any) -> EncodeReport:
        given = {"shard_images": 4, "batch_size": 2, "commit_s": 0.0, "workers": 1, **changes}
        return encode(EncodeSettings(images=images, table=table, encoder=str(encoder), **given))

    return run


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path, photos: Path) -> dict[str, Any]:
    """The rows of a run without shards."""
    table = str(tmp_path_factory.mktemp("ordinary") / "db/pins")
    encode(EncodeSettings(images=photos, table=table, encoder=str(tiny_encoder), workers=1))
    return rows_of(table)


@pytest.fixture
def table(tmp_path: Path) -> str:
    return str(tmp_path / "db/pins")


def receipts_left(table: str) -> list[str]:
    return [name for name in notes_of(parse_address(table)).names() if name.endswith(".json")]


def fragments_of(table: str) -> int:
    return len(EmbeddingTable.open(table).dataset.get_fragments())


def test_shards_make_the_rows_of_an_ordinary_run_bit_for_bit(
    in_shards: Encode, table: str, ordinary: dict[str, Any]
) -> None:
    report = in_shards()

    assert rows_of(table) == ordinary
    assert failures_of(table) == {"bad.png": "not_an_image"}
    assert (report.counts.rows, report.counts.failed) == (IMAGES, 1)
    assert (report.backend, fragments_of(table), receipts_left(table)) == ("torch fp32 cpu", 5, [])
    assert counts(in_shards()) == {"unchanged": IMAGES, "failed": 1}


def test_shards_take_changed_moved_and_copied_images_as_an_ordinary_run_does(
    in_shards: Encode, tiny_encoder: Path, tmp_path: Path, photos: Path
) -> None:
    folder = shutil.copytree(photos, tmp_path / "copy")
    tables = [str(tmp_path / "db/pins"), str(tmp_path / "db/whole")]
    runs = [in_shards, encode_by(tables[1], tiny_encoder, photos)]
    runs[0](folder)
    runs[1](folder, shard_images=None)
    Image.new("RGB", (24, 24), (9, 8, 7)).save(folder / "003.png")
    touch(folder / "004.png")
    shutil.copy(folder / "005.png", folder / "again.png")
    (folder / "006.png").write_bytes(b"no picture any more")

    reports = [runs[0](folder), runs[1](folder, shard_images=None)]

    assert rows_of(tables[0]) == rows_of(tables[1])
    assert failures_of(tables[0]) == failures_of(tables[1])
    assert counts(reports[0]) == counts(reports[1])


def test_shards_fuse_and_measure_as_an_ordinary_run_does(
    catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    from pinembed.encoder.fusion import write_fusion
    from pinembed.nouns.encoder_spec import make_fusion

    fusing = shutil.copytree(tiny_encoder, tmp_path / "fusing")
    write_fusion(fusing, make_fusion({"image": 0.6, "title": 0.4}, {}))
    tables = [str(tmp_path / "db/pins"), str(tmp_path / "db/whole")]
    for name, size in zip(tables, (7, None), strict=True):
        encode_by(name, fusing, catalogue_folder)(shard_images=size, measure=True)

    assert rows_of(tables[0]) == rows_of(tables[1])
    measures = [MeasureTable(parse_address(name)).read().sort_by("sha256") for name in tables]
    assert measures[0].num_rows == 24
    assert measures[0].equals(measures[1])


@pytest.mark.parametrize("seed", range(SEEDS))
def test_runs_that_die_at_random_steps_lose_no_row_and_double_none(
    in_shards: Encode, table: str, ordinary: dict[str, Any], seed: int
) -> None:
    rng, died = random.Random(seed), 0
    with pytest.MonkeyPatch.context() as patch:
        deaths = Deaths(patch, rng)
        while died < MOST_DEATHS:
            deaths.arm()
            try:
                in_shards()
                break
            except KilledError:
                died += 1
    in_shards()

    assert died
    assert rows_of(table) == ordinary
    assert failures_of(table) == {"bad.png": "not_an_image"}
    assert receipts_left(table) == []


def test_rerun_encodes_only_the_shards_that_had_no_receipt(
    in_shards: Encode, table: str, ordinary: dict[str, Any]
) -> None:
    honest = ShardWorker.encode

    def mortal(worker: ShardWorker, shard: Any, *args: Any) -> None:
        if shard.number == 3:
            raise KilledError
        honest(worker, shard, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardWorker, "encode", mortal)
        patch.setattr(adopt, "append_fragments", lambda *args: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            in_shards(commit_s=60.0)
    assert not rows_of(table)

    report = in_shards()

    assert (report.counts.unchanged, report.counts.encoded) == (3 * 4, IMAGES - 3 * 4 - 1)  # one has a stored content
    assert rows_of(table) == ordinary


def test_commit_whose_answer_is_lost_is_seen_in_the_table_and_not_repeated(
    in_shards: Encode, table: str, ordinary: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, lost = LanceDataset.commit, []

    def answerless(*args: Any, **options: Any) -> Any:
        committed = honest(*args, **options)
        lost.append(committed.version)
        raise OSError("connection reset by peer")

    monkeypatch.setattr(LanceDataset, "commit", staticmethod(answerless))

    in_shards()

    assert len(lost) == 5
    assert rows_of(table) == ordinary


def test_receipts_of_committed_shards_are_known_by_their_ids_after_a_compaction(
    in_shards: Encode, table: str, ordinary: dict[str, Any]
) -> None:
    honest = Epochs.close

    def mortal(epochs: Epochs) -> None:
        if epochs.left_open:
            raise KilledError
        honest(epochs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Epochs, "close", mortal)
        with pytest.raises(KilledError):
            in_shards()
    assert len(receipts_left(table)) == 5
    EmbeddingTable.open(table).dataset.optimize.compact_files()
    assert fragments_of(table) == 1

    assert counts(in_shards()) == {"unchanged": IMAGES, "failed": 1}
    assert rows_of(table) == ordinary
    assert receipts_left(table) == []


def test_late_receipt_of_a_closed_epoch_is_never_looked_at(in_shards: Encode, table: str, photos: Path) -> None:
    kept: list[bytes] = []
    honest = Epoch.put
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Epoch, "put", lambda epoch, receipt: kept.append(receipt.to_bytes()) or honest(epoch, receipt))
        in_shards()
    EmbeddingTable.open(table).dataset.delete("id = '000.png'")
    notes_of(parse_address(table)).put_new("000001/00000.json", kept[0])

    report = in_shards(prune=True)

    assert report.counts.duplicate == 1  # planned anew, with the vector of the equal picture
    assert receipts_left(table) == []


def test_driver_whose_table_was_taken_over_commits_nothing_any_more(
    in_shards: Encode, table: str, ordinary: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = adopt.append_fragments, []

    def overtaken(opened: EmbeddingTable, *args: Any) -> None:
        calls.append(opened)
        if len(calls) == 3:
            fence(parse_address(table))
        honest(opened, *args)

    monkeypatch.setattr(adopt, "append_fragments", overtaken)
    with pytest.raises(TableError, match="incompatible with concurrent transaction Restore"):
        in_shards()
    assert len(rows_of(table)) == 8

    in_shards()

    assert rows_of(table) == ordinary


def test_fragments_for_other_columns_are_encoded_again(
    in_shards: Encode, table: str, ordinary: dict[str, Any], photos: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adopt, "append_fragments", lambda *args: (_ for _ in ()).throw(KilledError))
        with pytest.raises(KilledError):
            in_shards()
    EmbeddingTable.open(table).dataset.add_columns(pa.schema([pa.field("color", pa.string())]))

    report = in_shards()

    assert (report.counts.added, report.counts.duplicate, report.counts.failed) == (IMAGES, 0, 1)
    assert {item: row["vector"] for item, row in rows_of(table).items()} == {
        item: row["vector"] for item, row in ordinary.items()
    }


def test_receipt_is_read_as_it_was_written_and_nothing_else_is(in_shards: Encode) -> None:
    kept: list[Receipt] = []
    with pytest.MonkeyPatch.context() as patch:
        honest = Epoch.put
        patch.setattr(Epoch, "put", lambda epoch, receipt: kept.append(receipt) or honest(epoch, receipt))
        in_shards()

    stored = kept[-1].to_bytes()
    assert Receipt.from_bytes(stored) == dataclasses.replace(kept[-1])
    assert Receipt.from_bytes(stored.replace(b'"version": 1', b'"version": 2')) is None
    assert Receipt.from_bytes(stored[:-9]) is None


@pytest.fixture(params=["folder", "store"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> TableAddress:
    """The address of a table that is not there, in a folder and in an object store."""
    if request.param == "folder":
        return parse_address(str(tmp_path / "db/pins"))
    request.getfixturevalue("at_s3")
    return TableAddress(database=f"s3://{BUCKET}/{tmp_path.name}", name="pins")


def test_only_one_can_put_a_receipt_or_open_an_epoch(anywhere: TableAddress) -> None:
    notes = notes_of(anywhere)

    assert [notes.put_new("000001/00000.json", content) for content in (b"first", b"second")] == [True, False]
    assert notes.read("000001/00000.json") == b"first"
    assert notes.read("000001/00001.json") is None
    assert Epochs(anywhere).open_next().number == 2
    epochs = Epochs(anywhere)
    notes.put_new("000003/open", b"open")
    with pytest.raises(TableError, match="Another run has just opened epoch 3"):
        epochs.open_next()


def test_closed_epochs_are_forgotten_but_for_their_number(anywhere: TableAddress) -> None:
    notes = notes_of(anywhere)
    for _ in range(2):
        epochs = Epochs(anywhere)
        epochs.open_next()
        assert len(epochs.left_open) == 1
        epochs.close()
        notes.put_new("000001/00007.json", b"late")
    assert Epochs(anywhere).left_open == []

    Epochs(anywhere).close()

    names = [name for name in notes.names() if not name.isdecimal()]  # SeaweedFS shows folders that are empty
    assert names == ["closed-000002"]
    assert Epochs(anywhere).open_next().number == 3


def test_worker_finds_an_encoder_again_that_is_not_where_the_driver_had_it(
    in_shards: Encode, tiny_encoder: Path, other_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(reference: Path) -> None:
        found = {"weights": Path("/cache/of/the/driver/w.safetensors"), "reference": str(reference)}
        monkeypatch.setattr(plan_run, "with_absolute_paths", lambda files: dataclasses.replace(files, **found))

    away(tiny_encoder)
    assert in_shards().counts.encoded == IMAGES
    away(other_encoder)
    with pytest.raises(EncoderMismatchError, match="finds other weights under"):
        in_shards(id_prefix="again/")


def plan_of(images: int) -> Plan:
    names = pa.array([f"{number:06}.jpg" for number in range(images)], pa.large_string())
    numbers = np.arange(images, dtype=np.int64)
    candidates = Candidates(
        names=names, ids=names, size_bytes=numbers + 1, mtime_ns=numbers, fields=None, images=Path("/photos")
    )
    inputs = Inputs(
        folder="/photos",
        candidates=candidates,
        schema=pa.schema([]),
        failures=(),
        disk=0,
        folders=("/photos",),
    )
    none = np.empty(0, np.int64)
    hashes = ContentHashes([(numbers + 1, np.zeros((images, SHA256_BYTES), np.uint8))])
    stored = StoredItems([(numbers[::2], numbers[::2], np.zeros((len(numbers[::2]), SHA256_BYTES), np.uint8))])
    return Plan(inputs=inputs, unchanged=0, rewrite=none, load=numbers, stored=stored, content_hashes=hashes, rows=0)


def test_shards_are_five_minutes_of_their_workers_work_and_small_at_both_ends() -> None:
    queue = ShardQueue(plan_of(100_000), workers=2, fixed=None)

    sizes = []
    while (shard := queue.next(50.0 if sizes else 0.0)) is not None:
        sizes.append(shard.images)

    assert sum(sizes) == 100_000
    assert sizes[0] == 1_000
    assert max(sizes) == 50 * SHARD_S
    assert sizes[-2] == FEWEST_IMAGES
    assert sorted(sizes[1:], reverse=True) == sizes[1:]


def test_shard_has_of_the_plan_what_its_images_need_and_comes_back_as_it_was() -> None:
    queue = ShardQueue(plan_of(10), workers=1, fixed=4)
    first, second = queue.next(), queue.next()
    assert first is not None
    assert second is not None

    queue.give_back(first)

    assert queue.next() is first
    assert second.plan.inputs.candidates.names.to_pylist() == [f"{number:06}.jpg" for number in range(4, 8)]
    assert [second.plan.stored.of(index) is not None for index in range(4)] == [True, False, True, False]
    assert [bool(second.plan.content_hashes.of_size(size)) for size in (4, 5, 8, 9)] == [False, True, True, False]
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"engine": "spark"}, "--engine spark is unknown; wanted local or ray."),
        ({"address": "auto"}, "--address is of --engine ray; this run's engine is local."),
    ],
)
def test_engine_that_is_unknown_and_options_of_another_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as said:
        EncodeSettings(images=Path("photos"), table="db/pins", encoder="encoder", **changes)

    assert said.value.message == sentence
