"""Low-rank updates (LoRA) through peft: a few numbers learn beside frozen weights and are added to them at the end.

Source: Hu et al. 2021, LoRA, arXiv:2106.09685.
"""

from __future__ import annotations

import copy
import importlib.util
import re
import warnings
from typing import Any, cast

import torch
from torch import Tensor, nn

from pinembed.errors import MissingExtraError


def require_peft() -> None:
    """Refuse low-rank updates where peft is not installed, before anything else takes time.

    Raises:
        MissingExtraError: the extra `vlm` is missing.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingExtraError("--lora", extra="vlm", package="peft")


class LowRank:
    """Low-rank updates of some layers of one model, until `merge`; every other parameter is frozen.

    Args:
        model: its layers are wrapped in place.
        layers: regular expression for the complete names of the layers.
        seed: of the starting values; the updates themselves start at zero.

    Raises:
        MissingExtraError: the extra `vlm` is missing.
    """

    def __init__(self, model: nn.Module, *, layers: str, rank: int, seed: int) -> None:
        require_peft()
        from peft import LoraConfig, get_peft_model

        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            torch.manual_seed(seed)
            warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers, not for the user
            config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=layers)
            self._wrapped: Any = get_peft_model(cast(Any, model), config)

    def merged_state(self) -> dict[str, Tensor]:
        """A copy of the state dict with the updates added, under the names of the plain model; training can go on."""
        merged: nn.Module = copy.deepcopy(self._wrapped).merge_and_unload()
        return {name: tensor.detach() for name, tensor in merged.state_dict().items()}

    def merge(self) -> None:
        """Add what was learned to the weights; the model is then as before, with other numbers."""
        self._wrapped.merge_and_unload()


CHECKED_BY_TYPE = "text_projection"
"""open_clip asks whether this is an `nn.Linear`, which a wrapped layer is not."""


def clip_layers(model: nn.Module) -> str:
    """The layers of both towers of an open_clip model that learn: linear ones, attention, convolutions of one pixel.

    peft wraps an attention as a whole, its output projection included.
    """
    attentions = [name for name, module in model.named_modules() if isinstance(module, nn.MultiheadAttention)]
    names = [
        name
        for name, module in model.named_modules()
        if _is_matrix(module)
        and name.rpartition(".")[0] not in attentions
        and name.rpartition(".")[2] != CHECKED_BY_TYPE
    ]
    return "|".join(map(re.escape, names))


def _is_matrix(module: nn.Module) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        return module.in_proj_weight is not None
    if isinstance(module, nn.Conv2d):
        # with a stride, torch's backward pass on a CPU can crash the process (2.15, MobileCLIP's first layer)
        return module.kernel_size == module.stride == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)
