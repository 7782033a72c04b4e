"""The choice between float32 and bfloat16, measured on the run's own first batch."""

from __future__ import annotations

import math
import time

import numpy as np
import torch
from torch import Tensor, nn

from pinembed.nouns.progress import Progress
from pinembed.training.augment import augment
from pinembed.training.gradients import Towers
from pinembed.training.loader import BatchLoader
from pinembed.training.optimiser import IMAGE_PREFIX
from pinembed.training.recipe import AUTO, BF16
from pinembed.training.trainer import Trainer

FEWEST_PARAMETERS = 10_000_000
"""Smaller image towers have nothing to win on a CPU; measuring them would leave their weights to chance."""
MEASURED_S = 2.0
WANTED_GAIN = 1.3
"""Below it the choice would be left to chance, and with it the weights."""


def is_native(device: torch.device) -> bool:
    """The device has bfloat16 instructions."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device.type == "cpu" and has_instructions


def is_worth_measuring(model: nn.Module) -> bool:
    """The image tower is large enough for the choice to matter."""
    parameters = (parameter for name, parameter in model.named_parameters() if name.startswith(IMAGE_PREFIX))
    return sum(parameter.numel() for parameter in parameters) >= FEWEST_PARAMETERS


def measure_gain(model: nn.Module, towers: Towers, views_BCHW: Tensor, tokens_MT: Tensor) -> float:
    """How many times faster forward and backward are in bfloat16 than in float32.

    The model is as before, without gradients.
    """
    was_training, was_bf16 = model.training, towers.bf16
    model.eval()  # running statistics stay
    try:
        fastest_s = {False: math.inf, True: math.inf}
        _once(model, towers, views_BCHW, tokens_MT)  # the first time is slower
        started_s = time.monotonic()
        while math.isinf(fastest_s[True]) or time.monotonic() - started_s < MEASURED_S:
            for towers.bf16 in (False, True):
                round_s = time.monotonic()
                _once(model, towers, views_BCHW, tokens_MT)
                fastest_s[towers.bf16] = min(fastest_s[towers.bf16], time.monotonic() - round_s)
        return fastest_s[False] / fastest_s[True]
    finally:
        towers.bf16 = was_bf16
        model.train(was_training)


def _once(model: nn.Module, towers: Towers, views_BCHW: Tensor, tokens_MT: Tensor) -> None:
    (towers.embed_images(views_BCHW).sum() + towers.embed_texts(tokens_MT).sum()).backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)


def choose_bf16(trainer: Trainer, loader: BatchLoader, precision: str, progress: Progress) -> bool:
    """What was asked for; else bfloat16 on a GPU that has it, and on a CPU that has it and is clearly faster."""
    device = next(trainer.model.parameters()).device
    if precision != AUTO or not is_native(device):
        return precision == BF16
    if device.type == "cuda":
        return True
    if not is_worth_measuring(trainer.model):
        return False
    batch = next(loader.epoch(np.random.default_rng(0)))
    rows = trainer.towers.micro_batch or len(batch.pixels_BCHW)
    views_BCHW = augment(batch.pixels_BCHW[:rows], torch.Generator(), image_px=trainer.recipe.train_px)
    gain = measure_gain(trainer.model, trainer.towers, views_BCHW, batch.tokens_MT[:rows])
    chosen = "bfloat16" if gain >= WANTED_GAIN else "float32"
    progress.say(f"bfloat16 is {gain:.2f} times as fast as float32 here; training in {chosen}")
    return gain >= WANTED_GAIN
