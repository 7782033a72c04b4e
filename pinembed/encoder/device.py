"""The torch device that a run computes on."""

from __future__ import annotations

import torch

from pinembed.errors import UsageError


def choose_device(name: str = "auto") -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        UsageError: the device that was named is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"--device {name} cannot be used here: {str(error).splitlines()[0]}",
            remedy="Give auto, cpu, or a device that `pinembed doctor` lists.",
        ) from error
    return device
