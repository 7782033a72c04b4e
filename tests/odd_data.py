"""Small odd inputs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, size: tuple[int, int] = (48, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


def two_images(folder: Path, *, csv: str | None = None, jsonl: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for index in (0, 1):
        noise(index).save(folder / f"a{index}.png")
    if csv is not None:
        (folder / "metadata.csv").write_text(csv, encoding="utf-8")
    if jsonl is not None:
        (folder / "metadata.jsonl").write_text(jsonl, encoding="utf-8")
    return folder


def png(colour: str | tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
