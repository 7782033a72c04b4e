"""What validation's images teach once they have chosen: the last layers, and a second training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pinembed.settings.training import FinetuneSettings
from tests.conftest import Said, make_encoder, write_catalogue

RUN: dict[str, Any] = {"group": "color", "epochs": 4, "batch_size": 16, "lr": 2e-3, "fusion": "off"}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data and base; not to be changed."""
    folder = tmp_path_factory.mktemp("refit")
    write_catalogue(folder / "data", views=5)
    make_encoder(folder / "base")
    return folder


def tuned(
    shop: Path, out: Path, progress: Said | None = None, **changes: object
) -> tuple[Any, dict[str, torch.Tensor]]:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.jobs.finetune import finetune

    settings = FinetuneSettings(**{"data": shop / "data", "base": str(shop / "base"), "out": out, **RUN, **changes})
    report = finetune(settings, progress=progress or Said())
    return report, load_encoder(str(out)).model.state_dict()


def test_validations_images_teach_the_last_layers_once_they_have_chosen(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinembed.training.recipe.FEW_IMAGES", 0)
    alone, before = tuned(shop, tmp_path / "alone", refit=False)
    refitted, after = tuned(shop, tmp_path / "out")
    assert (alone.refit_images, alone.promoted, refitted.promoted) == (None, True, True)
    assert refitted.second_images is None
    assert refitted.refit_images == refitted.train_images + refitted.val_images
    assert (refitted.best_epoch, refitted.alpha) == (alone.best_epoch, alone.alpha)
    assert refitted.chosen.mean_map == alone.chosen.mean_map  # validation's figures are of before it taught
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed
    assert all("proj" in name for name in changed)
    assert json.loads((tmp_path / "out/run.json").read_text(encoding="utf-8"))["refit_images"] == refitted.refit_images
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert f"to all {refitted.refit_images} images of training and validation" in card
    assert "--no-refit" not in card
    assert "--no-refit" in (tmp_path / "alone/README.md").read_text(encoding="utf-8")


def test_projections_that_are_not_finite_are_left_out(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pinembed.training.projections.fitted_projections",
        lambda *_, **__: {"text_projection": torch.full((2, 2), torch.nan)},
    )
    report, _ = tuned(shop, tmp_path / "out")
    assert (report.refit_images, report.promoted) == (None, True)


def test_a_second_training_shows_all_images_of_a_small_catalogue_and_is_averaged_with_the_first(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.training.epochs import Epochs
    from pinembed.training.loader import BatchLoader
    from pinembed.training.trainer import Trainer

    runs, means, shown = [], [], []
    run, average, epoch = Epochs.run, Trainer.averaged_weights, BatchLoader.epoch

    def averaged_weights(trainer: Trainer) -> dict[str, torch.Tensor]:
        means.append(average(trainer))
        return means[-1]

    def epoch_of(loader: BatchLoader, rng: Any) -> Any:
        for batch in epoch(loader, rng):
            shown.append(len(batch.group_B))
            yield batch

    monkeypatch.setattr(Epochs, "run", lambda epochs: runs.append(run(epochs)) or runs[-1])
    monkeypatch.setattr(Trainer, "averaged_weights", averaged_weights)
    monkeypatch.setattr(BatchLoader, "epoch", epoch_of)
    said = Said()
    report, weights = tuned(shop, tmp_path / "out", said, heads=False)
    both = report.train_images + report.val_images
    assert (report.second_images, report.refit_images, report.promoted) == (both, None, True)
    assert sum(shown) == RUN["epochs"] * report.train_images + report.best_epoch * both
    assert any(f"training a second time, on all {both} images" in line for line in said.lines)
    for name, base in runs[0].base_weights.items():
        mean = (runs[0].best_weights[name] + means[-1][name]) / 2
        assert torch.allclose(weights[name], torch.lerp(base, mean, report.alpha), atol=1e-5), name
    assert any(not torch.equal(runs[0].best_weights[name], means[-1][name]) for name in weights)
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert f"and of a second training on all {both} images of training and validation" in card
    kept_apart, _ = tuned(shop, tmp_path / "apart", refit=False)
    assert (kept_apart.second_images, kept_apart.best_epoch) == (None, report.best_epoch)


def test_a_second_training_that_goes_wrong_or_has_no_time_is_left_out(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.errors import TrainingError
    from pinembed.training.all_images import AllImages
    from pinembed.training.trainer import Trainer

    step, trainers = Trainer.step, []

    def breaks(trainer: Trainer, batch: Any) -> float:
        trainers[:] = [*trainers, *([trainer] if trainer not in trainers else [])]
        if len(trainers) == 2:
            raise TrainingError("The loss became nan in step 1.", remedy="")
        return step(trainer, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", breaks)
        said = Said()
        report, _ = tuned(shop, tmp_path / "wrong", said)
    assert (report.second_images, report.promoted) == (None, True)
    assert "the second training is left out: The loss became nan in step 1." in said.lines

    wanted = AllImages.are_worth_a_training
    asked = []

    def are_worth(images: AllImages, minutes: float | None) -> bool:
        asked.extend([minutes, wanted(images, 1e-6), wanted(images, 1e6)])
        return wanted(images, minutes)

    monkeypatch.setattr(AllImages, "are_worth_a_training", are_worth)
    tuned(shop, tmp_path / "timed", minutes=60.0)
    assert asked == [60.0, False, True]


def test_a_later_training_begins_before_validations_images_taught_and_is_judged_beside_what_is_in_use(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.errors import EncoderError
    from pinembed.training.gate import Decision, Gate

    first, taught = tuned(shop, tmp_path / "first", epochs=1)
    judge, judged = Gate.judge, []
    monkeypatch.setattr(Gate, "judge", lambda gate, base, new: judged.append(base) or judge(gate, base, new))
    said = Said()
    again, _ = tuned(shop, tmp_path / "again", said, base=str(tmp_path / "first"))
    assert any("from before validation's images taught" in line for line in said.lines)
    assert again.base.mean_map == pytest.approx(first.chosen.mean_map, abs=1e-6)
    assert all(torch.equal(tensor, taught[name]) for name, tensor in judged[0].items())

    monkeypatch.setattr("pinembed.jobs.finetune.decide_run", lambda *_, **__: Decision(kept="base", reason="."))
    refused, kept = tuned(shop, tmp_path / "refused", base=str(tmp_path / "first"))
    assert (refused.kept, all(torch.equal(kept[name], taught[name]) for name in kept)) == ("base", True)
    untaught = [tmp_path / name / "untaught/weights.safetensors" for name in ("first", "refused")]
    assert untaught[0].read_bytes() == untaught[1].read_bytes()

    untaught[1].write_bytes(b"no weights")
    with pytest.raises(EncoderError, match="does not hold weights of the encoder beside it") as caught:
        tuned(shop, tmp_path / "damaged", base=str(tmp_path / "refused"))
    assert "Delete" in caught.value.remedy
    assert load_encoder(str(tmp_path / "refused")).dim  # the encoder itself is whole
    tuned(shop, tmp_path / "apart", refit=False)
    assert not (tmp_path / "apart/untaught").exists()


@pytest.mark.parametrize(
    ("changes", "images", "again"),
    [({}, 1000, True), ({}, 1001, False), ({"refit": False}, 100, False), ({"random_init": True}, 100, False)],
)
def test_small_catalogues_are_worth_a_second_training(
    changes: dict[str, bool], images: int, again: bool, shop: Path
) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.training.recipe import make_recipe

    settings = FinetuneSettings(data=shop / "data", base=str(shop / "base"), out=shop / "out", **changes)
    model = load_encoder(str(shop / "base")).model
    assert make_recipe(model, settings, train_images=images, image_px=32).trains_again is again


@pytest.mark.parametrize(
    ("changes", "refits"),
    [
        ({}, True),
        ({"refit": False}, False),
        ({"random_init": True}, False),
        ({"heads": False}, False),
        ({"matryoshka": True}, False),
    ],
)
def test_what_has_no_fitted_projections_has_no_refit(changes: dict[str, bool], refits: bool, shop: Path) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.training.recipe import make_recipe

    model = load_encoder(str(shop / "base")).model
    settings = FinetuneSettings(data=shop / "data", base=str(shop / "base"), out=shop / "out", **changes)
    assert make_recipe(model, settings, train_images=100, image_px=32).refits is refits


def test_splits_are_joined_without_what_says_nothing(shop: Path) -> None:
    from pinembed.encoder.encoder import load_encoder
    from pinembed.nouns.progress import SILENT
    from pinembed.training.datasets import joined, load_split, read_splits

    texts = read_splits(shop / "data", text=("title",), group="color")
    preprocessing = load_encoder(str(shop / "base")).preprocessing
    train, val = (
        load_split(items, texts, preprocessing, split=name, progress=SILENT)
        for name, items in (("train", texts.train), ("val", texts.val))
    )
    silent = val.labelled.text_of_N.clone()
    silent[1] = -1
    object.__setattr__(val.labelled, "text_of_N", silent)
    both = joined([train, val], texts.captioner, group="color")
    assert len(both.pixels) == len(both.labelled) == len(train.pixels) + len(val.pixels) - 1
    order = [len(train.pixels), 0, len(both.pixels) - 1, 1]
    pictures = both.pixels.batch(order)
    assert torch.equal(pictures[[1, 3]], train.pixels.batch([0, 1]))
    assert torch.equal(pictures[[0, 2]], val.pixels.batch([0, len(val.pixels) - 1]))
    for index in order:
        color = both.labelled.groups[both.labelled.group_of_N[index]]
        assert both.labelled.items[index].fields["color"] == color
