"""Images per second of what training reads: the loading pool beside Pillow in threads, by which it was read before.

    python tests/benchmarks/pixel_speed.py DATA [--encoder ENCODER] [--images 640] [--rounds 3]

Both go through the same PixelCache, which keeps nothing, one after the other, interleaved; the median is shown. With an
encoder, also the images per second of an epoch of finetune whose images are decoded anew.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.splits import label_items
from pinembed.encoder.encoder import load_encoder
from pinembed.encoder.towers import encode_texts
from pinembed.images.decode import read_image
from pinembed.images.loading import LoadedImage, LoadRequest
from pinembed.images.pixel_cache import PixelCache
from pinembed.images.pool import shared_pool
from pinembed.images.preprocess import preprocess
from pinembed.machine import usable_cores
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.progress import SILENT
from pinembed.settings.training import FinetuneSettings
from pinembed.training.datasets import DatasetSplits, SplitDataset, read_splits
from pinembed.training.loader import BatchLoader
from pinembed.training.recipe import make_recipe
from pinembed.training.trainer import Trainer
from pinembed.training.world import World

PREPROCESSING = Preprocessing(image_px=224, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


class PillowThreads:
    """Offers what PixelCache asks of a LoadingPool."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._preprocessing = preprocessing
        self._threads = ThreadPoolExecutor(usable_cores())

    def submit(self, requests: Sequence[LoadRequest]) -> Future[list[tuple[int, LoadedImage]]]:
        return self._threads.submit(lambda: [self._load(request) for request in requests])

    def _load(self, request: LoadRequest) -> tuple[int, LoadedImage]:
        assert isinstance(request.image, Path)
        pixels_CHW = preprocess(read_image(request.image), self._preprocessing)
        loaded = LoadedImage(sha256="", size_bytes=0, mtime_ns=0, width_px=0, height_px=0, pixels_CHW=pixels_CHW)
        return request.index, loaded


def epoch_rate(texts: DatasetSplits, encoder: str, cache: PixelCache) -> float:
    """Images per second of one epoch over a cache that keeps nothing."""
    loaded = load_encoder(encoder)
    recipe = make_recipe(
        loaded.model,
        FinetuneSettings(data=Path(), base=encoder, out=Path("none")),
        train_images=len(cache),
        image_px=loaded.preprocessing.image_px,
    )
    trainer = Trainer(
        loaded.model, recipe, total_steps=1000, standardise=loaded.standardise, encode_texts=encode_texts, seed=0
    )
    train = SplitDataset(labelled=label_items(cache.items, texts.captioner, group=texts.group), pixels=cache)
    trainer.start_epoch(1)
    started_s = time.perf_counter()
    for batch in BatchLoader(loaded, recipe, train, texts.captioner, World()).epoch(np.random.default_rng(0)):
        trainer.step(batch)
    return len(cache) / (time.perf_counter() - started_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder")
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    texts = None if asked.encoder is None else read_splits(asked.data, text=(), group=None)
    items = (read_catalogue(asked.data).items if texts is None else texts.train)[: asked.images]
    preprocessing = PREPROCESSING if asked.encoder is None else load_encoder(asked.encoder).preprocessing
    pools: dict[str, Any] = {"Pillow in threads": PillowThreads(preprocessing), "pool": shared_pool(preprocessing)}
    found: dict[str, dict[str, list[float]]] = {"decoding": {}, "epoch, decoded anew": {}}
    for pool in pools.values():  # its processes start, and the files come into the system's memory
        PixelCache(items, preprocessing, limit_bytes=0, progress=SILENT, pool=pool)
    for _ in range(asked.rounds):
        for name, pool in pools.items():
            started_s = time.perf_counter()
            cache = PixelCache(items, preprocessing, limit_bytes=0, progress=SILENT, pool=pool)
            found["decoding"].setdefault(name, []).append(len(cache) / (time.perf_counter() - started_s))
            if texts is not None:
                rate = epoch_rate(texts, asked.encoder, cache)
                found["epoch, decoded anew"].setdefault(name, []).append(rate)
    for what, by_pool in found.items():
        for name, rates in by_pool.items():
            median = statistics.median(rates)
            ratio = median / statistics.median(by_pool["Pillow in threads"])
            spread = f"{min(rates):.0f} to {max(rates):.0f}"
            print(f"{what:20} {name:18} {median:5.0f} images/s ({spread}), {ratio:.2f} x")  # noqa: T201


if __name__ == "__main__":
    main()
