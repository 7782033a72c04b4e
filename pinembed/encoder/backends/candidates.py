"""The names of what can compute, and how a run's own backend is opened from one of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from pinembed.encoder.backends.base import PIECE_IMAGES, ImageBackend
from pinembed.encoder.backends.with_onnx import OnnxBackend
from pinembed.encoder.backends.with_openvino import OpenVinoBackend
from pinembed.errors import MissingExtraError, UsageError

BACKENDS = ("auto", "torch", "openvino", "onnx", "onnx-int8")
REFERENCE = "torch fp32"
SUFFIXES = {"openvino": ".xml", "onnx": ".onnx"}
PACKAGES = {"openvino": ("openvino",), "onnx": ("onnxruntime", "onnxscript", "onnx")}


def check_backend(name: str, device_type: str) -> None:
    """Refuse a backend that does not exist, not on this device, or not without its extra.

    Args:
        name: the value of --backend.
        device_type: `cpu`, `cuda` ...

    Raises:
        UsageError: unknown, or a CPU backend for a GPU.
        MissingExtraError: the package of the backend is not installed.
    """
    if name not in BACKENDS:
        raise UsageError(f"--backend {name} is unknown.", remedy=f"Give one of {', '.join(BACKENDS)}.")
    packages = PACKAGES.get(name.partition("-")[0], ())
    if packages and device_type != "cpu":
        raise UsageError(
            f"--backend {name} computes on the CPU; this run's device is {device_type}.",
            remedy="Give --device cpu, or --backend torch.",
        )
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"--backend {name}", extra="fast", package=package)


def quantisation_of(name: str) -> str:
    """What EncoderSpec says of the vectors that --backend NAME makes."""
    return "int8" if name == "onnx-int8" else ""


def candidates_for(name: str, precisions: Sequence[str], device_type: str) -> list[str]:
    """What --backend NAME may mean here, the likeliest first.

    `auto` leaves out what cannot be the fastest: fp32 where bf16 is native, ONNX Runtime where OpenVINO is.

    Args:
        name: the value of --backend.
        precisions: what the device computes natively; fp32 is among them.
        device_type: `cpu`, `cuda` ...
    """
    best = precisions[-1]
    if name == "onnx-int8":
        return ["onnx int8"]
    if name == "onnx":
        return ["onnx fp32"]
    if name != "auto":
        return [f"{name} {precision}" for precision in reversed(precisions)]
    if device_type != "cpu":
        return [f"torch {precision}" for precision in precisions]
    candidates = [*dict.fromkeys((REFERENCE, f"torch {best}"))]
    if is_installed("openvino"):
        candidates.append(f"openvino {best}")
    elif is_installed("onnx"):
        candidates.append("onnx fp32")
    return candidates


def every(precisions: Sequence[str], device_type: str) -> list[str]:
    """Everything that is installed; the reference comes first, and int8, which auto never takes, last."""
    names = [f"torch {precision}" for precision in precisions]
    if device_type == "cpu":
        if is_installed("openvino"):
            names += [f"openvino {precision}" for precision in precisions]
        if is_installed("onnx"):
            names += ["onnx fp32", "onnx int8"]
    return names


def is_installed(kind: str) -> bool:
    """Whether every package is there that this kind of backend and its conversion need."""
    return all(importlib.util.find_spec(package) is not None for package in PACKAGES[kind])


def is_converted(name: str) -> bool:
    """Whether it computes from a file of its own, without torch."""
    return name.split()[0] in SUFFIXES


def file_of(name: str, folder: Path) -> Path:
    """Where the converted model of a backend lies."""
    return folder / f"{name.replace(' ', '-')}{SUFFIXES[name.split()[0]]}"


def open_converted(name: str, folder: Path, cores: int) -> ImageBackend:
    """A backend from its converted model, that uses so many cores.

    Raises:
        MissingExtraError: its package is not installed.
        EncoderError: the file cannot be loaded.
    """
    kind, precision = name.split()
    made = OpenVinoBackend if kind == "openvino" else OnnxBackend
    return made(file_of(name, folder), precision, cores)


def piece_images(batch_size: int, name: str = "") -> int:
    """Images that one thread of that backend computes at once.

    In int8 one: the scale of the activations is that of all that is computed at once, and a vector must not depend on
    its neighbours in a batch.
    """
    return 1 if name.endswith("int8") else min(batch_size, PIECE_IMAGES)
