"""The settings of a run, derived from the sizes of model and data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from pinembed.encoder.folding import Folding
from pinembed.settings.training import FinetuneSettings
from pinembed.training.duration import patience_of
from pinembed.training.low_rank import require_peft
from pinembed.training.optimiser import FEWEST_FOR_STATISTICS, IMAGE_PREFIX, Rates

HIGHEST_RATE, LOWEST_RATE = 1.5e-3, 5e-6
HIGHEST_RATE_PARAMETERS, RATE_POWER = 2.5e6, 1.4
"""Peak rate by parameters of the image tower: 1.5e-3 up to 2.5 M, 4e-5 for 35 M, 1e-5 for the 86 M of a ViT-B.

The first was measured (docs/finetune.md), the last is what published tunings of CLIP on thousands of images use.
"""
SCRATCH_RATE = 2e-3
LOW_RANK_GAIN = 20
"""Low-rank updates start at zero and take a higher rate."""
TRAIN_SIDE = 5 / 7
"""Random crops enlarge what they show, so a smaller side shows items at their usual size, in half the time.

Source: Touvron et al. 2019, Fixing the train-test resolution discrepancy, arXiv:1906.06423.
"""
SIDE_STEP_PX = 32
SMALLEST_SIDE_PX = 128
EARLY_SHARE, SMALLEST_EARLY_PX = 0.4, 64
"""Random weights learn the coarse of small pictures first, at still fewer pixels.

Source: Tan and Le 2021, EfficientNetV2, arXiv:2104.00298 (progressive learning).
"""
ACTIVATION_BYTES = 3 << 30
"""Memory for what the towers keep of a batch until the backward pass."""
TUNED_AVERAGE, RATE_FLOOR = 0.3, 0.3
"""Of a pretrained tower: the weights are averaged over the last third, with a rate at which they still move.

Source: Izmailov et al. 2018, Averaging weights leads to wider optima, arXiv:1803.05407.
"""
SCRATCH_AVERAGE = 0.1
TUNED_PHRASINGS = 3
"""Few images bring few words; two more texts cost 5 % of a step with a small text tower (docs/experiments)."""
RESTARTS, RESTART_RATE = 2, 1 / 3
"""A rate that suits new kinds of pictures makes a base forget those that it knows; validation says which it is."""
FEW_IMAGES = 1000
"""Training images up to which a second training, on validation's images too, is worth its time: validation is a large
part of what can be learned from, and it takes minutes (docs/experiments/finetune.md)."""
LARGEST_BATCH, SMALLEST_BATCH, FEWEST_STEPS = 64, 16, 8
IMAGES_SHOWN = 70_000
FEWEST_EPOCHS, MOST_EPOCHS = 3, 30
SCRATCH_EPOCHS = 18
SOFTMAX, PAIRWISE = "clip", "siglip"
AUTO, FP32, BF16 = "auto", "fp32", "bf16"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a step does to the weights.

    Attributes:
        samples_per_group: images of one group that go into a batch together.
        train_px: side of the views that training shows; None for the encoder's own.
        early_px: their side in the first part of the run; None for the same all along.
        micro_batch: images that go through the towers at once; None for the complete batch.
        warm_up: share of all steps with a rising rate.
        clip_norm: largest norm of a step's gradient.
        image_image_weight: of the contrast between images of a group, beside the one between images and texts.
        rate_floor: share of the peak rate at which the decay ends, so that the averaged weights differ.
        average: share of the run over which the weights are averaged.
        l2sp: pull of all steps together towards the weights at the start; 1 would take what was learned to 1/e.
        loss: between images and texts: SOFTMAX over the batch, or PAIRWISE.
        matryoshka: the losses hold for prefixes of the embedding too.
        precision: of the towers' arithmetic: FP32, BF16, or AUTO for the faster one.
        heads: the towers' last layers are fitted before the rest learns.
        lora: rank of the updates that are learned in place of the weights; None to learn the weights.
        patience: epochs without a gain on validation after which training ends; None for all epochs.
        keeps_statistics: batch norms use the base's mean and variance in training, in place of each batch's.
        phrasings: sampled descriptions of an image in a step, beside its name.
        refits: after the choice, the towers' last layers are fitted once more, to validation's images too.
        trains_again: after the choice, a second training shows validation's images too, and both are averaged.
        restarts: times that training may begin anew at RESTART_RATE of its rate where validation falls below the start.
    """

    epochs: int
    batch_size: int
    samples_per_group: int
    train_px: int | None
    micro_batch: int | None
    rates: Rates
    warm_up: float = 0.1
    clip_norm: float = 1.0
    image_image_weight: float = 0.5
    rate_floor: float = 0.0
    average: float = SCRATCH_AVERAGE
    l2sp: float = 0.0
    loss: str = SOFTMAX
    matryoshka: bool = False
    precision: str = AUTO
    heads: bool = True
    lora: int | None = None
    patience: int | None = None
    keeps_statistics: bool = False
    phrasings: int = 1
    early_px: int | None = None
    restarts: int = 0
    refits: bool = False
    trains_again: bool = False

    def steps_per_epoch(self, images: int) -> int:
        """Batches of an epoch that shows so many images."""
        return max(1, round(images / self.batch_size))

    def gentler(self, restarts: int) -> Recipe:
        """As it is after so many restarts."""
        share = RESTART_RATE**restarts
        rates = replace(self.rates, image=share * self.rates.image, text=share * self.rates.text)
        return replace(self, rates=rates)

    def side_px(self, done: float) -> int | None:
        """Side of the views after this share of the run; None for the encoder's own."""
        return self.early_px if self.early_px is not None and done < EARLY_SHARE else self.train_px


