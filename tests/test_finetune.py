"""The finetune command, on a drawn catalogue with tiny encoders."""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import open_clip
import pytest
import torch

from pinembed.settings.training import FinetuneSettings
from tests.conftest import CliResult, Said, make_encoder, write_catalogue
from tests.families import Family, write_family

SHORT_RUN = {"group": "product", "epochs": 12, "batch_size": 16, "lr": 2e-3, "heads": False}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a short run wrote; not to be changed."""
    from pinembed.jobs.finetune import finetune

    folder = tmp_path_factory.mktemp("tuned")
    data = write_catalogue(folder / "data", views=5)
    base = make_encoder(folder / "base")
    finetune(FinetuneSettings(data=data, base=str(base), out=folder / "out", **SHORT_RUN))
    return folder


def test_finetune_learns_what_the_base_does_not_know(tuned: Path) -> None:
    run = json.loads((tuned / "out" / "run.json").read_text(encoding="utf-8"))
    base, chosen = run["epochs"][0], run["chosen"]
    assert run["best_epoch"] > 0
    assert chosen["text_to_image_map"] > base["text_to_image_map"] + 0.2
    assert chosen["mean_map"] >= max(epoch["mean_map"] for epoch in run["epochs"]) - 0.1


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
        cli("finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / f"out{run}", "--lr", "2e-3",
            "--epochs", "6", "--batch-size", "4", "--seed", seed, "--group", "product", "--json").json["fingerprint"]
        for run, seed in enumerate(["0", "0", "1"])
    ]  # fmt: skip
    assert prints[0] == prints[1] != prints[2]


def test_finetune_hands_the_base_back_where_no_epoch_is_better(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    from pinembed.encoder.encoder import load_encoder

    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "1", "--lr", "0",
        "--no-heads",
    )  # fmt: skip
    assert result.exit_code == 4
    assert "The base stays: no epoch, and no interpolation with the base, was better on validation" in result.words
    kept, base = load_encoder(str(tmp_path / "out")).model, load_encoder(str(tiny_encoder)).model
    assert all(torch.equal(kept.state_dict()[name], tensor) for name, tensor in base.state_dict().items())


def test_finetune_passes_the_gate_on_a_split_that_took_no_part(tuned: Path) -> None:
    run = json.loads((tuned / "out" / "run.json").read_text(encoding="utf-8"))
    assert run["promoted"] is True
    assert run["gate"]["split"] == "test"
    assert run["gate"]["images"] == 8
    assert run["gate"]["tuned"]["text_to_image"]["map"] > run["gate"]["base"]["text_to_image"]["map"]
    assert run["gate"]["verdict"]["mean_map"]["low"] > 0


def test_finetune_writes_a_card_with_the_measured_figures(tuned: Path) -> None:
    card = (tuned / "out" / "README.md").read_text(encoding="utf-8")
    run = json.loads((tuned / "out" / "run.json").read_text(encoding="utf-8"))
    assert f"# Encoder {run['fingerprint']}" in card
    assert f"| {run['epochs'][0]['text_to_image_map']:.3f} | {run['chosen']['text_to_image_map']:.3f} |" in card
    assert f"{run['gate']['tuned']['text_to_image']['map']:.3f}" in card
    assert "24 images trained, 8 selected, 8 judged" in card


def test_finetune_tells_which_pictures_lie_on_both_sides(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    images = catalogue_folder / "images"
    (images / "red-circle-2.png").write_bytes((images / "blue-square-0.png").read_bytes())
    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "1", "--json"
    )
    (leak,) = [found for found in result.json["data"]["leaks"] if found["pairs"][0]["identical"]]
    pair = {"file_name": "images/red-circle-2.png", "seen_as": "images/blue-square-0.png", "identical": True}
    assert (leak["split"], leak["also_in"]) == ("test", "train")
    assert pair in leak["pairs"]
    assert "of test are also in train, 1 of them byte for byte, e.g." in result.stderr


def test_finetune_keeps_the_base_where_the_gate_says_so(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    # captions of the test split belong to other items, so nothing that was learned helps there
    metadata = catalogue_folder / "metadata.csv"
    rows = list(csv.DictReader(metadata.open(encoding="utf-8")))
    titles = {row["product"]: row["title"] for row in rows}
    others = dict(zip(titles, [*list(titles.values())[3:], *list(titles.values())[:3]], strict=True))
    for row in rows:
        row["title"] = others[row["product"]] if row["split"] == "test" else row["title"]
    with metadata.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--group", "product",
        "--epochs", "12", "--batch-size", "8", "--lr", "2e-3",
    )  # fmt: skip
    assert result.exit_code == 4
    assert "Gate: split test, 8 images that took no part" in result.words
    run = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))
    assert run["alpha"] > 0
    assert run["promoted"] is False
    assert run["encoder"]["weights_sha256"] == fingerprint_of_weights(tiny_encoder, tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_finetune_on_shuffled_captions_keeps_the_base(tiny_encoder: Path, tmp_path: Path, seed: int) -> None:
    from pinembed.jobs.finetune import finetune

    data = write_catalogue(tmp_path / "data", views=5)
    metadata = data / "metadata.csv"
    rows = list(csv.DictReader(metadata.open(encoding="utf-8")))
    titles = [row["title"] for row in rows]
    random.Random(seed).shuffle(titles)
    with metadata.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "title": title} for row, title in zip(rows, titles, strict=True))
    report = finetune(
        FinetuneSettings(
            data=data, base=str(tiny_encoder), out=tmp_path / "out", seed=seed, **{**SHORT_RUN, "epochs": 6}
        )
    )
    assert not report.promoted


def fingerprint_of_weights(encoder: Path, folder: Path) -> str:
    """The base's weights as finetune stores them."""
    from pinembed.encoder.encoder import load_encoder
    from pinembed.encoder.save import save_encoder

    (folder / "again").mkdir()
    save_encoder(load_encoder(str(encoder)), folder / "again")
    return load_encoder(str(folder / "again")).spec.weights_sha256


