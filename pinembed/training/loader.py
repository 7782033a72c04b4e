"""Batches of a split: which items come together, their texts, and random crops and colours of their pixels.

Captions name colours and shapes, so augmentation keeps the hue and most of the item.

Shape legend: B batch, C channels (3), H = W = image_px.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.nouns.item import Item
from pinembed.training.datasets import Learnable
from pinembed.training.losses import Batch
from pinembed.training.recipe import Recipe
from pinembed.training.world import Share, World


def epoch_batches(
    groups: Sequence[int], *, batch_size: int, samples_per_group: int, rng: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Each item once, in batches that hold few items of the same group.

    A batch takes up to `samples_per_group` items of a group, so that images of a group can be compared with each other
    while most of the batch are negatives; a group comes again only where the groups run out.

    Args:
        groups: code of each item's group.
        batch_size: items of a batch; what is left over at the end joins the last batch where it is less than half.
        samples_per_group: items of one group that go together.
        rng: decides everything.
    """
    order = rng.permutation(len(groups))
    members: dict[int, list[int]] = {}
    for index in order:
        members.setdefault(groups[index], []).append(int(index))
    chunks = [
        (turn + rng.random(), indices[start : start + samples_per_group])
        for indices in members.values()
        for turn, start in _turns(len(indices), samples_per_group, rng)
    ]
    chunks.sort(key=lambda chunk: chunk[0])
    shown = np.array([index for _, indices in chunks for index in indices], dtype=np.int64)
    batches = max(1, round(len(shown) / batch_size))
    yield from np.array_split(shown, batches)


def _turns(members: int, samples_per_group: int, rng: np.random.Generator) -> Iterator[tuple[float, int]]:
    """Spread a group's chunks evenly over the epoch, from a random start."""
    starts = range(0, members, samples_per_group)
    step = 1000 / len(starts)
    offset = rng.random() * step
    for turn, start in enumerate(starts):
        yield offset + turn * step, start


class BatchLoader:
    """What is learned from as batches."""

    def __init__(self, encoder: Encoder, recipe: Recipe, train: Learnable, captioner: Captioner, world: World) -> None:
        self._encoder = encoder
        self._recipe = recipe
        self._train = train
        self._captioner = captioner
        self._world = world

    def epoch(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Each item once; the generator decides order and phrasings."""
        batches = list(
            epoch_batches(
                self._train.labelled.group_of_N.tolist(),
                batch_size=self._recipe.batch_size,
                samples_per_group=self._recipe.samples_per_group,
                rng=rng,
            )
        )
        for indices, following in zip(batches, [*batches[1:], None], strict=True):
            if following is not None:
                self._train.pixels.prepare(self._own(following))
            yield self._batch(indices, rng)

    def _own(self, indices: NDArray[np.int64]) -> list[int]:
        """The images of a batch that this process embeds."""
        share = self._world.share(len(indices))
        return [int(index) for index in indices[share.start : share.stop]]

    def _batch(self, indices: NDArray[np.int64], rng: np.random.Generator) -> Batch:
        """Each image comes with several texts: sampled descriptions, and its name."""
        items = [self._train.labelled.items[index] for index in indices]
        texts: dict[str, int] = {}
        described = [
            [texts.setdefault(self._captioner.sample(item, rng), len(texts)) for item in items]
            for _ in range(self._recipe.phrasings)
        ]
        called = [texts.setdefault(self._captioner.name(item, rng), len(texts)) for item in items]
        device = self._encoder.device
        return Batch(
            pixels_BCHW=self._train.pixels.batch(self._own(indices)).to(device),
            tokens_MT=self._encoder.tokenizer(list(texts)).to(device),
            text_of_VB=torch.tensor([*described, called], device=device),
            is_true_BM=torch.tensor([self._is_true(item, texts) for item in items], device=device),
            group_B=self._train.labelled.group_of_N[indices],
            text_B=self._train.labelled.text_of_N[indices],
        )

    def _is_true(self, item: Item, texts: Iterable[str]) -> list[bool]:
        said = self._captioner.sayings(item)
        return [text in said for text in texts]


SMALLEST_AREA = 0.3
LARGEST_STRETCH = 4 / 3
BRIGHTNESS, CONTRAST, SATURATION = 0.25, 0.25, 0.25
GREY_C = (0.299, 0.587, 0.114)


def augment(
    pixels_BCHW: Tensor, generator: torch.Generator, *, image_px: int | None = None, share: Share | None = None
) -> Tensor:
    """A random crop, flip, brightness, contrast and saturation for each picture.

    Args:
        pixels_BCHW: uint8.
        generator: decides everything; on the CPU.
        image_px: side of the result where it differs from the input's.
        share: the pictures are these of a larger batch, and get what they would get there.

    Returns:
        (B, C, image_px, image_px) float32 on the scale 0..255, on the pixels' device.
    """
    side_px = image_px or pixels_BCHW.shape[-1]
    draws = _Draws(generator, share or Share(0, len(pixels_BCHW), len(pixels_BCHW)), pixels_BCHW.device)
    views_BCHW = _crop_and_flip(pixels_BCHW.float(), draws, side_px)
    return _recolour(views_BCHW, draws).clamp_(0, 255)


@dataclass(frozen=True)
class _Draws:
    """Random numbers for each picture of a batch, of which a share is kept."""

    generator: torch.Generator
    share: Share
    device: torch.device

    def uniform(self, low: float, high: float) -> Tensor:
        drawn_B = torch.empty(self.share.batch).uniform_(low, high, generator=self.generator)
        return drawn_B[self.share.start : self.share.stop].to(self.device)


def _crop_and_flip(pixels_BCHW: Tensor, draws: _Draws, side_px: int) -> Tensor:
    area_B = draws.uniform(SMALLEST_AREA, 1)
    stretch_B = draws.uniform(-math.log(LARGEST_STRETCH), math.log(LARGEST_STRETCH)).exp().sqrt()
    width_B, height_B = (area_B.sqrt() * stretch_B).clamp(max=1), (area_B.sqrt() / stretch_B).clamp(max=1)
    left_B = draws.uniform(-1, 1) * (1 - width_B)
    top_B = draws.uniform(-1, 1) * (1 - height_B)
    flip_B = torch.where(draws.uniform(0, 1) < 0.5, -1.0, 1.0)
    zero_B = torch.zeros_like(left_B)
    affine_B23 = torch.stack(
        [torch.stack([width_B * flip_B, zero_B, left_B], 1), torch.stack([zero_B, height_B, top_B], 1)], 1
    )
    grid_BHW2 = F.affine_grid(affine_B23, [len(pixels_BCHW), 3, side_px, side_px], align_corners=False)
    return F.grid_sample(pixels_BCHW, grid_BHW2, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recolour(pixels_BCHW: Tensor, draws: _Draws) -> Tensor:
    def factor(span: float) -> Tensor:
        return draws.uniform(1 - span, 1 + span).view(-1, 1, 1, 1)

    pixels_BCHW = pixels_BCHW * factor(BRIGHTNESS)
    weight_C = torch.tensor(GREY_C, device=draws.device).view(1, 3, 1, 1)
    grey_B1HW = (pixels_BCHW * weight_C).sum(dim=1, keepdim=True)
    mean_B = grey_B1HW.mean(dim=(1, 2, 3), keepdim=True)
    # mix with grey for saturation and with the mean for contrast in one pass
    saturation_B, contrast_B = factor(SATURATION), factor(CONTRAST)
    mixed_BCHW = grey_B1HW + (pixels_BCHW - grey_B1HW) * saturation_B
    return mean_B + (mixed_BCHW - mean_B) * contrast_B
