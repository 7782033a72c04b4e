"""One run of one peer that is a library, from image files to embeddings on the disk; encode_peers.py starts it.

    python tests/benchmarks/encode_contender.py NAME IMAGES WEIGHTS OUT THREADS

It prints one JSON object: images, and the seconds from the first file to durable output without the model's loading.
"""

from __future__ import annotations

import json
import os
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


CONTENDERS = {"open_clip loop": open_clip_loop, "sentence-transformers": sentence_transformers, "fastembed": fastembed}


def main() -> None:
    name, images, weights, out, threads = sys.argv[1:]
    encode = CONTENDERS[name](Path(weights), int(threads))
    files = sorted(Path(images).iterdir())
    started_s = time.perf_counter()
    vectors = encode(files)
    with (Path(out) / "vectors.npy").open("wb") as file:
        np.save(file, vectors.astype(np.float16))
        file.flush()
        os.fsync(file.fileno())
    result = {"images": len(vectors), "seconds": time.perf_counter() - started_s}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
