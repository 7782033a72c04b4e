"""encode --dims and --dtype: fewer floats, or longer ones, from the table to the exported folder and back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from pinembed import EmbeddingSource
from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.fusion import write_fusion
from pinembed.errors import EncoderMismatchError, UsageError
from pinembed.jobs.encode import encode
from pinembed.jobs.evaluate import evaluate
from pinembed.jobs.export import export
from pinembed.jobs.search import search
from pinembed.jobs.verify import verify
from pinembed.nouns.encoder_spec import make_fusion
from pinembed.reports.encode import EncodeReport
from pinembed.settings.encoding import EncodeSettings, SearchSettings
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.settings.training import EvaluateSettings
from pinembed.table.embedding_table import EmbeddingTable
from tests.conftest import CliResult
from tests.encoding import counts, rows_of

pytest_plugins = ("tests.encoding_fixtures",)
Cli = Callable[..., CliResult]
Run = Callable[..., EncodeReport]
D, KEPT = 16, 6


def matrix(table: str, column: str = "vector") -> np.ndarray:
    return np.stack([np.asarray(row[column], np.float32) for _, row in sorted(rows_of(table).items())])


def first_floats(vectors_ND: np.ndarray, dims: int = KEPT) -> np.ndarray:
    first_ND = vectors_ND[:, :dims]
    return np.asarray(first_ND / np.linalg.norm(first_ND, axis=1, keepdims=True))


def test_table_of_fewer_dims_holds_the_first_floats_at_norm_one(run: Run, tmp_path: Path, table: str) -> None:
    run(table=str(tmp_path / "full"), dtype="fp32")
    report = run(dims=KEPT)

    assert EmbeddingTable.open(table).spec.dim == KEPT
    assert report.fingerprint == EmbeddingTable.open(table).spec.fingerprint
    assert report.fingerprint != EmbeddingTable.open(str(tmp_path / "full")).spec.fingerprint
    np.testing.assert_allclose(matrix(table), first_floats(matrix(str(tmp_path / "full"))), atol=1e-3)


def test_later_runs_keep_as_many_floats_and_of_the_kind_as_the_table_has(run: Run, folder: Path, table: str) -> None:
    run(dims=KEPT, dtype="fp32")
    shutil.copyfile(folder / "red.png", folder / "one.png")
    shutil.copyfile(folder / "sub" / "red.jpg", folder / "sub" / "two.jpg")
    (folder / "blue.png").rename(folder / "azure.png")

    assert counts(run()) == {"duplicate": 3, "unchanged": 6 - 1}
    assert {len(row["vector"]) for row in rows_of(table).values()} == {KEPT}
    assert EmbeddingTable.open(table).dtype == "fp32"


def test_run_with_other_dims_than_the_tables_is_refused(run: Run) -> None:
    run(dims=KEPT)
    with pytest.raises(EncoderMismatchError, match=f"holds {KEPT} floats of each embedding of .*; this run keeps 8"):
        run(dims=8)
    with pytest.raises(EncoderMismatchError, match=f"this run keeps {D}"):
        run(dims=D)


def test_table_of_all_floats_is_not_cut_by_a_later_run(run: Run) -> None:
    run()
    with pytest.raises(EncoderMismatchError, match=f"holds {D} floats .*; this run keeps {KEPT}"):
        run(dims=KEPT)


def test_more_dims_than_the_encoder_gives_are_refused_and_leave_nothing(cli: Cli, run: Run, table: str) -> None:
    with pytest.raises(UsageError, match=f"--dims {D + 1} cannot be kept: .* gives {D} floats"):
        run(dims=D + 1)
    assert not Path(table).parent.exists()


def test_all_dims_by_number_are_the_same_table_as_all_by_default(run: Run) -> None:
    assert run().fingerprint == run(dims=D).fingerprint


def test_table_stores_fp32_where_asked_for(run: Run, tmp_path: Path, table: str) -> None:
    run(dtype="fp32")
    run(table=str(tmp_path / "half"))

    full_ND, half_ND = matrix(table), matrix(str(tmp_path / "half"))
    assert np.abs(np.linalg.norm(full_ND, axis=1) - 1).max() < 1e-6
    assert (full_ND.astype(np.float16) == half_ND).all()
    assert (full_ND != half_ND).any()


def test_another_dtype_than_the_tables_is_refused(run: Run) -> None:
    run()
    with pytest.raises(UsageError, match="stores fp16 floats; --dtype fp32 asks for others"):
        run(dtype="fp32")
    with pytest.raises(UsageError, match="--dtype int8 is unknown; wanted fp16 or fp32"):
        run(dtype="int8")


def test_search_asks_a_table_of_fewer_dims_with_as_many(cli: Cli, run: Run, folder: Path, table: str) -> None:
    run(dims=KEPT)

    found = search(SearchSettings(table=table, image=folder / "green.png", k=1))
    assert found.results[0].id == "green.png"
    assert found.results[0].score == pytest.approx(1, abs=2e-3)
    assert len(search(SearchSettings(table=table, text="green", k=3)).results) == 3
    assert f"{KEPT} floats in fp16" in cli("inspect", "--table", table).words


@pytest.mark.parametrize("format", ["source", "npy", "parquet"])
def test_export_keeps_dims_and_dtype_and_verify_finds_it_whole(
    run: Run, table: str, tmp_path: Path, format: str
) -> None:
    run(dims=KEPT, dtype="fp32")
    out = tmp_path / "out"
    export(ExportSettings(table=table, out=out, format=format))

    report = verify(VerifySettings(folder=out))
    assert (report.findings, report.dim) == ((), KEPT)
    if format == "source":
        with EmbeddingSource.open(out) as source:
            ids, vectors_ND = list(source.ids), source.get(list(source.ids))
        assert load_file(out / "embeddings-00000.safetensors")["embeddings"].dtype == np.float32
    elif format == "npy":
        ids, vectors_ND = None, np.load(out / "vectors.npy")
    else:
        rows = pq.read_table(out / "embeddings-00000.parquet")
        ids, vectors_ND = rows["id"].to_pylist(), np.array(rows["vector"].to_pylist(), np.float32)
    stored = rows_of(table)
    wanted_ND = np.array([stored[item_id]["vector"] for item_id in ids or stored], np.float32)
    np.testing.assert_array_equal(vectors_ND, wanted_ND)
    assert vectors_ND.dtype == np.float32


def test_verify_finds_nan_in_fp32_rows(run: Run, table: str, tmp_path: Path) -> None:
    run(dtype="fp32")
    out = tmp_path / "out"
    export(ExportSettings(table=table, out=out, format="npy"))
    rows_ND = np.load(out / "vectors.npy")
    rows_ND[2, 1] = np.nan
    np.save(out / "vectors.npy", rows_ND)

    problems = {finding.problem: finding.detail for finding in verify(VerifySettings(folder=out)).findings}
    assert problems["non_finite"] == "holds NaN or inf in 1 row(s): 2"


def test_fused_items_of_fewer_dims_are_fused_of_the_first_floats(
    catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    write_fusion(folder, make_fusion({"image": 0.5, "title": 0.5}))
    table = str(tmp_path / "db" / "pins")
    encode(EncodeSettings(images=catalogue_folder, table=table, encoder=str(folder), dims=KEPT, workers=1))

    loaded = load_encoder(str(folder), dims=KEPT)
    titles = [row["title"] for _, row in sorted(rows_of(table).items())]
    image_ND = matrix(table, "image_vector")
    assert image_ND.shape[1] == loaded.dim == KEPT
    sum_ND = image_ND + loaded.embed_texts(titles).numpy()
    np.testing.assert_allclose(matrix(table), sum_ND / np.linalg.norm(sum_ND, axis=1, keepdims=True), atol=2e-3)


def test_evaluate_measures_as_many_floats_as_encode_keeps(catalogue_folder: Path, tiny_encoder: Path) -> None:
    asked = {"data": catalogue_folder, "encoder": str(tiny_encoder), "split": "all", "text": ["title"]}
    cut, full = evaluate(EvaluateSettings(**asked, dims=KEPT)), evaluate(EvaluateSettings(**asked))

    assert cut.encoder.scores != full.encoder.scores
    assert cut.encoder.fingerprint == load_encoder(str(tiny_encoder), dims=KEPT).spec.fingerprint
    with pytest.raises(UsageError, match="--dims 99 cannot be kept"):
        evaluate(EvaluateSettings(**asked, dims=99))