@pytest.mark.parametrize("second", [False, True], ids=["in its training", "in its second training"])
def test_a_run_that_was_killed_goes_on_and_ends_with_the_same_weights(
    second: bool, tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.jobs.finetune import finetune
    from pinembed.training.losses import Batch
    from pinembed.training.trainer import Trainer

    steps_before_the_kill = 7
    step = Trainer.step
    trainers: list[Trainer] = []

    def killed(trainer: Trainer, batch: Batch) -> float:
        trainers[:] = [*trainers, *([trainer] if trainer not in trainers else [])]
        if len(trainers) == 1 + second and trainer.step_count == steps_before_the_kill:
            raise KeyboardInterrupt
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "step", killed)
    monkeypatch.setattr("pinembed.training.checkpoint.STATE_EVERY_S", 0)
    arguments = {"data": tuned / "data", "base": str(tuned / "base"), "out": tmp_path / "out", **SHORT_RUN}
    with pytest.raises(KeyboardInterrupt):
        finetune(FinetuneSettings(**arguments))
    assert not (tmp_path / "out").exists()

    monkeypatch.setattr(Trainer, "step", step)
    said = Said()
    report = finetune(FinetuneSettings(**arguments), progress=said)
    undisturbed = json.loads((tuned / "out" / "run.json").read_text(encoding="utf-8"))
    epoch = undisturbed["settings"]["epochs"] if second else 3
    assert f"going on after epoch {epoch} of the run that was interrupted" in said.lines
    assert report.second_images == undisturbed["second_images"] == report.train_images + report.val_images
    assert report.fingerprint == undisturbed["fingerprint"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_state_of_other_settings_is_not_gone_on_with(tiny_encoder: Path, tmp_path: Path) -> None:
    from pinembed.training.checkpoint import Checkpoint, Course, RunState, key_of

    state = RunState(
        course=Course(losses=[1.0], training_s=1.0, shown=4), step_count=1, total_steps=2, elapsed_s=1.0,
        micro_batch=None, bf16=False, tensors={"trainer.model.a": torch.ones(2)},
    )  # fmt: skip
    Checkpoint(tmp_path / "out", key_of(seed=0)).save(state)
    assert Checkpoint(tmp_path / "out", key_of(seed=1)).load() is None
    loaded = Checkpoint(tmp_path / "out", key_of(seed=0)).load()
    assert loaded is not None
    assert torch.equal(loaded.tensors["trainer.model.a"], torch.ones(2))
    assert loaded.course == state.course


def test_a_run_with_other_flags_tells_of_the_state_and_leaves_it_to_the_run_that_it_belongs_to(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.jobs.finetune import finetune
    from pinembed.training.epochs import Epochs

    place = tmp_path / "place"
    arguments = {
        "data": write_catalogue(tmp_path / "data", views=5),
        "base": str(tiny_encoder),
        "out": place / "out",
        "group": "color",
        "epochs": 2,
        "heads": False,
    }
    honest = Epochs._one_epoch

    def interrupted(self, epoch, rank) -> None:
        if epoch == 2:
            raise KeyboardInterrupt
        honest(self, epoch, rank)

    monkeypatch.setattr(Epochs, "_one_epoch", interrupted)
    monkeypatch.setattr("pinembed.training.checkpoint.STATE_EVERY_S", 0)
    said = Said()
    for lr in (1e-4, 2e-4):
        with pytest.raises(KeyboardInterrupt):
            finetune(FinetuneSettings(**arguments, lr=lr), progress=said)
    assert len(list(place.iterdir())) == 2
    assert sum("holds an interrupted run with other settings" in line for line in said.lines) == 1
    monkeypatch.setattr(Epochs, "_one_epoch", honest)
    finetune(FinetuneSettings(**arguments, lr=1e-4), progress=said)
    assert any("going on after epoch 1 of the run" in line for line in said.lines)
    assert [path.name for path in place.iterdir()] == ["out"]


def test_finetune_hands_the_base_back_where_the_loss_becomes_nan(
    cli: Callable[..., CliResult],
    catalogue_folder: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pinembed.training.losses.image_text_loss", lambda image_BD, *rest: image_BD.sum() * torch.nan)
    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "2", "--no-heads"
    )
    assert result.exit_code == 4
    assert "The base stays: The loss became nan in step 1." in result.words


def test_finetune_stops_where_the_embeddings_collapse(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    result = cli(
        "finetune", catalogue_folder, "--base", tiny_encoder, "--out", tmp_path / "out", "--epochs", "30", "--lr", "5",
        "--batch-size", "4", "--no-heads", "--json",
    )  # fmt: skip
    assert result.exit_code == 4
    assert result.json["stopped"]
    assert len(result.json["epochs"]) < 31


SMALL_CLIP = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 24, "width": 64, "heads": 2, "layers": 2},
}


def test_fitted_projections_stay_a_candidate_when_training_collapses(tmp_path: Path) -> None:
    from pinembed.jobs.finetune import finetune

    base = write_family(tmp_path / "base", Family(model_cfg=SMALL_CLIP))
    report = finetune(
        FinetuneSettings(
            data=write_catalogue(tmp_path / "data", views=12),
            base=str(base),
            out=tmp_path / "out",
            text=("title",),
            group="product",
            epochs=30,
            lr=5.0,
            batch_size=4,
            fusion="off",
        )
    )
    assert report.stopped is not None
    assert report.heads is not None
    assert report.heads.mean_map > report.base.mean_map
    assert report.best_epoch == 0, "a collapsed epoch is no best one"
    assert report.chosen.mean_map >= report.heads.mean_map
    assert report.kept == "tuned"
    assert "the base with fitted projections" in (tmp_path / "out/README.md").read_text(encoding="utf-8")


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
        "--minutes", "0.01", "--batch-size", "2", "--lr", "1e-5", "--json",
    )  # fmt: skip
    assert result.exit_code in {0, 4}
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
    assert result.exit_code in {0, 4}
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


