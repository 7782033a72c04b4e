"""Low-rank updates: the base's matrices stay as they are, and a small product of two matrices is learned beside each.

Shape legend: O outputs, I inputs of a layer, R rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

SCALE = 2.0
ORIGINAL, PARAMETRIZATIONS = "original", "parametrizations"


class LowRank(nn.Module):
    """W + SCALE * up @ down, where up starts at zero, so that training starts at the base.

    Source: Hu et al. 2021, LoRA, arXiv:2106.09685, section 4.1.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        rank = min(rank, outputs, inputs)
        self.down_RI = nn.Parameter(torch.empty(rank, inputs, device=weight.device))
        self.up_OR = nn.Parameter(torch.zeros(outputs, rank, device=weight.device))
        nn.init.kaiming_uniform_(self.down_RI, a=5**0.5)

    def forward(self, weight: Tensor) -> Tensor:
        return weight + SCALE * (self.up_OR @ self.down_RI).view_as(weight)


def add_low_rank(model: nn.Module, rank: int, *, seed: int) -> int:
    """Freeze the model and learn a low-rank update for each of its matrices instead.

    Matrices are the weights of linear layers, the joint input projection of attention, and convolutions of one pixel.

    Returns:
        How many numbers are learned.
    """
    matrices = list(_matrices(model))
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module, name in matrices:
            parametrize.register_parametrization(module, name, LowRank(getattr(module, name), rank))
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


@torch.no_grad()
def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the state dict with the updates added to their matrices, under the names of the plain model."""
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        before, found, rest = name.partition(f"{PARAMETRIZATIONS}.")
        if not found:
            state[name] = tensor.clone()
        elif rest.endswith(f".{ORIGINAL}"):
            weight_name = rest.removesuffix(f".{ORIGINAL}")
            module = model.get_submodule(before.rstrip(".")) if before else model
            state[before + weight_name] = cast(Tensor, getattr(module, weight_name)).detach().clone()
    return state


@torch.no_grad()
def remove_low_rank(model: nn.Module) -> None:
    """The plain model again, with the updates added."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(cast(Any, module).parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    for parameter in model.parameters():
        parameter.requires_grad_(True)


def _matrices(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    for module in model.modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            yield module, "in_proj_weight"
        elif isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.groups == 1
        ):
            yield module, "weight"