def make_recipe(model: nn.Module, settings: FinetuneSettings, *, train_images: int, image_px: int) -> Recipe:
    """Defaults for this model and this number of images, where the user did not decide.

    Args:
        model: an open_clip model.
        settings: what the user decided; random weights learn in every layer at one high rate.
        train_images: of the training split.
        image_px: side of the encoder's input.

    Raises:
        MissingExtraError: low-rank updates without the extra `vlm`.
    """
    if settings.lora is not None:
        require_peft()
    if settings.random_init:
        rate = SCRATCH_RATE if settings.lr is None else settings.lr
        rates = Rates(image=rate, text=rate, first_layer=1.0, weight_decay=0.05)
        shown = SCRATCH_EPOCHS
    else:
        parameters = sum(p.numel() for name, p in model.named_parameters() if name.startswith(IMAGE_PREFIX))
        by_size = HIGHEST_RATE * (HIGHEST_RATE_PARAMETERS / max(parameters, HIGHEST_RATE_PARAMETERS)) ** RATE_POWER
        by_size = max(by_size, LOWEST_RATE)
        by_size = by_size if settings.lora is None else min(LOW_RANK_GAIN * by_size, HIGHEST_RATE)
        rate = by_size if settings.lr is None else settings.lr
        rates = Rates(image=rate, text=rate, first_layer=0.3, weight_decay=0.02)
        shown = min(max(round(IMAGES_SHOWN / max(train_images, 1)), FEWEST_EPOCHS), MOST_EPOCHS)
    train_px = smaller_side(model, image_px)
    starts_small = settings.random_init and train_px is None
    batch = min(settings.batch_size or default_batch_size(train_images), train_images)
    keeps_statistics = not settings.random_init or batch < FEWEST_FOR_STATISTICS
    kept_bytes = activation_bytes(model, train_px or image_px, keeps_statistics=keeps_statistics)
    fitting = max(1, ACTIVATION_BYTES // kept_bytes)
    may_end_early = settings.epochs is None and not settings.random_init
    return Recipe(
        epochs=shown if settings.epochs is None else settings.epochs,
        patience=patience_of(shown) if may_end_early else None,
        keeps_statistics=keeps_statistics,
        phrasings=1 if settings.random_init else TUNED_PHRASINGS,
        batch_size=batch,
        samples_per_group=2,
        train_px=train_px,
        early_px=smaller_side(model, image_px, smallest_px=SMALLEST_EARLY_PX) if starts_small else None,
        micro_batch=fitting if fitting < batch else None,
        rates=rates,
        rate_floor=0.0 if settings.random_init else RATE_FLOOR,
        average=SCRATCH_AVERAGE if settings.random_init else TUNED_AVERAGE,
        loss=_own_loss(model) if settings.loss == AUTO else settings.loss,
        matryoshka=settings.matryoshka,
        precision=settings.precision,
        heads=settings.heads and not settings.random_init,
        l2sp=settings.l2sp,
        lora=settings.lora,
        restarts=0 if settings.random_init or settings.lora or settings.lr is not None else RESTARTS,
        refits=settings.refit and settings.heads and not settings.random_init and not settings.matryoshka,
        trains_again=settings.refit and not settings.random_init and train_images <= FEW_IMAGES,
    )


def _own_loss(model: nn.Module) -> str:
    return SOFTMAX if getattr(model, "logit_bias", None) is None else PAIRWISE


def default_batch_size(train_images: int) -> int:
    """Large batches hold more wrong answers; small catalogues still need some steps in an epoch."""
    return min(LARGEST_BATCH, max(SMALLEST_BATCH, train_images // FEWEST_STEPS))


@torch.no_grad()
def smaller_side(model: nn.Module, image_px: int, *, smallest_px: int = SMALLEST_SIDE_PX) -> int | None:
    """A side below the encoder's own that its image tower takes too; None where it is tied to its own.

    Towers with position embeddings are; towers of convolutions and global pooling are not.
    """
    side_px = round(image_px * TRAIN_SIDE / SIDE_STEP_PX) * SIDE_STEP_PX
    tower = [name for name, _ in model.named_parameters() if name.startswith(IMAGE_PREFIX)]
    if side_px < smallest_px or side_px >= image_px or any("pos" in name for name in tower):
        return None
    first = next(model.parameters())
    was_training = model.training
    model.eval()
    try:
        cast(Any, model).encode_image(torch.zeros(1, 3, side_px, side_px, dtype=first.dtype, device=first.device))
    except (RuntimeError, AssertionError, ValueError):
        return None
    finally:
        model.train(was_training)
    return side_px


def activation_bytes(model: nn.Module, side_px: int, *, keeps_statistics: bool) -> int:
    """What the image tower keeps of one picture for the backward pass: of two pictures, less what it keeps of one."""
    first = next(model.parameters())
    encode = cast(Any, model).encode_image
    folding = Folding(cast(Any, model).visual)
    was_training = model.training
    model.eval()
    kept_bytes = []
    for images in (1, 2):
        kept: dict[int, int] = {}

        def count(tensor: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        input_BCHW = torch.zeros(images, 3, side_px, side_px, dtype=first.dtype, device=first.device)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            features = folding.run(encode, input_BCHW) if keeps_statistics else encode(input_BCHW)
        del features  # storages of the second pass may lie where those of the first did
        kept_bytes.append(sum(kept.values()))
    model.train(was_training)
    return max(1, kept_bytes[1] - kept_bytes[0])
