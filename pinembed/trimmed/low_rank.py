"""Low-rank adaptation of the language model: a few million numbers learn, and are merged into the weights at the end.

Source: Hu et al. 2021, arXiv:2106.09685; the layers are those of QLoRA, Dettmers et al. 2023, arXiv:2305.14314.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import torch

from pinembed.errors import MissingExtraError

LAYERS = r"model\.language_model\.layers\.\d+\..*\.(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"


class LowRank:
    """Low-rank layers inside one model, until `merge`.

    Args:
        model: transformers' model; its linear layers are wrapped in place.
        rank: of every layer's change.
        seed: of the starting values.

    Raises:
        MissingExtraError: the extra `vlm` is missing.
    """

    def __init__(self, model: Any, *, rank: int, seed: int) -> None:
        if importlib.util.find_spec("peft") is None:
            raise MissingExtraError("--lora", extra="vlm", package="peft")
        from peft import LoraConfig, get_peft_model

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=LAYERS)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers, not for the user
                self._wrapped = get_peft_model(model, config)

    def merge(self) -> None:
        """Add what was learned to the weights; the model is then as before, with other numbers."""
        self._wrapped.merge_and_unload()
