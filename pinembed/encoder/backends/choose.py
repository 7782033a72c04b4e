"""Which backend computes: the one that the user names, or the fastest whose embeddings agree with torch in fp32."""

from __future__ import annotations

import gc
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pinembed.encoder.backends.tower import ImageBackend, Pixels, Vectors
from pinembed.encoder.backends.with_torch import TorchBackend, computes_bf16
from pinembed.encoder.encoder import Encoder
from pinembed.errors import EncoderError, MissingExtraError, UsageError

BACKENDS = ("auto", "torch", "openvino", "onnx")
REFERENCE = "torch fp32"
MIN_COSINE = 0.999
MEASURE_S = 1.0
CALIBRATE_FROM_IMAGES = 500
Build = Callable[[], ImageBackend]


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendMeasure:
    """How one backend did on the user's own images.

    Attributes:
        backend: its name.
        images_per_s: with nothing else to do.
        min_cosine: the least agreement with torch in fp32 over the images measured.
    """

    backend: str
    images_per_s: float
    min_cosine: float


def check_backend(name: str, device: torch.device) -> None:
    """Refuse a backend that does not exist, or not on this device.

    Raises:
        UsageError: unknown, or a CPU backend for a GPU.
    """
    if name not in BACKENDS:
        raise UsageError(f"--backend {name} is unknown.", remedy=f"Give one of {', '.join(BACKENDS)}.")
    if name in {"openvino", "onnx"} and device.type != "cpu":
        raise UsageError(
            f"--backend {name} computes on the CPU; this run's device is {device}.",
            remedy="Give --device cpu, or --backend torch.",
        )


def reference_backend(encoder: Encoder, batch_size: int) -> ImageBackend:
    """Torch in fp32: what every other backend has to agree with."""
    return TorchBackend(encoder, batch_size)


def choose_backend(
    name: str, encoder: Encoder, pixels_BCHW: Pixels, *, fingerprint: str, batch_size: int, say: Callable[[str], None]
) -> ImageBackend:
    """The fastest backend that agrees with fp32 torch; measured once for each encoder and machine.

    Args:
        name: `auto`, or the one whose precisions are to be tried.
        encoder: loaded.
        pixels_BCHW: some of the user's own images; at least a batch for a fair measure.
        fingerprint: of the encoder.
        batch_size: images at once.
        say: is told what was measured.

    Raises:
        MissingExtraError: the package of the named backend is not installed.
        EncoderError: the named backend cannot take this encoder, or does not agree.
    """
    builders = _builders(encoder, batch_size)
    wanted = _promising(builders) if name == "auto" else [built for built in builders if built.split()[0] == name]
    key = _machine_key(name, fingerprint, encoder.device, batch_size)
    remembered = _remembered().get(key)
    if remembered in wanted:
        with suppress(EncoderError, MissingExtraError):
            return builders[remembered]()
    if name != "auto":
        builders[wanted[0]]()  # says what is wrong with it, where something is
    measures = measure_backends({built: builders[built] for built in dict.fromkeys([REFERENCE, *wanted])}, pixels_BCHW)
    for measure in measures:
        say(f"{measure.backend}: {measure.images_per_s:.0f} images/s, cosine to fp32 torch {measure.min_cosine:.5f}")
    agreeing = [measure for measure in measures if measure.backend in wanted and measure.min_cosine >= MIN_COSINE]
    if not agreeing:
        raise EncoderError(
            f"The embeddings of --backend {name} differ from torch in fp32: cosine "
            f"{max(measure.min_cosine for measure in measures[1:]):.4f}, wanted {MIN_COSINE}.",
            remedy="Use --backend auto or torch.",
        )
    best = max(agreeing, key=lambda measure: measure.images_per_s)
    _remember(key, best.backend)
    return builders[best.backend]()


def _promising(builders: Mapping[str, Build]) -> list[str]:
    """What can be the fastest: native bf16 before fp32, and ONNX Runtime only where OpenVINO is not."""
    candidates = [REFERENCE]
    precision = "bf16" if "torch bf16" in builders else "fp32"
    for name in (f"torch {precision}", f"openvino {precision}", "onnx fp32"):
        if name in builders and name not in candidates:
            candidates.append(name)
    if importlib.util.find_spec("openvino") is not None and "onnx fp32" in candidates:
        candidates.remove("onnx fp32")
    return candidates


