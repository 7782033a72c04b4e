"""One step of contrastive tuning, and the running average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pinembed.errors import TrainingError
from pinembed.metrics.relevance import positives
from pinembed.training.augment import augment
from pinembed.training.gradients import Batch, Towers
from pinembed.training.losses import Objective
from pinembed.training.low_rank import LowRank, clip_layers
from pinembed.training.optimiser import cosine_share, make_optimiser, set_rate
from pinembed.training.recalibration import FEWEST_FOR_STATISTICS, batch_norms
from pinembed.training.recipe import Recipe
from pinembed.training.world import World


class Trainer:
    """A model in training.

    Attributes:
        model: in its present state.
        recipe: what a step does.
        towers: how a batch goes through the model.
        low_rank: the updates that learn in place of the weights; None where the weights learn.
        total_steps: of the run; the rate reaches zero there.
        step_count: steps done.

    Args:
        model: an open_clip model on its device; changed in place.
        recipe: what a step does.
        total_steps: of the run; the rate reaches zero there.
        standardise: pixels 0..255 to the image tower's input.
        encode_texts: a model and the tokens of texts to their features, with gradients.
        seed: of augmentation and dropout.
        world: processes that train together.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        total_steps: int,
        standardise: Callable[[Tensor], Tensor],
        encode_texts: Callable[[nn.Module, Tensor], Tensor],
        seed: int,
        world: World | None = None,
    ) -> None:
        # convolutions run up to twice as fast on the CPU, and faster on a GPU, with channels last
        self.model = model.to(memory_format=torch.channels_last)
        self.recipe = recipe
        self.total_steps = total_steps
        self._world = world or World()
        self.low_rank = LowRank(model, layers=clip_layers(model), rank=recipe.lora, seed=seed) if recipe.lora else None
        self._objective = Objective(model, recipe)
        self.towers = Towers(
            model,
            self._objective,
            standardise=standardise,
            encode_texts=encode_texts,
            micro_batch=recipe.micro_batch,
            bf16=False,
            world=self._world,
        )
        self.optimiser = make_optimiser(model, recipe.rates)
        self._seed = seed
        self._generator = torch.Generator()
        self._trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self._average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self._start = [parameter.detach().clone() for parameter in self._trained] if recipe.l2sp else []
        self.step_count = 0

    def start_epoch(self, epoch: int) -> None:
        """Training mode and the epoch's own randomness, so that an epoch is the same whatever ran before it.

        Batch norms keep the base's statistics where a batch is too small for its own.
        """
        torch.manual_seed(1_000_003 * self._seed + epoch)
        self._generator.manual_seed(1_000_003 * self._seed + epoch)
        self.model.train()
        if self.recipe.batch_size < FEWEST_FOR_STATISTICS:
            for norm in batch_norms(self.model):
                norm.eval()

    def step(self, batch: Batch) -> float:
        """Show one batch and change the weights.

        Returns:
            The loss before the change.

        Raises:
            TrainingError: the loss is NaN or infinite.
        """
        warm_up_steps = max(1, round(self.recipe.warm_up * self.total_steps))  # the budget may have cut the steps
        share = cosine_share(self.step_count, self.total_steps, warm_up_steps, floor=self.recipe.rate_floor)
        set_rate(self.optimiser, share)
        share_of_batch = self._world.share(len(batch.group_B))
        views_BCHW = augment(batch.pixels_BCHW, self._generator, image_px=self.recipe.train_px, share=share_of_batch)
        positive_BB = positives(batch.group_B, batch.text_B, batch.group_B, batch.text_B).to(batch.tokens_MT.device)
        self.optimiser.zero_grad(set_to_none=True)
        value = self.towers.backward(views_BCHW, batch, positive_BB)
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss became {value} in step {self.step_count + 1}.",
                remedy="Run again with a lower --lr.",
            )
        nn.utils.clip_grad_norm_(self._trained, self.recipe.clip_norm)
        self.optimiser.step()
        self._pull_back(share)
        self._world.average_statistics(self.model)
        self.step_count += 1
        self._update_average()
        return value

    def averaged_weights(self) -> dict[str, Tensor]:
        """A copy of the running average under the plain model's names, batch-norm statistics included."""
        with self.averaged():
            if self.low_rank is not None:
                return self.low_rank.merged_state()
            return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def finish(self) -> None:
        """Leave the plain model, with low-rank updates merged and every parameter free to learn."""
        if self.low_rank is not None:
            self.low_rank.merge()
        self.model.requires_grad_(True)

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
            f"optimiser.{index}.{name}": tensor
            for index, slots in self.optimiser.state_dict()["state"].items()
            for name, tensor in slots.items()
        }
        return {
            **{f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"average.{name}": tensor for name, tensor in self._average.items()},
            **{f"objective.{name}": tensor for name, tensor in self._objective.state().items()},
            **moments,
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor], *, step_count: int, total_steps: int) -> None:
        """Go on where another process's trainer stood."""
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}, "objective": {}}
        for key, tensor in state.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        self.model.load_state_dict(parts["model"])
        for name, tensor in self._average.items():
            tensor.copy_(parts["average"][name])
        slots: dict[int, dict[str, Tensor]] = {}
        for key, tensor in parts["optimiser"].items():
            index, _, name = key.partition(".")
            parameter = self._trained[int(index)]
            if tensor.shape == parameter.shape:
                # the fused step walks parameter and moments in memory order, so they need the same one
                tensor = torch.empty_like(parameter).copy_(tensor)
            slots.setdefault(int(index), {})[name] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": slots})
        self._objective.restore(parts["objective"])
        self.step_count, self.total_steps = step_count, total_steps

    @torch.no_grad()
    def _swap_average(self) -> None:
        for name, tensor in self.model.state_dict().items():
            held = tensor.clone()
            tensor.copy_(self._average[name])
            self._average[name].copy_(held)

    @torch.no_grad()
    def _pull_back(self, share: float) -> None:
        """Weight decay towards the weights at the start in place of zero, of the same sum over a run of any length.

        Source: Li et al. 2018, Explicit inductive bias for transfer learning, arXiv:1802.01483 (L2-SP).
        """
        if self.recipe.l2sp:
            pull = min(2 * self.recipe.l2sp * share / self.total_steps, 1.0)
            torch._foreach_lerp_(self._trained, self._start, pull)

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
