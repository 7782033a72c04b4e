"""Training images per second: this package's step beside open_clip's own training loop.

    python tests/benchmarks/train_speed.py DATA ENCODER [--batches 12] [--batch-size 48] [--workers 1]

Same model, batch, pictures, texts and machine, one after the other, interleaved, several rounds; the median is shown.
open_clip's loop decodes and augments in its worker processes, as its CSV dataset does (written out here, because
open_clip_train.data imports packages that open_clip itself does not need). Ours is shown twice: at the encoder's own
side, like for like, and at the smaller side that finetune uses by default.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import torch
from open_clip.loss import ClipLoss
from open_clip_train.train import train_one_epoch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.towers import encode_texts
from pinembed.nouns.progress import SILENT
from pinembed.settings.training import FinetuneSettings
from pinembed.training.datasets import load_split, read_splits
from pinembed.training.loader import BatchLoader
from pinembed.training.recipe import make_recipe
from pinembed.training.trainer import Trainer
from pinembed.training.world import World


class Pairs(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """What open_clip_train.data.CsvDataset gives: a transformed picture and its tokens."""

    def __init__(self, pairs: list[tuple[Path, str]], preprocess: Any, tokenizer: Any) -> None:
        self.pairs, self.preprocess, self.tokenizer = pairs, preprocess, tokenizer

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        path, text = self.pairs[index]
        return self.preprocess(Image.open(path)), self.tokenizer([text])[0]


class Loaded(SimpleNamespace):
    """What open_clip_train.data.DataInfo is to the loop."""

    def set_epoch(self, epoch: int) -> None: ...


def open_clip_rate(pairs: list[tuple[Path, str]], encoder: str, batch_size: int, workers: int) -> float:
    """Images per second of open_clip_train's train_one_epoch."""
    model, preprocess, _ = open_clip.create_model_and_transforms(f"local-dir:{encoder}", output_dict=True)
    arguments = SimpleNamespace(
        device="cpu", precision="fp32", accum_freq=1, distill=False, skip_scheduler=True, horovod=False,
        grad_clip_norm=1.0, world_size=1, rank=0, local_rank=0, log_every_n_steps=10**9, wandb=False,
        batch_size=batch_size,
    )  # fmt: skip
    tokenizer = open_clip.get_tokenizer(f"local-dir:{encoder}")
    loader: Any = DataLoader(
        Pairs(pairs, preprocess, tokenizer), batch_size=batch_size, shuffle=True, num_workers=workers, drop_last=True
    )
    loader.num_samples, loader.num_batches = len(pairs), len(loader)
    optimiser = torch.optim.AdamW(model.float().parameters(), lr=1e-4)
    started_s = time.perf_counter()
    train_one_epoch(model, {"train": Loaded(dataloader=loader)}, ClipLoss(), 0, optimiser, None, None, None, arguments)
    return len(loader) * batch_size / (time.perf_counter() - started_s)


def pinembed_rate(folder: Path, encoder: str, batch_size: int, images: int, *, smaller: bool) -> float:
    """Images per second of finetune's steps, decoding included."""
    texts = read_splits(folder, text=(), group=None)
    loaded = load_encoder(encoder)
    recipe = make_recipe(
        loaded.model,
        FinetuneSettings(data=folder, base=encoder, out=folder / "none", batch_size=batch_size),
        train_images=images,
        image_px=loaded.preprocessing.image_px,
    )
    recipe = recipe if smaller else dataclasses.replace(recipe, train_px=None)
    started_s = time.perf_counter()
    train = load_split(texts.train[:images], texts, loaded.preprocessing, split="train", progress=SILENT)
    trainer = Trainer(
        loaded.model,
        recipe,
        total_steps=1000,
        standardise=loaded.standardise,
        encode_texts=encode_texts,
        seed=0,
    )
    trainer.start_epoch(1)
    rng = np.random.default_rng(0)
    for batch in BatchLoader(loaded, recipe, train, texts.captioner, World()).epoch(rng):
        trainer.step(batch)
    return len(train.pixels) / (time.perf_counter() - started_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("encoder")
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    images = asked.batches * asked.batch_size
    texts = read_splits(asked.data, text=(), group=None)
    rates: dict[str, list[float]] = {"open_clip_train": [], "pinembed, same side": [], "pinembed, default side": []}
    pairs = [(item.path, texts.captioner.caption(item)) for item in texts.train[:images]]
    for _ in range(asked.rounds):
        rates["open_clip_train"].append(open_clip_rate(pairs, asked.encoder, asked.batch_size, asked.workers))
        for name, smaller in (("pinembed, same side", False), ("pinembed, default side", True)):
            rates[name].append(pinembed_rate(asked.data, asked.encoder, asked.batch_size, images, smaller=smaller))
    reference = statistics.median(rates["open_clip_train"])
    for name, found in rates.items():
        median = statistics.median(found)
        spread = f"{min(found):.1f} to {max(found):.1f}"
        print(f"{name:24} {median:6.1f} images/s ({spread}), {median / reference:.2f} x")  # noqa: T201


if __name__ == "__main__":
    main()
