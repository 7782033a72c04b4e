"""Look items up in an embedding source and list the nearest ones: python read_source.py SOURCE ITEM."""

from __future__ import annotations

import sys

import numpy as np

import pinembed


def nearest(source: pinembed.EmbeddingSource, item: str, count: int = 3) -> list[tuple[str, float]]:
    """Other items by cosine, best first; reads the source in batches, so it may be larger than memory."""
    query_D = source.get([item])[0].astype(np.float32)
    found: list[tuple[str, float]] = []
    for ids, embedding_ND in source.batches(4096):
        score_N = embedding_ND.astype(np.float32) @ query_D
        found += [(name, float(score)) for name, score in zip(ids, score_N, strict=True) if name != item]
        found = sorted(found, key=lambda pair: -pair[1])[:count]
    return found


if __name__ == "__main__":
    opened = pinembed.EmbeddingSource.open(sys.argv[1])
    print(f"{len(opened)} items x {opened.spec.dim} floats of encoder {opened.spec.fingerprint}")
    for name, score in nearest(opened, sys.argv[2]):
        print(f"{score:.3f}  {name}")
