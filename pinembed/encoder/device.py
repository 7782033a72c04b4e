"""The device that computes, and the import of torch and open_clip with a remedy where they do not fit."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from pinembed.errors import InstallationError, UsageError

if TYPE_CHECKING:
    import torch


def import_open_clip() -> ModuleType:
    """open_clip, or a sentence that says why it does not load.

    Raises:
        InstallationError: torch and torchvision are not a pair, or a package is missing.
    """
    try:
        return importlib.import_module("open_clip")
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InstallationError(
            f"open_clip does not load: {error}",
            remedy="torch and torchvision must be one pair, e.g. torch==2.15.0 with torchvision==0.29.2; "
            "run `pinembed doctor`, then install both in one pip command.",
        ) from error


GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap", "/dev/nvhost-gpu", "/dev/kfd")


def choose_device(name: str = "auto") -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        UsageError: the device that was named is not there.
    """
    import torch

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


def device_name(name: str = "auto") -> str:
    """Name of the device that `choose_device` gives; where it can only be the CPU, without loading torch.

    Raises:
        UsageError: the device that was named is not there.
    """
    if name == "cpu" or (name == "auto" and _has_no_gpu()):
        return "cpu"
    return str(choose_device(name))


def _has_no_gpu() -> bool:
    """Whether no driver of a GPU is there; False where that cannot be told by looking at files."""
    is_hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"} and not Path("/dev/kfd").exists()
    return sys.platform == "linux" and (is_hidden or not any(Path(file).exists() for file in GPU_FILES))
