"""Training on with validation's images, once they have chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pinembed.errors import TrainingError
from pinembed.settings.training import FinetuneSettings
from tests.conftest import Said, make_encoder, write_catalogue

RUN: dict[str, Any] = {"group": "color", "epochs": 4, "batch_size": 16, "lr": 2e-3, "heads": False, "fusion": "off"}


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

    settings = FinetuneSettings(data=shop / "data", base=str(shop / "base"), out=out, **{**RUN, **changes})
    report = finetune(settings, progress=progress or Said())
    return report, load_encoder(str(out)).model.state_dict()


def differ(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return any(not torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_validations_images_teach_once_they_have_chosen(shop: Path, tmp_path: Path) -> None:
    alone, before = tuned(shop, tmp_path / "alone", refit=False)
    refitted, after = tuned(shop, tmp_path / "out")
    assert (alone.refit, alone.promoted, refitted.promoted) == (None, True, True)
    assert refitted.refit.images == refitted.train_images + refitted.val_images
    assert refitted.refit.epochs == 2
    assert (refitted.best_epoch, refitted.alpha) == (alone.best_epoch, alone.alpha)
    assert refitted.chosen.mean_map == alone.chosen.mean_map  # validation's figures are of before it taught
    assert differ(before, after)
    assert json.loads((tmp_path / "out/run.json").read_text(encoding="utf-8"))["refit"]["epochs"] == 2
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert "trained on for 2 epochs with the validation images" in card
    assert "--no-refit" not in card
    assert "--no-refit" in (tmp_path / "alone/README.md").read_text(encoding="utf-8")


def test_weights_are_a_quarter_of_the_way_however_long_that_is(shop: Path, tmp_path: Path) -> None:
    report, _ = tuned(shop, tmp_path / "out", epochs=12)
    assert report.refit.epochs == max(2, round(report.best_epoch / 4))


def test_a_refit_that_goes_wrong_leaves_what_was_chosen(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.training.trainer import Trainer

    _, before = tuned(shop, tmp_path / "alone", refit=False)
    honest = Trainer.step

    def step(self: Trainer, batch: object) -> float:
        if self.recipe.average == 0.5:
            raise TrainingError("The loss became nan in step 1.", remedy="")
        return honest(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "step", step)
    said = Said()
    report, after = tuned(shop, tmp_path / "out", said)
    assert report.refit is None
    assert not differ(before, after)
    assert any("is left out: The loss became nan" in line for line in said.lines)


def test_a_run_that_is_killed_in_its_refit_ends_with_the_same_weights(
    shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pinembed.training.trainer import Trainer

    _, undisturbed = tuned(shop, tmp_path / "whole")
    honest = Trainer.step

    def step(self: Trainer, batch: object) -> float:
        if self.recipe.average == 0.5 and self.step_count == 1:
            raise KeyboardInterrupt
        return honest(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(KeyboardInterrupt):
        tuned(shop, tmp_path / "out")
    monkeypatch.setattr(Trainer, "step", honest)
    said = Said()
    _, again = tuned(shop, tmp_path / "out", said)
    assert any("going on after epoch 4" in line for line in said.lines)
    assert not differ(undisturbed, again)


@pytest.mark.parametrize(("changes", "moved"), [({}, True), ({"matryoshka": True}, False)])
def test_last_layers_alone_go_half_of_the_way_to_what_fits_all_images(
    changes: dict[str, bool], moved: bool, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, with_half = tuned(shop, tmp_path / "half", heads=True, **changes)
    monkeypatch.setattr("pinembed.training.refit.PROJECTIONS_SHARE", 0.0)
    report, with_none = tuned(shop, tmp_path / "none", heads=True, **changes)
    assert report.refit is not None
    changed = {name for name, tensor in with_half.items() if not torch.equal(tensor, with_none[name])}
    assert bool(changed) is moved
    assert all("proj" in name for name in changed)


@pytest.mark.parametrize(("changes", "refits"), [({}, True), ({"refit": False}, False), ({"random_init": True}, False)])
def test_random_weights_are_not_refitted(changes: dict[str, bool], refits: bool, shop: Path) -> None:
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
