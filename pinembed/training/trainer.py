"""One step of contrastive tuning, and the running average of the weights.

Shape legend: B batch, C channels (3), H = W = image_px, T context length, D embedding floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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

    Micro-batches give the gradients of the complete batch: the features are computed first without gradients, the loss
    gives the gradient of each feature, and a second pass carries it into the weights.
    Source: Gao et al. 2021, Scaling deep contrastive learning batch size, arXiv:2101.06983.

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
        self._seed = seed
        self._generator = torch.Generator()
        self._trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self._average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self.step_count = 0

    def start_epoch(self, epoch: int) -> None:
        """Training mode and the epoch's own randomness, so that an epoch is the same whatever ran before it.

        Batch norms keep the base's statistics where a batch is too small for its own.
        """
        torch.manual_seed(1_000_003 * self._seed + epoch)
        self._generator.manual_seed(1_000_003 * self._seed + epoch)
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
        warm_up_steps = max(1, round(self.recipe.warm_up * self.total_steps))  # the budget may have cut the steps
        share = cosine_share(self.step_count, self.total_steps, warm_up_steps)
        set_rate(self.optimiser, share)
        views_BCHW = augment(pixels_BCHW, self._generator, image_px=self.recipe.train_px)
        positive_BB = positives(group_B, text_B).to(tokens_BT.device)
        self.optimiser.zero_grad(set_to_none=True)
        value = self._backward(views_BCHW, tokens_BT, positive_BB)
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss became {value} in step {self.step_count + 1}.",
                remedy="Run again with a lower --lr.",
            )
        nn.utils.clip_grad_norm_(self._trained, self.recipe.clip_norm)
        self.optimiser.step()
        self.step_count += 1
        self._update_average()
        return value

    def averaged_weights(self) -> dict[str, Tensor]:
        """A copy of the running average, batch-norm statistics included."""
        return {name: tensor.clone() for name, tensor in self._average.items()}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model holds the running average of its weights."""
        self._swap_average()
        try:
            yield
        finally:
            self._swap_average()

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on besides `step_count` and `total_steps`."""
        moments = {
            f"optimiser.{place}.{name}": tensor
            for place, slots in self.optimiser.state_dict()["state"].items()
            for name, tensor in slots.items()
        }
        return {
            **{f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"average.{name}": tensor for name, tensor in self._average.items()},
            **moments,
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor], *, step_count: int, total_steps: int) -> None:
        """Go on where another process's trainer stood."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
        for key, tensor in state.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        self.model.load_state_dict(parts["model"])
        for name, tensor in self._average.items():
            tensor.copy_(parts["average"][name])
        slots: dict[int, dict[str, Tensor]] = {}
        for key, tensor in parts["optimiser"].items():
            place, _, name = key.partition(".")
            parameter = self._trained[int(place)]
            if tensor.shape == parameter.shape:
                # the fused step walks parameter and moments in memory order, so they need the same one
                tensor = torch.empty_like(parameter).copy_(tensor)
            slots.setdefault(int(place), {})[name] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})
        self.step_count, self.total_steps = step_count, total_steps

    @torch.no_grad()
    def _swap_average(self) -> None:
        for name, tensor in self.model.state_dict().items():
            held = tensor.clone()
            tensor.copy_(self._average[name])
            self._average[name].copy_(held)

    def _backward(self, views_BCHW: Tensor, tokens_BT: Tensor, positive_BB: Tensor) -> float:
        """Gradients of the whole batch's loss, in micro-batches where the batch does not fit in memory at once."""
        micro_batch = self.recipe.micro_batch
        if micro_batch is None or micro_batch >= len(views_BCHW):
            loss = self._contrast(*self._embed(views_BCHW, tokens_BT), positive_BB)
            loss.backward()  # type: ignore[no-untyped-call]
            return float(loss.detach())
        chunks = list(zip(torch.split(views_BCHW, micro_batch), torch.split(tokens_BT, micro_batch), strict=True))
        random_states, cached = [], []
        with torch.no_grad():
            for chunk in chunks:
                random_states.append(torch.get_rng_state())
                cached.append(self._embed(*chunk))
        image_BD, text_BD = (torch.cat(rows).requires_grad_() for rows in zip(*cached, strict=True))
        loss = self._contrast(image_BD, text_BD, positive_BB)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = zip(
            torch.split(_gradient(image_BD), micro_batch), torch.split(_gradient(text_BD), micro_batch), strict=True
        )
        for chunk, random_state, gradient in zip(chunks, random_states, gradients, strict=True):
            torch.set_rng_state(random_state)
            torch.autograd.backward(self._embed(*chunk), gradient)
        return float(loss.detach())

    def _embed(self, views_BCHW: Tensor, tokens_BT: Tensor) -> tuple[Tensor, Tensor]:
        model = cast(Any, self.model)
        input_BCHW = self._standardise(views_BCHW).contiguous(memory_format=torch.channels_last)
        image_BD = F.normalize(model.encode_image(input_BCHW).float(), dim=1)
        return image_BD, F.normalize(model.encode_text(tokens_BT).float(), dim=1)

    def _contrast(self, image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor) -> Tensor:
        scale = cast(Any, self.model).logit_scale.detach().exp().clamp(max=100)
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


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
