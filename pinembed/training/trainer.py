"""One step of contrastive tuning, and the running average of the weights.

Shape legend: B batch, C channels (3), H = W = image_px, T context length, D embedding floats.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.errors import TrainingError
from pinembed.training.augment import augment
from pinembed.training.losses import image_image_loss, image_text_loss, positives
from pinembed.training.optimiser import cosine_share, make_optimiser, set_rate
from pinembed.training.recipe import Recipe

FEWEST_FOR_BATCH_NORM = 16


class Trainer:
    """A model in training.

    Args:
        model: an open_clip model on its device; changed in place.
        recipe: what a step does.
        total_steps: of the run; the rate reaches zero there.
        standardise: pixels 0..255 to the image tower's input.
        seed: of augmentation and dropout.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        total_steps: int,
        standardise: Callable[[Tensor], Tensor],
        seed: int,
    ) -> None:
        # convolutions run up to twice as fast on the CPU, and faster on a GPU, with channels last
        self.model = model.to(memory_format=torch.channels_last)
        self.recipe = recipe
        self.total_steps = total_steps
        self.optimiser = make_optimiser(model, recipe.rates)
        self._standardise = standardise
        self._generator = torch.Generator().manual_seed(seed)
        self._trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self._average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._warm_up_steps = max(1, round(recipe.warm_up * total_steps))
        self.step_count = 0

    def train(self) -> None:
        """Training mode; batch norms keep the base's statistics where a batch is too small for its own."""
        self.model.train()
        if self.recipe.batch_size < FEWEST_FOR_BATCH_NORM:
            for module in self.model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def step(self, pixels_BCHW: Tensor, tokens_BT: Tensor, group_B: Tensor, text_B: Tensor) -> float:
        """Show one batch and change the weights.

        Args:
            pixels_BCHW: uint8, without augmentation.
            tokens_BT: of each picture's text.
            group_B: codes; equal codes are right answers to each other.
            text_B: codes of equal texts; -1 for none.

        Returns:
            The loss before the change.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        share = cosine_share(self.step_count, self.total_steps, self._warm_up_steps)
        set_rate(self.optimiser, share)
        views_BCHW = augment(pixels_BCHW, self._generator, image_px=self.recipe.train_px)
        loss = self._loss(views_BCHW, tokens_BT, positives(group_B, text_B))
        value = float(loss.detach())
        if not value - value == 0:
            raise TrainingError(
                f"The loss became {value} in step {self.step_count + 1}.",
                remedy="Run again with a lower --lr; the base is untouched.",
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._trained, self.recipe.clip_norm)
        self.optimiser.step()
        self.step_count += 1
        self._update_average()
        return value

    def averaged_weights(self) -> dict[str, Tensor]:
        """A copy of the running average, batch-norm statistics included."""
        return {name: tensor.clone() for name, tensor in self._average.items()}

    def _loss(self, views_BCHW: Tensor, tokens_BT: Tensor, positive_BB: Tensor) -> Tensor:
        model = cast(Any, self.model)
        input_BCHW = self._standardise(views_BCHW).contiguous(memory_format=torch.channels_last)
        image_BD = F.normalize(model.encode_image(input_BCHW).float(), dim=1)
        text_BD = F.normalize(model.encode_text(tokens_BT).float(), dim=1)
        positive_BB = positive_BB.to(image_BD.device)
        scale = model.logit_scale.detach().exp().clamp(max=100)
        loss = image_text_loss(image_BD, text_BD, positive_BB, scale)
        if self.recipe.image_image_weight:
            loss = loss + self.recipe.image_image_weight * image_image_loss(image_BD, positive_BB, scale)
        return loss

    def _update_average(self) -> None:
        # early weights are forgotten: the window grows with the run until it spans the recipe's share of it
        window = max(1.0, min(self.step_count / 5, self.recipe.average * self.total_steps))
        current = self.model.state_dict()
        floating = [name for name, tensor in current.items() if tensor.is_floating_point()]
        torch._foreach_lerp_(
            [self._average[name] for name in floating], [current[name] for name in floating], 1 / window
        )
        for name in current.keys() - set(floating):
            self._average[name].copy_(current[name])