def test_training_that_gains_nothing_ends_early_unless_the_epochs_were_named(
    cli: Callable[..., CliResult], catalogue_folder: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    def epochs_of(*options: object) -> int:
        out = tmp_path / f"out{len(options)}"
        common = ("finetune", catalogue_folder, "--base", tiny_encoder, "--out", out, "--lr", "0", "--json")
        return len(cli(*common, *options).json["epochs"]) - 1

    ended = epochs_of()
    assert 5 < ended < 20
    assert epochs_of("--epochs", "20") == 20


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


def test_micro_batches_give_the_weights_of_the_complete_batch(tiny_encoder: Path) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.encoder.towers import encode_texts
    from pinembed.training.losses import Batch
    from pinembed.training.optimiser import Rates
    from pinembed.training.recipe import Recipe
    from pinembed.training.trainer import Trainer

    rates = Rates(image=1e-3, text=1e-3, first_layer=0.3, weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    pixels_BCHW = torch.randint(256, (10, 3, 32, 32), dtype=torch.uint8, generator=generator)
    group_B, text_B = torch.arange(10) // 2, torch.arange(10)
    weights = []
    for micro_batch in (None, 4):
        encoder = load_encoder(str(tiny_encoder))
        recipe = Recipe(
            epochs=1, batch_size=10, samples_per_group=2, train_px=None, micro_batch=micro_batch, rates=rates
        )
        trainer = Trainer(
            encoder.model,
            recipe,
            total_steps=3,
            standardise=encoder.standardise,
            encode_texts=encode_texts,
            seed=0,
        )
        trainer.start_epoch(1)
        batch = Batch(
            pixels_BCHW=pixels_BCHW,
            tokens_MT=encoder.tokenizer([f"item {index}" for index in range(10)]),
            text_of_VB=torch.arange(10).view(1, 10),
            is_true_BM=torch.eye(10, dtype=torch.bool),
            group_B=group_B,
            text_B=text_B,
        )
        losses = [trainer.step(batch) for _ in range(3)]
        weights.append((losses, {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}))
    (losses, whole), (micro_losses, micro) = weights
    assert micro_losses == pytest.approx(losses, rel=1e-4)
    assert all(torch.allclose(tensor, micro[name], atol=2e-5) for name, tensor in whole.items())


def test_a_convolutional_tower_trains_at_a_smaller_side_and_a_transformer_at_its_own(tiny_encoder: Path) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.training.recipe import activation_bytes, smaller_side

    convolutional = load_encoder("pinembed-tiny", random_init=True).model
    assert smaller_side(convolutional, 224) == 160
    assert smaller_side(convolutional, 64) is None  # too small to give anything away
    transformer = load_encoder(str(tiny_encoder)).model
    assert smaller_side(transformer, 224) is None
    assert activation_bytes(convolutional, 128, keeps_statistics=True) > 3 * activation_bytes(
        convolutional, 64, keeps_statistics=True
    )


def test_random_weights_see_smaller_views_first() -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.training.recipe import EARLY_SHARE, make_recipe

    convolutional = load_encoder("pinembed-tiny", random_init=True).model
    settings = {"data": Path("data"), "base": "pinembed-tiny", "out": Path("out")}
    scratch = make_recipe(convolutional, FinetuneSettings(**settings, random_init=True), train_images=900, image_px=96)
    assert [scratch.side_px(done) for done in (0.0, EARLY_SHARE - 0.01, EARLY_SHARE, 1.0)] == [64, 64, None, None]
    tuned = make_recipe(convolutional, FinetuneSettings(**settings), train_images=900, image_px=96)
    assert tuned.side_px(0.0) is None


def test_the_state_of_short_epochs_is_written_once(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.jobs.finetune import finetune
    from pinembed.training.checkpoint import Checkpoint

    steps = []
    save = Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", lambda self, state: (steps.append(state.step_count), save(self, state)))
    data = write_catalogue(tmp_path / "data", views=5)
    report = finetune(
        FinetuneSettings(data=data, base=str(tiny_encoder), out=tmp_path / "out", group="color", epochs=3, heads=False)
    )
    assert len(report.epochs) == 4
    assert len(steps) == 1  # after the last epoch: what follows may be killed too


SMALL_TEXT = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
TOWERS = {
    "siglip": {
        "embed_dim": 32,
        "init_logit_bias": -10.0,
        "custom_text": True,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {**SMALL_TEXT, "no_causal_mask": True, "pool_type": "last", "proj_bias": True},
    },
    "convnext": {
        "embed_dim": 32,
        "vision_cfg": {"timm_model_name": "test_convnext", "timm_pool": "avg", "timm_proj": "linear", "image_size": 64},
        "text_cfg": SMALL_TEXT,
    },
    "resnet with attention pooling": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None, "head_width": 64},
        "text_cfg": SMALL_TEXT,
    },
    "timm transformer": {
        "embed_dim": 32,
        "vision_cfg": {"timm_model_name": "test_vit", "timm_pool": "", "timm_proj": "linear", "image_size": 64},
        "text_cfg": SMALL_TEXT,
    },
}


@pytest.mark.parametrize("name", TOWERS)
def test_every_kind_of_tower_trains_and_is_stored(tmp_path: Path, name: str) -> None:
    from pinembed.encoder.encoder import build_encoder, load_encoder
    from pinembed.encoder.locate import EncoderFiles
    from pinembed.encoder.save import save_encoder
    from pinembed.jobs.finetune import finetune

    files = EncoderFiles(
        reference=name, architecture=name, weights=None, folder=None, model_cfg=TOWERS[name], preprocess_cfg={}
    )
    (tmp_path / "base").mkdir()
    save_encoder(build_encoder(files), tmp_path / "base")
    report = finetune(
        FinetuneSettings(
            data=write_catalogue(tmp_path / "data", views=5),
            base=str(tmp_path / "base"),
            out=tmp_path / "out",
            group="color",
            epochs=4,
            lr=1e-3,
        )
    )
    assert report.stopped is None
    losses = [record.loss for record in report.epochs[1:]]
    assert losses[-1] < losses[0]
    assert load_encoder(str(tmp_path / "out")).spec.fingerprint == report.fingerprint


@pytest.mark.parametrize(("fewest_groups", "epochs"), [(1, 7), (1000, 8)], ids=["can tell", "cannot tell"])
def test_training_ends_early_only_where_validation_has_the_groups_to_tell(
    fewest_groups: int, epochs: int, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.jobs.finetune import finetune

    monkeypatch.setattr("pinembed.training.recipe.MOST_EPOCHS", 8)
    monkeypatch.setattr("pinembed.metrics.intervals.FEWEST_CLUSTERS", fewest_groups)
    data = write_catalogue(tmp_path / "data", views=5)
    settings = FinetuneSettings(
        data=data, base=str(tiny_encoder), out=tmp_path / "out", group="product", heads=False, lr=1e-12, fusion="off"
    )
    said = Said()
    report = finetune(settings, progress=said)
    assert len(report.epochs) - 1 == epochs
    assert ("no gain on validation in 4 epochs; training ends" in said.lines) is (epochs == 7)


def test_training_that_loses_what_it_began_with_begins_anew_at_a_lower_rate(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.jobs.finetune import finetune
    from pinembed.training.recipe import RESTART_RATE, Recipe
    from pinembed.training.trainer import Trainer

    peaks: list[float] = []
    make = Trainer.__init__

    def watched(self: Trainer, model: torch.nn.Module, recipe: Recipe, **rest: object) -> None:
        peaks.append(recipe.rates.image)
        make(self, model, recipe, **rest)

    monkeypatch.setattr(Trainer, "__init__", watched)
    monkeypatch.setattr("pinembed.training.recipe.HIGHEST_RATE", 3.0)
    monkeypatch.setattr("pinembed.training.recipe.LOWEST_RATE", 3.0)
    said = Said()
    data = write_catalogue(tmp_path / "data", views=5)
    arguments = {"data": data, "base": str(tiny_encoder), "group": "color", "heads": False}
    report = finetune(FinetuneSettings(**arguments, out=tmp_path / "out", epochs=6), progress=said)
    assert peaks == pytest.approx([3.0, 3.0 * RESTART_RATE, 3.0 * RESTART_RATE**2][: len(peaks)])
    assert len(peaks) > 1
    assert sum("begins anew at" in line for line in said.lines) == len(peaks) - 1
    assert len(report.epochs) <= 7
    assert report.restarts == len(peaks) - 1
    assert json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["restarts"] == report.restarts

    peaks.clear()
    finetune(FinetuneSettings(**arguments, out=tmp_path / "given", epochs=3, lr=3.0), progress=said)
    assert peaks == [3.0]  # the user's rate stays


@pytest.mark.parametrize(
    ("recipe", "changes", "last_epoch"),
    [({"lora": 2, "lr": 1e-3}, {}, 2), ({}, {"HIGHEST_RATE": 3.0, "LOWEST_RATE": 3.0}, 3)],
    ids=["low rank", "restarted"],
)
def test_a_killed_run_goes_on_in_the_layers_and_at_the_rate_that_it_had(
    recipe: dict[str, float],
    changes: dict[str, float],
    last_epoch: int,
    tiny_encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pinembed.jobs.finetune import finetune
    from pinembed.training.epochs import Epochs

    for name, value in changes.items():
        monkeypatch.setattr(f"pinembed.training.recipe.{name}", value)
    monkeypatch.setattr("pinembed.training.checkpoint.STATE_EVERY_S", 0)
    data = write_catalogue(tmp_path / "data", views=5)
    arguments = {"data": data, "base": str(tiny_encoder), "group": "color", "epochs": 6, "heads": False, **recipe}
    undisturbed = finetune(FinetuneSettings(**arguments, out=tmp_path / "whole"))

    honest = Epochs._one_epoch

    def killed(self, epoch, rank) -> None:
        if epoch == last_epoch:
            raise KeyboardInterrupt
        honest(self, epoch, rank)

    monkeypatch.setattr(Epochs, "_one_epoch", killed)
    said = Said()
    with pytest.raises(KeyboardInterrupt):
        finetune(FinetuneSettings(**arguments, out=tmp_path / "out"), progress=said)
    assert any("begins anew at" in line for line in said.lines) == bool(changes)
    monkeypatch.setattr(Epochs, "_one_epoch", honest)
    again = finetune(FinetuneSettings(**arguments, out=tmp_path / "out"), progress=said)
    assert any(f"going on after epoch {last_epoch - 1} of the run" in line for line in said.lines)
    assert [record.mean_map for record in again.epochs] == [record.mean_map for record in undisturbed.epochs]
    assert [record.loss for record in again.epochs] == [record.loss for record in undisturbed.epochs]
