"""A labelled split into an encoder's space.

Shape legend: N items, T distinct texts, D embedding floats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.jobs.pixels import decoded_batches
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress


@dataclass(frozen=True, kw_only=True)
class EmbeddedItems:
    """Image embeddings of the items that could be decoded.

    Attributes:
        image_ND: unit rows, float32.
        place_N: place of each row's item in the sequence that was embedded.
        broken: file names of the others.
    """

    image_ND: Tensor
    place_N: Tensor
    broken: tuple[str, ...]


def embed_items(encoder: Encoder, items: Sequence[Item], *, stage: str, progress: Progress) -> EmbeddedItems:
    """Decode and embed; a broken image is named and passed over."""
    progress.start(stage, len(items), "img")
    rows, places, broken = [torch.empty(0, encoder.dim)], list[int](), list[str]()
    for batch in decoded_batches(items, encoder.preprocessing):
        if batch.places:
            rows.append(encoder.embed_images(batch.pixels_BCHW))
        places.extend(batch.places)
        broken.extend(batch.broken)
        progress.advance(len(batch.places) + len(batch.broken), f"{len(broken)} broken" if broken else "")
    progress.finish()
    return EmbeddedItems(
        image_ND=torch.cat(rows), place_N=torch.tensor(places, dtype=torch.int64), broken=tuple(broken)
    )
