"""Converted models kept between runs, so that the next one begins without torch, and the choice of backend.

They lie in the cache folder by encoder, package versions and machine; all of it may be deleted at any time.
"""

from __future__ import annotations

import atexit
import hashlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from pinembed.encoder import cache
from pinembed.encoder.backends.candidates import piece_images
from pinembed.machine import cache_folder

MEMORY = "backends"
KEPT_MODELS = 3
ALWAYS_ASKED = ("torch", "openvino", "onnxruntime")


def machine_key(wanted: str, fingerprint: str, device: str, batch_size: int, cores: int) -> str:
    """What a choice holds for: another processor, package version or batch size is measured anew."""
    machine = f"{platform.node()} {platform.machine()} {_chip()} {cores} {device} {batch_size}"
    return _short(f"{wanted} {fingerprint} {machine} {_versions()}")


def model_folder(fingerprint: str, batch_size: int) -> Path:
    """Where the converted models of an encoder lie."""
    return cache_folder() / "converted" / _short(f"{fingerprint} {piece_images(batch_size)} {_versions()}")


def writable_folder(folder: Path) -> Path:
    """The folder, made; where the cache cannot be written, a temporary one for this process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        made = Path(tempfile.mkdtemp(prefix="pinembed-converted-"))
        atexit.register(shutil.rmtree, made, ignore_errors=True)
        return made
    return folder


def forget_oldest(in_use: Path) -> None:
    """Keep the converted models of the encoders used last: a nightly fine-tuned one is converted every night."""
    with suppress(OSError):
        os.utime(in_use)
        by_use = sorted(in_use.parent.iterdir(), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in by_use[KEPT_MODELS:]:
            shutil.rmtree(folder, ignore_errors=True)


def remembered() -> dict[str, str]:
    """Name of the backend by machine_key."""
    return cache.recall(MEMORY)


def remember(key: str, backend: str) -> None:
    """Best effort: a cache that cannot be written costs a measurement in the next run."""
    cache.remember(MEMORY, key, backend)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _versions() -> list[str]:
    found = []
    for package in ALWAYS_ASKED:
        with suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return found


def _chip() -> str:
    """Name and abilities of the processor, without loading torch to ask for them."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        telling = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
        if telling:
            return _short("\n".join(sorted(telling)))
    return platform.processor()
