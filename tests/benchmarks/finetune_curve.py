"""Every epoch of a run measured on val and test: `python finetune_curve.py FOLDER BASE --epochs 12`.

    [--seed 0] [--train-px 96] [--rate 1.5e-3] [--phrasings 3] [--batch-statistics] [--every 4]

FOLDER comes from finetune_sets.py and bears the name of its set. For studies alone: whoever chooses must not see test.
Prints mAP (image to image, text to image, image to text, with the first column as text), 5-NN and zero-shot.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from finetune_sets import TEXTS

from pinembed.catalogue.splits import codes_of
from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.encoder.towers import encode_texts
from pinembed.metrics.split_metrics import SplitEmbeddings, knn_is_correct, measure_split, zero_shot_is_correct
from pinembed.nouns.progress import SILENT
from pinembed.settings.training import FinetuneSettings
from pinembed.training.datasets import SplitDataset, load_split, read_splits
from pinembed.training.evaluator import BatchNormRecalibration, Evaluator
from pinembed.training.loader import BatchLoader
from pinembed.training.projections import fitted_projections
from pinembed.training.recipe import make_recipe
from pinembed.training.trainer import Trainer
from pinembed.training.world import World


def measured(encoder: Encoder, parts: dict[str, SplitDataset], column: str, class_names: list[str]) -> str:
    """Figures of val and test in one line."""
    encoder.model.eval()
    groups = sorted({str(item.fields["group"]) for part in parts.values() for item in part.labelled.items})
    code = {name: number for number, name in enumerate(groups)}
    image, group = {}, {}
    for name, part in parts.items():
        image[name] = Evaluator(encoder, part, SILENT).embed_images("")
        group[name] = torch.tensor([code[str(item.fields["group"])] for item in part.labelled.items])
    class_CD = encoder.embed_texts(class_names)
    line = []
    for name in ("val", "test"):
        texts, text_of_N = codes_of(str(item.fields[column] or "") for item in parts[name].labelled.items)
        found = measure_split(
            SplitEmbeddings(
                image_ND=image[name],
                text_TD=encoder.embed_texts(texts),
                text_of_N=text_of_N,
                group_of_N=group[name],
            )
        )
        maps = [found.image_to_image, found.text_to_image, found.image_to_text]
        known = knn_is_correct(image[name], group[name], image["train"], group["train"]).double().mean()
        named = zero_shot_is_correct(image[name], group[name], class_CD).double().mean()
        figures = [*(direction.mean("map") for direction in maps), float(known), float(named)]
        line.append(f"{name} " + " ".join(f"{figure:.3f}" for figure in figures))
    return "  ".join(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("base")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train-px", type=int)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--phrasings", type=int)
    parser.add_argument("--batch-statistics", action="store_true", help="batch norms learn their own")
    given = parser.parse_args()
    columns = TEXTS[given.folder.name].split(",")
    splits = read_splits(given.folder, text=columns, group="group")
    encoder = load_encoder(given.base)
    parts = {
        name: load_split(getattr(splits, name), splits, encoder.preprocessing, split=name, progress=SILENT)
        for name in ("train", "val", "test")
    }
    train = parts["train"]
    settings = FinetuneSettings(
        data=given.folder, base=given.base, out=given.folder, epochs=given.epochs, lr=given.rate, seed=given.seed
    )
    recipe = make_recipe(
        encoder.model, settings, train_images=len(train.pixels), image_px=encoder.preprocessing.image_px
    )
    recipe = dataclasses.replace(
        recipe,
        train_px=given.train_px or recipe.train_px,
        phrasings=given.phrasings or recipe.phrasings,
        keeps_statistics=not given.batch_statistics,
    )
    names = sorted({str(item.fields["group"]) for part in parts.values() for item in part.labelled.items})
    class_names = splits.captioner.group_names("group", names)

    def show(stage: str) -> None:
        print(f"{stage}: {measured(encoder, parts, columns[0], class_names)}", flush=True)  # noqa: T201

    show("base")
    fitted = fitted_projections(encoder, train, splits.captioner, seed=given.seed, progress=SILENT)
    encoder.model.load_state_dict(fitted, strict=False)
    show("projections")
    recalibration = BatchNormRecalibration(encoder, recipe, train, seed=given.seed, progress=SILENT)
    loader = BatchLoader(encoder, recipe, train, splits.captioner, World())
    steps = given.epochs * max(1, round(len(train.pixels) / recipe.batch_size))
    trainer = Trainer(
        encoder.model,
        recipe,
        total_steps=steps,
        standardise=encoder.standardise,
        encode_texts=encode_texts,
        seed=given.seed,
    )
    for epoch in range(1, given.epochs + 1):
        trainer.start_epoch(epoch)
        for batch in loader.epoch(np.random.default_rng((given.seed, epoch))):
            trainer.step(batch)
        if epoch % given.every == 0 or epoch == given.epochs:
            with trainer.average.swapped_in():
                recalibration.recalibrate_quickly()
                show(f"epoch {epoch}")


if __name__ == "__main__":
    main()
