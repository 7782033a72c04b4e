"""pinembed beside stock open_clip on the same folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from PIL import Image
from torch import Tensor

from pinembed.encoder.encoder import load_encoder
from pinembed.images.preprocess import preprocess


def stock_vectors(folder: Path, pictures: Sequence[Image.Image], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Images (B, D) and texts (M, D), as a user of open_clip computes them."""
    model: Any
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}", pretrained_text=False)
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    with torch.inference_mode():
        image_BD = model.eval().encode_image(torch.stack([transform(picture) for picture in pictures]), normalize=True)
        return image_BD, model.encode_text(tokenizer(list(texts)), normalize=True)


def own_vectors(folder: Path, pictures: Sequence[Image.Image], texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The same by pinembed."""
    encoder = load_encoder(str(folder))
    pixels = [torch.from_numpy(preprocess(picture, encoder.preprocessing)) for picture in pictures]
    return encoder.embed_images(torch.stack(pixels)), encoder.embed_texts(texts)


def largest_difference(folder: Path, pictures: Sequence[Image.Image], texts: Sequence[str]) -> float:
    """Between any float of pinembed's vectors and stock open_clip's."""
    sides = (stock_vectors(folder, pictures, texts), own_vectors(folder, pictures, texts))
    return max(float((stock - own).abs().max()) for stock, own in zip(*sides, strict=True))


def smallest_cosine(folder: Path, pictures: Sequence[Image.Image], texts: Sequence[str]) -> float:
    """Between pinembed's vectors and stock open_clip's, over images and texts."""
    sides = (stock_vectors(folder, pictures, texts), own_vectors(folder, pictures, texts))
    return min(float((stock * own).sum(dim=1).min()) for stock, own in zip(*sides, strict=True))
