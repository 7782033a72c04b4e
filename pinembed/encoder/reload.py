"""A written encoder, loaded again and held against the one in memory, before it is called done.

Shape legend: B images, M texts, D embedding floats.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.errors import EncoderError
from pinembed.images.loading import load_pixels

TOLERANCE = 1e-5
IMAGES, TEXTS = 3, 8
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What is embedded to compare two encoders: the first few of each.

    Attributes:
        images: files that can be decoded.
        texts: as they are embedded.
    """

    images: Sequence[Path]
    texts: Sequence[str]

    def embedded(self, encoder: Encoder) -> tuple[Tensor, Tensor]:
        """Images (B, D) and texts (M, D), float32 unit rows."""
        pixels = [load_pixels(path, encoder.preprocessing) for path in self.images[:IMAGES]]
        image_BD = encoder.embed_images(torch.from_numpy(np.stack(pixels)))
        return image_BD, encoder.embed_texts(list(self.texts[:TEXTS]))


def check_written(
    folder: Path, encoder: Encoder, sample: Sample, *, weights: Mapping[str, Tensor] | None = None
) -> None:
    """Refuse a folder that does not give the vectors of the encoder that was written to it.

    Both embed on the CPU: a GPU takes other kernels, and TensorFloat-32, for other layouts of memory, and
    one and the same weights differ by 3e-4 there.

    Args:
        folder: as written.
        encoder: in memory; takes the weights where they are handed over.
        sample: what is embedded with both.
        weights: a state dict of the encoder's model that was written instead of its own.

    Raises:
        EncoderError: a vector of the folder differs by more than TOLERANCE, or the folder does not load.
    """
    if weights is not None:
        encoder.model.load_state_dict(weights)
    encoder.model.eval()
    expected = sample.embedded(_on_cpu(encoder))
    found = sample.embedded(load_encoder(str(folder), device=CPU))
    images, texts = (float((ours - theirs).abs().max()) for ours, theirs in zip(expected, found, strict=True))
    if not max(images, texts) <= TOLERANCE:
        raise EncoderError(
            f"The encoder that was written gives other vectors than {encoder.files.reference} in memory: images differ "
            f"by up to {images:.1e}, texts by {texts:.1e}; allowed is {TOLERANCE:.0e}.",
            remedy="Nothing was kept. Check that the base's folder holds all files of its tokenizer, and report the "
            "case with its open_clip_config.json.",
        )


def _on_cpu(encoder: Encoder) -> Encoder:
    if encoder.device.type == CPU.type:
        return encoder
    return Encoder(copy.deepcopy(encoder.model), encoder.tokenizer, encoder.files, CPU)
