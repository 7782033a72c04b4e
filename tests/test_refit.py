"""Projections that validation's images teach too, once they have chosen."""

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

    settings = FinetuneSettings(data=shop / "data", base=str(shop / "base"), out=out, **{**RUN, **changes})
    report = finetune(settings, progress=progress or Said())
    return report, load_encoder(str(out)).model.state_dict()


def test_validations_images_teach_the_last_layers_once_they_have_chosen(shop: Path, tmp_path: Path) -> None:
    alone, before = tuned(shop, tmp_path / "alone", refit=False)
    refitted, after = tuned(shop, tmp_path / "out")
    assert (alone.refit_images, alone.promoted, refitted.promoted) == (None, True, True)
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
