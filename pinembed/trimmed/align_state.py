"""State of an alignment on disk, so that the same command goes on where a run was stopped."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from pinembed.reports.trimmed import AlignEpoch
from pinembed.training.average import WeightAverage
from pinembed.training.checkpoint import StatePlace

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(kw_only=True)
class TrainerState:
    """How far a run is.

    Attributes:
        epoch: from 0.
        batch: batches of this epoch that are done.
        step: batches that are done in all.
        seconds: spent on training, over all parts of the run.
        kept_epoch: whose weights are the best so far, from 1; 0 before the first validation.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    epochs: list[AlignEpoch] = field(default_factory=list)
    kept_epoch: int = 0


def write_state(
    place: StatePlace,
    key: str,
    state: TrainerState,
    parameters: Sequence[nn.Parameter],
    average: WeightAverage,
    kept: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write under another name, then rename: a killed run leaves the older state or the new one."""
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(parameters):
        tensors[f"{index}.weight"] = parameter.detach()
        for moment in MOMENTS:
            if parameter in optimiser.state:
                tensors[f"{index}.{moment}"] = optimiser.state[parameter][moment]
    tensors.update({f"{name}.average": weight for name, weight in average.weights.items()})
    tensors.update({f"{index}.kept": weight for index, weight in enumerate(kept)})
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"key": key, "state": json.dumps(dataclasses.asdict(state))}
    save_file(contiguous, place.fresh, metadata=metadata)
    place.fresh.replace(place.path)


def read_state(
    path: Path,
    key: str,
    parameters: Sequence[nn.Parameter],
    average: WeightAverage,
    optimiser: torch.optim.Optimizer,
) -> tuple[TrainerState, list[Tensor]] | None:
    """Load a state of the same run into parameters, average and optimiser; returns progress and the kept weights.

    None where there is no state, or none that fits.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            if metadata.get("key") != key:
                return None
            state: dict[str, Any] = json.loads(metadata["state"])
            names = set(stored.keys())
            kept = [stored.get_tensor(f"{index}.kept") for index in range(len(parameters) if "0.kept" in names else 0)]
            average.load({name: stored.get_tensor(f"{name}.average") for name in average.weights})
            with torch.no_grad():
                for index, parameter in enumerate(parameters):
                    parameter.copy_(stored.get_tensor(f"{index}.weight"))
                    optimiser.state[parameter] = {
                        moment: stored.get_tensor(f"{index}.{moment}")
                        for moment in MOMENTS
                        if f"{index}.{moment}" in names
                    }
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError):
        return None
    epochs = [AlignEpoch(**record) for record in state.pop("epochs")]
    return TrainerState(**state, epochs=epochs), kept
