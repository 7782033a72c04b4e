"""The choice between float32 and bfloat16, measured on the run's own first batch."""

from __future__ import annotations

import numpy as np
import torch

from pinembed.jobs.finetune.showing import Showing
from pinembed.nouns.progress import Progress
from pinembed.training.augment import augment
from pinembed.training.precision import WANTED_GAIN, is_native, is_worth_measuring, measure_gain
from pinembed.training.recipe import AUTO, BF16
from pinembed.training.trainer import Trainer


def choose_bf16(trainer: Trainer, showing: Showing, precision: str, progress: Progress) -> bool:
    """What was asked for; else bfloat16 on a GPU that has it, and on a CPU that has it and is clearly faster."""
    device = next(trainer.model.parameters()).device
    if precision != AUTO or not is_native(device):
        return precision == BF16
    if device.type == "cuda":
        return True
    if not is_worth_measuring(trainer.model):
        return False
    batch = next(showing.epoch(np.random.default_rng(0)))
    rows = trainer.towers.micro_batch or len(batch.pixels_BCHW)
    views_BCHW = augment(batch.pixels_BCHW[:rows], torch.Generator(), image_px=trainer.recipe.train_px)
    gain = measure_gain(trainer.model, trainer.towers, views_BCHW, batch.tokens_MT[:rows])
    chosen = "bfloat16" if gain >= WANTED_GAIN else "float32"
    progress.say(f"bfloat16 is {gain:.2f} times as fast as float32 here; training in {chosen}")
    return gain >= WANTED_GAIN
