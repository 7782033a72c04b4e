"""A stopped run on disk: one safetensors file with weights, optimiser and standing, replaced as a whole."""

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

from pinembed.reports.align import AlignEpoch

MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass(kw_only=True)
class TrainerState:
    """Where a run stands.

    Attributes:
        epoch: from 0.
        batch: batches of this epoch that are done.
        step: batches that are done in all.
        seconds: spent on training, over all parts of the run.
        losses: of this epoch's batches.
        epochs: the finished ones.
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
    path: Path,
    key: str,
    standing: TrainerState,
    parameters: Sequence[nn.Parameter],
    kept: Sequence[Tensor],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write beside the place, then rename: a killed run leaves the older state or the new one."""
    tensors: dict[str, Tensor] = {}
    for index, parameter in enumerate(parameters):
        tensors[f"{index}.weight"] = parameter.detach()
        for moment in MOMENTS:
            if parameter in optimiser.state:
                tensors[f"{index}.{moment}"] = optimiser.state[parameter][moment]
    tensors.update({f"{index}.kept": weight for index, weight in enumerate(kept)})
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"key": key, "standing": json.dumps(dataclasses.asdict(standing))}
    partial = path.with_name(path.name + ".partial")
    save_file(contiguous, partial, metadata=metadata)
    partial.replace(path)


def read_state(
    path: Path, key: str, parameters: Sequence[nn.Parameter], optimiser: torch.optim.Optimizer
) -> tuple[TrainerState, list[Tensor]] | None:
    """Load a state of the same run into parameters and optimiser; gives its standing and the kept weights.

    None where there is no state, or none that fits.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            if metadata.get("key") != key:
                return None
            standing: dict[str, Any] = json.loads(metadata["standing"])
            names = set(stored.keys())
            kept = [stored.get_tensor(f"{index}.kept") for index in range(len(parameters) if "0.kept" in names else 0)]
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
    epochs = [AlignEpoch(**record) for record in standing.pop("epochs")]
    return TrainerState(**standing, epochs=epochs), kept
