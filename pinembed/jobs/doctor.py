"""The doctor job: what is installed, what the machine can do, and what to do about what is wrong.

It must give its answer where much is broken, so each check imports by itself and turns a failure into a finding.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from pinembed.errors import InstallationError
from pinembed.machine import usable_cores
from pinembed.reports.doctor import Check, DoctorReport
from pinembed.settings.measuring import DoctorSettings
from pinembed.version import __version__

CORE = ("open_clip_torch", "lancedb", "pylance", "pyarrow", "pillow", "safetensors", "numpy", "scipy", "ImageHash")
EXTRAS = {
    "vlm": ("transformers", "accelerate", "peft"),
    "fast": ("openvino", "onnxruntime", "onnx", "onnxscript", "pillow-heif"),
    "report": ("matplotlib",),
    "map": ("openTSNE",),
}
WANTED_FREE_GIB = 5.0
INSTALL_PAIR = 'Install both in one call: pip install "torch==2.15.0" "torchvision==0.29.2"'


def examine(settings: DoctorSettings) -> DoctorReport:
    """Look at everything that pinembed needs."""
    checks = [
        Check(name="pinembed", found=__version__),
        Check(name="Python", found=f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _torch_pair(),
        *(_package(name) for name in CORE),
        _open_clip_loads(),
        *_devices(),
        *(_extra(name, packages) for name, packages in EXTRAS.items()),
        _heic(),
        _hub(),
        _disk(settings.disk or Path.cwd()),
    ]
    return DoctorReport(checks=tuple(checks))


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _package(package: str) -> Check:
    version = _version_of(package)
    if version is None:
        return Check(
            name=package, found="not installed", verdict="wrong", remedy="Install pinembed anew: pip install pinembed"
        )
    return Check(name=package, found=version)


def _torch_pair() -> Check:
    """A torchvision built for another torch lacks its operators; using one shows it, versions alone do not."""
    found = f"{_version_of('torch') or 'no torch'} + {_version_of('torchvision') or 'no torchvision'}"
    try:
        torch = importlib.import_module("torch")
        boxes = importlib.import_module("torchvision").ops
        boxes.nms(torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.tensor([1.0]), 0.5)
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0].rstrip(".")
        remedy = f"They are not a pair: {reason}. {INSTALL_PAIR}"
        return Check(name="torch + torchvision", found=found, verdict="wrong", remedy=remedy)
    return Check(name="torch + torchvision", found=found)


def _open_clip_loads() -> Check:
    from pinembed.encoder.locate import import_open_clip

    started_s = time.monotonic()
    try:
        import_open_clip()
    except InstallationError as error:
        return Check(name="open_clip loads", found=error.message, verdict="wrong", remedy=error.remedy)
    return Check(name="open_clip loads", found=f"yes, in {time.monotonic() - started_s:.1f} s")


def _devices() -> list[Check]:
    try:
        import torch
    except (ImportError, OSError):
        return []
    capabilities = _cpu_capabilities()
    native = [name for name, has in capabilities.items() if has]
    checks = [
        Check(name="CPU", found=f"{usable_cores()} core(s), torch uses {torch.get_num_threads()} thread(s)"),
        Check(
            name="CPU bf16 / int8",
            found=", ".join(native) if native else "no native bf16 or int8",
            verdict="ok" if native else "note",
            remedy="" if native else "Encoding computes in fp32 here, several times slower than with native bf16.",
        ),
    ]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory_gib = properties.total_memory / 2**30
            checks.append(Check(name=f"cuda:{index}", found=f"{properties.name}, {memory_gib:.0f} GiB"))
    elif torch.backends.mps.is_available():
        checks.append(Check(name="mps", found="available"))
    else:
        checks.append(Check(name="GPU", found="none", verdict="note", remedy="All commands run on the CPU."))
    return checks


def _cpu_capabilities() -> dict[str, bool]:
    """What the processor computes natively; torch knows it on every system, though under underscored names."""
    import torch

    def asks(name: str) -> bool:
        question: Callable[[], bool] | None = getattr(torch.cpu, name, None)
        return bool(question and question())

    return {
        "bf16 (AVX512)": asks("_is_avx512_bf16_supported"),
        "int8 (VNNI)": asks("_is_vnni_supported") or asks("_is_avx512_vnni_supported"),
        "bf16 + int8 (AMX)": asks("_is_amx_tile_supported"),
    }


def _extra(extra: str, packages: tuple[str, ...]) -> Check:
    versions = {package: _version_of(package) for package in packages}
    missing = [package for package, version in versions.items() if version is None]
    if missing:
        remedy = f'When you need it: pip install "pinembed[{extra}]"'
        return Check(name=f"extra {extra}", found=f"missing {', '.join(missing)}", verdict="note", remedy=remedy)
    return Check(name=f"extra {extra}", found=", ".join(f"{name} {version}" for name, version in versions.items()))


def _heic() -> Check:
    if _version_of("pillow-heif") is None:
        remedy = 'For photos from phones: pip install "pinembed[fast]"'
        return Check(name="HEIC photos", found="cannot be read", verdict="note", remedy=remedy)
    return Check(name="HEIC photos", found="can be read")


def _hub() -> Check:
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        return Check(name="model hub", found="offline (HF_HUB_OFFLINE): only cached and local encoders are used")
    return Check(name="model hub", found="asked only when an encoder is named as hf-hub:... or NAME/PRETRAINED")


def _disk(folder: Path) -> Check:
    free_gib = shutil.disk_usage(folder).free / 2**30
    found = f"{free_gib:.1f} GiB at {folder}"
    if free_gib < WANTED_FREE_GIB:
        remedy = (
            f"Less than {WANTED_FREE_GIB:.0f} GiB: a table of a million 512-d vectors takes about 1.1 GiB, "
            "a fine-tuned ViT-B-32 0.6 GiB."
        )
        return Check(name="free disk", found=found, verdict="note", remedy=remedy)
    return Check(name="free disk", found=found)
