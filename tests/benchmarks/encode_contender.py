"""One timed run of one contender, from image files to embeddings on the disk; encode_peers.py starts it.

    python tests/benchmarks/encode_contender.py NAME IMAGES WEIGHTS OUT THREADS

It prints one JSON object: images, seconds from the first file to durable output without the model's loading, CPU
seconds of the same span, and the peak of resident memory of the process and its largest child.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCH = 32
Encode = Callable[[list[Path]], "np.ndarray"]


def open_clip_loop(weights: Path, threads: int) -> Encode:
    """The loop of open_clip's README, in batches."""
    import open_clip
    import torch
    from PIL import Image

    torch.set_num_threads(threads)
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{weights / 'open_clip'}")
    model.eval()

    @torch.inference_mode()
    def encode(files: list[Path]) -> np.ndarray:
        batches = []
        for start in range(0, len(files), BATCH):
            pixels = torch.stack([preprocess(Image.open(file)) for file in files[start : start + BATCH]])
            batches.append(model.encode_image(pixels, normalize=True).numpy())
        return np.concatenate(batches)

    return encode


def sentence_transformers(weights: Path, threads: int) -> Encode:
    import torch
    from PIL import Image
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Transformer

    torch.set_num_threads(threads)
    model = SentenceTransformer(modules=[Transformer(str(weights / "hugging_face"))], device="cpu")

    def encode(files: list[Path]) -> np.ndarray:
        return model.encode([Image.open(file) for file in files], batch_size=BATCH, normalize_embeddings=True)

    return encode


def fastembed(weights: Path, threads: int) -> Encode:
    from fastembed import ImageEmbedding

    name = "Qdrant/clip-ViT-B-32-vision"
    model = ImageEmbedding(name, specific_model_path=str(weights / "onnx"), threads=threads)

    def encode(files: list[Path]) -> np.ndarray:
        return np.stack(list(model.embed([str(file) for file in files], batch_size=BATCH)))

    return encode


CONTENDERS = {"open_clip": open_clip_loop, "sentence-transformers": sentence_transformers, "fastembed": fastembed}


def run_peer(name: str, images: Path, weights: Path, out: Path, threads: int) -> dict[str, float]:
    encode = CONTENDERS[name](weights, threads)
    files = sorted(images.iterdir())
    started_s, started_cpu_s = time.perf_counter(), cpu_s()
    vectors = encode(files)
    with out.open("wb") as file:
        np.save(file, vectors.astype(np.float16))
        os.fsync(file.fileno())
    return {
        "images": len(vectors),
        "seconds": time.perf_counter() - started_s,
        "cpu_s": cpu_s() - started_cpu_s,
    }


def run_pinembed(images: Path, weights: Path, out: Path) -> dict[str, float]:
    from pinembed.encoder.backends import choose
    from pinembed.jobs.encode import encode
    from pinembed.jobs.encode.backend import BackendOfRun

    choose.CALIBRATE_FROM_IMAGES = 1  # few files stand for a large folder here
    begun: dict[str, float] = {}
    load = BackendOfRun._load

    def load_and_mark(self: BackendOfRun) -> None:
        load(self)
        begun["cpu_s"] = cpu_s()

    BackendOfRun._load = load_and_mark  # type: ignore[method-assign]
    report = encode(images, table=str(out / "pins"), encoder=str(weights / "open_clip"))
    # CPU seconds hold the backend's compilation and the workers' decoding of the first images too
    return {
        "images": report.encoded,
        "seconds": report.encoded / report.images_per_s,
        "cpu_s": cpu_s() - begun["cpu_s"],
        "backend": report.backend,  # type: ignore[dict-item]
    }


def cpu_s() -> float:
    """User and system time of this process and its finished children."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, kinds))


def main() -> None:
    name, images, weights, out, threads = sys.argv[1:]
    if name == "pinembed":
        result = run_pinembed(Path(images), Path(weights), Path(out))
    else:
        result = run_peer(name, Path(images), Path(weights), Path(out) / "vectors.npy", int(threads))
    peaks = (resource.getrusage(kind).ru_maxrss for kind in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    result["resident_mb"] = sum(peaks) / 1024
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
