"""The optimiser: a learning rate for each layer, its course over the steps, and batch norms.

Layers near the input hold what the base knows of pictures and words in general; they learn slower than the
projections. The order in which a tower registers its parameters is the order of its forward pass in open_clip's and
timm's models, apart from the few that are named here, so one rule serves ViT, ResNet, ConvNeXt and MobileNet alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

FIRST = ("class_embedding", "cls_token", "pos_embed", "positional_embedding", "token_embedding", "patch_embed")
LAST = ("proj", "text_projection", "attn_pool", "ln_post", "ln_final", "norm", "head")
IMAGE_PREFIX, TEXT_PREFIX = "visual.", "text."
SCALARS = ("logit_scale", "logit_bias")


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Learning rates of a run.

    Attributes:
        image: of the image tower's last layer.
        text: of the text tower's last layer.
        first_layer: share of it that the first layer of a tower gets; layers between follow geometrically.
        weight_decay: of matrices and filters; biases and norms have none.
    """

    image: float
    text: float
    first_layer: float
    weight_decay: float


def make_optimiser(model: nn.Module, rates: Rates, instead: Mapping[str, nn.Parameter]) -> torch.optim.AdamW:
    """AdamW with a rate for each layer; the temperature stays where it is.

    Args:
        model: its parameters with a gradient learn.
        rates: by tower and layer.
        instead: parameters that learn in the place of the model's own, by name.
    """
    groups: list[dict[str, Any]] = []
    for is_image, peak in ((True, rates.image), (False, rates.text)):
        named = [
            (name, instead.get(name, parameter))
            for name, parameter in model.named_parameters()
            if name.startswith(IMAGE_PREFIX) == is_image and name not in SCALARS
        ]
        named = [(name, parameter) for name, parameter in named if parameter.requires_grad]
        for index, (name, parameter) in enumerate(named):
            depth = _depth(name.removeprefix(IMAGE_PREFIX).removeprefix(TEXT_PREFIX), index / max(len(named) - 1, 1))
            decay = rates.weight_decay if parameter.ndim > 1 else 0.0
            groups.append(
                {"params": [parameter], "peak": peak * rates.first_layer ** (1 - depth), "weight_decay": decay}
            )
    return torch.optim.AdamW(_merged(groups), lr=0.0, betas=(0.9, 0.98), eps=1e-6, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Give every group this share of its peak rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak"] * share


def cosine_share(step: int, total_steps: int, warm_up_steps: int, *, floor: float = 0.0) -> float:
    """Share of the peak rate at a step: linear warm-up, then half a cosine towards zero that stays at `floor`."""
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    done = (step - warm_up_steps) / max(total_steps - warm_up_steps, 1)
    return max(0.5 * (1 + math.cos(math.pi * min(done, 1.0))), floor)


def _depth(name: str, index: float) -> float:
    top, _, rest = name.partition(".")
    if top == "trunk":
        top = rest.partition(".")[0]
    if top in FIRST:
        return 0.0
    return 1.0 if top in LAST else index


def _merged(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Parameters of the same rate and decay in one group: fewer, larger updates."""
    merged: dict[tuple[float, float], dict[str, Any]] = {}
    for group in groups:
        key = (float(f"{group['peak']:.2g}"), group["weight_decay"])
        if key in merged:
            merged[key]["params"] += group["params"]
        else:
            merged[key] = group
    return list(merged.values())


FEWEST_FOR_STATISTICS = 16
"""Images in a batch whose mean and variance stand for others."""


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """All that keep running statistics in the image tower of an open_clip model."""
    return [
        module
        for name, module in model.named_modules()
        if name.startswith(IMAGE_PREFIX) and isinstance(module, _BatchNorm) and module.track_running_stats
    ]
