"""The finetune command, on a drawn catalogue with tiny encoders."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch

from tests.conftest import CliResult, make_encoder, write_catalogue


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a short run wrote; not to be changed."""
    from pinembed.jobs.finetune import finetune

    folder = tmp_path_factory.mktemp("tuned")
    data = write_catalogue(folder / "data", views=5)
    base = make_encoder(folder / "base")
    finetune(data=data, base=str(base), out=folder / "out", group="product", epochs=12, batch_size=16, lr=2e-3)
    return folder


def test_finetune_learns_what_the_base_does_not_know(tuned: Path) -> None:
    run = json.loads((tuned / "out" / "run.json").read_text(encoding="utf-8"))
    base, kept = run["metrics"]["base"], run["metrics"]["kept"]
    assert run["best_epoch"] > 0
    assert kept["text_to_image_map"] > base["text_to_image_map"] + 0.2
    assert kept["mean_map"] == max(epoch["mean_map"] for epoch in run["epochs"])


def test_finetune_writes_a_folder_that_open_clip_loads_with_the_kept_weights(tuned: Path) -> None:
    from pinembed.encoder.encoder import load_encoder

    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tuned / 'out'}")
    ours = load_encoder(str(tuned / "out")).model.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in model.state_dict().items())
    run = json.loads((tuned / "out" / "run.json").read_text(encoding="utf-8"))
    assert run["fingerprint"] == load_encoder(str(tuned / "out")).spec.fingerprint


def test_finetune_records_settings_versions_and_the_base_before_the_first_step(tuned: Path) -> None:
    run = json.loads((tuned / "out" / "run.json").read_text(encoding="utf-8"))
    assert run["settings"]["seed"] == 0
    assert run["settings"]["text"] == ["title"]
    assert run["versions"]["torch"] == torch.__version__
    assert run["epochs"][0]["loss"] is None
    assert len(run["epochs"]) == 13
    assert (tuned / "out" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_finetune_with_the_same_seed_gives_the_same_weights(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    prints = [
        cli("finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / f"out{run}", "--lr", "1e-3",
            "--epochs", "2", "--batch-size", "4", "--seed", seed, "--group", "product", "--json").json["fingerprint"]
        for run, seed in enumerate(["0", "0", "1"])
    ]  # fmt: skip
    assert prints[0] == prints[1] != prints[2]


def test_finetune_hands_the_base_back_where_no_epoch_is_better(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    from pinembed.encoder.encoder import load_encoder

    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "1", "--lr", "0"
    )
    assert result.exit_code == 0
    assert "No epoch was better than the base" in result.words
    kept, base = load_encoder(str(tmp_path / "out")).model, load_encoder(str(tiny_encoder)).model
    assert all(torch.equal(kept.state_dict()[name], tensor) for name, tensor in base.state_dict().items())


def test_finetune_starts_from_random_weights_when_asked(
    cli: Callable[..., CliResult], catalogue_folder: Path, tmp_path: Path
) -> None:
    result = cli(
        "finetune", catalogue_folder, "--base", "pinembed-tiny", "--random-init", "--out", tmp_path / "out",
        "--epochs", "1", "--json",
    )  # fmt: skip
    assert result.exit_code == 0
    assert result.json["settings"]["random_init"] is True


def test_finetune_passes_broken_images_over_and_names_them(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    data = write_catalogue(tmp_path / "more", views=4)
    (data / "images" / "red-circle-0.png").write_bytes(b"")
    report = cli("finetune", data, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "1", "--json").json
    assert report["broken"] == ["images/red-circle-0.png"]
    assert report["train_images"] == 15


def test_finetune_fits_the_run_into_the_minutes(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "10000",
        "--minutes", "0.01", "--batch-size", "2", "--json",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "--minutes allows" in result.stderr
    assert len(result.json["epochs"]) < 100


def test_finetune_goes_on_without_the_plot_where_matplotlib_is_missing(
    cli: Callable[..., CliResult],
    catalogue_folder: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "1", "--json"
    )
    assert result.exit_code == 0
    assert "needs the package matplotlib" in result.stderr
    assert result.json["curves"] is None
    assert not (tmp_path / "out" / "curves.png").exists()


def test_finetune_refuses_an_output_folder_that_holds_something(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine", encoding="utf-8")
    refused = cli("finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out")
    assert refused.exit_code == 1
    assert "exists and holds 1 file(s)" in refused.words


def test_finetune_refuses_a_bare_architecture_without_random_init(
    cli: Callable[..., CliResult], catalogue_folder: Path, tmp_path: Path
) -> None:
    result = cli("finetune", catalogue_folder, "--base", "pinembed-tiny", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "is an architecture without weights" in result.words


def keep_rows(folder: Path, wanted: Callable[[dict[str, str]], bool], **values: str) -> None:
    """Rewrite the metadata with some rows, some values replaced, and the files of the others removed."""
    metadata = folder / "metadata.csv"
    rows = list(csv.DictReader(metadata.open(encoding="utf-8")))
    for row in rows:
        if not wanted(row):
            (folder / row["file_name"]).unlink()
    with metadata.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, **values} for row in rows if wanted(row))


@pytest.mark.parametrize(
    ("wanted", "values", "exit_code", "sentence"),
    [
        (lambda row: row["split"] != "train", {}, 2, "training needs one called train"),
        (lambda row: row["split"] != "train" or row["color"] == "red", {}, 1, "has 2 training item(s) with a text"),
        (lambda row: True, {"title": "the same"}, 1, "have one and the same text in title"),
        (lambda row: row["split"] != "val" or row["id"] == "red-circle-1", {}, 1, "fewer than 2 distinct texts"),
    ],
    ids=["no training split", "few images", "one text", "tiny validation"],
)
def test_finetune_refuses_what_training_cannot_be_judged_on(
    cli: Callable[..., CliResult],
    catalogue_folder: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    wanted: Callable[[dict[str, str]], bool],
    values: dict[str, str],
    exit_code: int,
    sentence: str,
) -> None:
    keep_rows(catalogue_folder, wanted, **values)
    result = cli("finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out")
    assert result.exit_code == exit_code
    assert sentence in result.words
    assert not (tmp_path / "out").exists()