def measure_all(encoder: Encoder, pixels_BCHW: Pixels, batch_size: int) -> list[BackendMeasure]:
    """Every backend that is installed, on the same images."""
    return measure_backends(_builders(encoder, batch_size), pixels_BCHW)


def measure_backends(builders: Mapping[str, Build], pixels_BCHW: Pixels) -> list[BackendMeasure]:
    """Speed and agreement of each; the first is the reference. One that cannot take the encoder is left out."""
    measures: list[BackendMeasure] = []
    reference_BD: Vectors | None = None
    for name, build in builders.items():
        try:
            backend = build()
            started_s = time.perf_counter()
            vectors_BD = backend.embed(pixels_BCHW)
            first_s = time.perf_counter() - started_s
        except (EncoderError, MissingExtraError):
            if reference_BD is None:
                raise
            continue
        reference_BD = vectors_BD if reference_BD is None else reference_BD
        measures.append(
            BackendMeasure(
                backend=name,
                images_per_s=_images_per_s(backend, pixels_BCHW, first_s),
                min_cosine=float(np.einsum("bd,bd->b", vectors_BD, reference_BD).min()),
            )
        )
        del backend
        gc.collect()
    return measures


def _images_per_s(backend: ImageBackend, pixels_BCHW: Pixels, first_s: float) -> float:
    """Measured for a moment; where one batch takes longer than that, the first one is the measure."""
    if first_s >= MEASURE_S:
        return len(pixels_BCHW) / first_s
    started_s, images = time.perf_counter(), 0
    while (elapsed_s := time.perf_counter() - started_s) < MEASURE_S:
        backend.embed(pixels_BCHW)
        images += len(pixels_BCHW)
    return images / elapsed_s


def _builders(encoder: Encoder, batch_size: int) -> dict[str, Build]:
    """What may compute here, by name; the reference comes first."""
    builders: dict[str, Build] = {REFERENCE: lambda: TorchBackend(encoder, batch_size)}
    has_bf16 = computes_bf16(encoder.device)
    if has_bf16:
        builders["torch bf16"] = lambda: TorchBackend(encoder, batch_size, torch.bfloat16)
    if encoder.device.type != "cpu":
        return builders
    builders["openvino fp32"] = lambda: _openvino(encoder, batch_size, "f32")
    if has_bf16:
        builders["openvino bf16"] = lambda: _openvino(encoder, batch_size, "bf16")
    builders["onnx fp32"] = lambda: _onnx(encoder, batch_size)
    return builders


def _openvino(encoder: Encoder, batch_size: int, precision: str) -> ImageBackend:
    from pinembed.encoder.backends.with_openvino import OpenVinoBackend

    return OpenVinoBackend(encoder, batch_size, precision)


def _onnx(encoder: Encoder, batch_size: int) -> ImageBackend:
    from pinembed.encoder.backends.with_onnx import OnnxBackend

    return OnnxBackend(encoder, batch_size)


def _machine_key(name: str, fingerprint: str, device: torch.device, batch_size: int) -> str:
    """What a measurement holds for: another processor, package version or batch size is measured anew."""
    versions = []
    for package in ("torch", "openvino", "onnxruntime"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    machine = f"{platform.node()} {platform.machine()} {chip} {torch.get_num_threads()} {device} {batch_size}"
    return hashlib.sha256(f"{name} {fingerprint} {machine} {versions}".encode()).hexdigest()[:24]


def _memory_path() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "pinembed" / "backends.json"


def _remembered() -> dict[str, str]:
    try:
        stored = json.loads(_memory_path().read_text(encoding="utf-8"))
        return {str(key): str(value) for key, value in stored.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _remember(key: str, backend: str) -> None:
    """Best effort: a cache that cannot be written costs a measurement in the next run."""
    path = _memory_path()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_text(json.dumps({**_remembered(), key: backend}, indent=1), encoding="utf-8")
        partial.replace(path)
