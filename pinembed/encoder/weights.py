"""Weights into a model one tensor at a time, so that the file is never in memory beside the model."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import nn


def fill_from(path: Path, model: nn.Module) -> bool:
    """Copy every tensor of a safetensors file to its place.

    Returns:
        False, with the model as it was, where names or shapes are not exactly the model's: then it needs open_clip's
        own loading, which knows older names.

    Raises:
        OSError, SafetensorError: the file cannot be read.
    """
    places = model.state_dict()
    with safe_open(path, framework="pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    if found != {name: tuple(tensor.shape) for name, tensor in places.items()}:
        return False
    for name, tensor in places.items():
        # opened anew each time: what was read stays mapped, and so resident, for as long as the file is open
        with safe_open(path, framework="pt") as file, torch.no_grad():
            tensor.copy_(file.get_tensor(name))
    return True
