"""One step of contrastive tuning, the running average of the weights, and the choice between float32 and bfloat16."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pinembed.errors import TrainingError
from pinembed.metrics.relevance import positives
from pinembed.nouns.progress import Progress
from pinembed.training.average import WeightAverage, lean
from pinembed.training.loader import BatchLoader, augment
from pinembed.training.losses import Batch, Objective, Towers
from pinembed.training.low_rank import LowRank, clip_layers
from pinembed.training.optimiser import (
    IMAGE_PREFIX,
    batch_norms,
    cosine_share,
    make_optimiser,
    set_rate,
)
from pinembed.training.recipe import AUTO, BF16, Recipe
from pinembed.training.token_rows import TokenRows, token_rows
from pinembed.training.world import World


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a step showed and cost, its batch's making included."""

    loss: float
    images: int
    seconds: float


class Trainer:
    """A model in training.

    Attributes:
        low_rank: the updates that learn in place of the weights; None where the weights learn.
        average: of the weights, which is what validation sees.
        total_steps: of the run; the rate reaches zero there.

    Args:
        standardise: pixels 0..255 to the image tower's input.
        encode_texts: a model and the tokens of texts to their features, with gradients.
        seed: of augmentation and dropout.
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
        self._rows = token_rows(model)
        self._objective = Objective(model, recipe)
        self.towers = Towers(
            model,
            self._objective,
            standardise=standardise,
            encode_texts=encode_texts,
            learning=lambda: self._trained,
            micro_batch=recipe.micro_batch,
            world=self._world,
        )
        instead = {} if self._rows is None else {self._rows.name: self._rows.rows_SW}
        self.optimiser = make_optimiser(model, recipe.rates, instead)
        self._seed = seed
        self._generator = torch.Generator()
        self._trained = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        self.average = WeightAverage(model.state_dict)
        self._start = [parameter.detach().clone() for parameter in self._trained] if recipe.l2sp else []
        self.step_count = 0

    def epoch(self, loader: BatchLoader, epoch: int) -> Iterator[Step]:
        """Show each image once; the run's last epoch ends with its last step.

        Raises:
            TrainingError: the loss of a step is NaN or infinite.
        """
        self.start_epoch(epoch)
        started_s = time.monotonic()
        for batch in loader.epoch(np.random.default_rng((self._seed, epoch))):
            if self.step_count >= self.total_steps:
                return
            loss = self.step(batch)
            yield Step(loss=loss, images=len(batch.group_B), seconds=time.monotonic() - started_s)
            started_s = time.monotonic()

    def start_epoch(self, epoch: int) -> None:
        """Training mode and the epoch's own randomness, so that an epoch is the same whatever ran before it."""
        torch.manual_seed(1_000_003 * self._seed + epoch)
        self._generator.manual_seed(1_000_003 * self._seed + epoch)
        self.model.train()
        if self.recipe.keeps_statistics:
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
        side_px = self.recipe.side_px(self.step_count / self.total_steps)
        views_BCHW = augment(batch.pixels_BCHW, self._generator, image_px=side_px, share=share_of_batch)
        positive_BB = positives(batch.group_B, batch.text_B, batch.group_B, batch.text_B).to(batch.tokens_MT.device)
        self.optimiser.zero_grad(set_to_none=True)
        if self._rows is not None and len(unmet := self._rows.unmet(batch.tokens_MT)):
            self._meet(self._rows, unmet)
        value = self.towers.backward(views_BCHW, batch, positive_BB)
        if not math.isfinite(value):
            raise TrainingError(
                f"The loss became {value} in step {self.step_count + 1}.",
                remedy="Run again with a lower --lr.",
            )
        nn.utils.clip_grad_norm_(self._trained, self.recipe.clip_norm)
        self.optimiser.step()
        self._pull_back(share)
        if self._rows is not None:
            self._rows.write_back()
        self._world.average_statistics(self.model)
        self.step_count += 1
        self._update_average()
        return value

    def averaged_weights(self) -> dict[str, Tensor]:
        """A copy of the running average under the plain model's names, batch-norm statistics included."""
        with self.average.swapped_in():
            if self.low_rank is not None:
                return self.low_rank.merged_state()
            return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def finish(self) -> None:
        """Leave the plain model, with low-rank updates merged and every parameter free to learn."""
        if self._rows is not None:
            self._rows.close()
        if self.low_rank is not None:
            self.low_rank.merge()
        self.model.requires_grad_(True)

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on besides `step_count` and `total_steps`."""
        moments = {
            f"optimiser.{index}.{name}": tensor
            for index, slots in self.optimiser.state_dict()["state"].items()
            for name, tensor in slots.items()
        }
        return {
            **{f"model.{name}": tensor for name, tensor in self.model.state_dict().items()},
            **{f"average.{name}": tensor for name, tensor in self.average.weights.items()},
            **{f"objective.{name}": tensor for name, tensor in self._objective.state().items()},
            **({} if self._rows is None else {"tokens.met": self._rows.token_S}),
            **moments,
        }

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor], *, step_count: int, total_steps: int) -> None:
        """Go on where another process's trainer stood."""
        parts: dict[str, dict[str, Tensor]] = {
            part: {} for part in ("model", "average", "optimiser", "objective", "tokens")
        }
        for key, tensor in state.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        self.model.load_state_dict(parts["model"])
        self.average.load(parts["average"])
        if self._rows is not None:
            self._meet(self._rows, parts["tokens"]["met"].to(self._rows.token_S.device))
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
    def _meet(self, rows: TokenRows, tokens: Tensor) -> None:
        """Tokens learn from here on, as if their gradient had been zero until now."""
        before, after = rows.rows_SW, rows.meet(tokens)
        added_SW = after.detach()[len(before) :].clone()
        place = next(index for index, parameter in enumerate(self._trained) if parameter is before)
        self._trained[place] = after
        if self._start:
            self._start[place] = torch.cat([self._start[place], added_SW])
        for group in self.optimiser.param_groups:
            group["params"] = [after if parameter is before else parameter for parameter in group["params"]]
        if moments := self.optimiser.state.pop(before, None):
            nothing_SW = torch.zeros_like(added_SW)
            self.optimiser.state[after] = {
                name: torch.cat([moment, nothing_SW]) if moment.ndim else moment for name, moment in moments.items()
            }

    @torch.no_grad()
    def _pull_back(self, share: float) -> None:
        """Weight decay towards the weights at the start in place of zero, of the same sum over a run of any length.

        Source: Li et al. 2018, Explicit inductive bias for transfer learning, arXiv:1802.01483 (L2-SP).
        """
        if self.recipe.l2sp:
            pull = min(2 * self.recipe.l2sp * share / self.total_steps, 1.0)
            torch._foreach_lerp_(self._trained, self._start, pull)

    def _update_average(self) -> None:
        moved = lean(self.step_count, self.total_steps, self.recipe.average)
        if self._rows is None:
            self.average.update(moved)
            return
        self.average.update(moved, without={self._rows.name})
        self._rows.average(self.average.weights[self._rows.name], moved)


FEWEST_PARAMETERS = 10_000_000
"""Smaller image towers have nothing to win on a CPU; noise of the measurement would decide about their weights."""
MEASURED_S = 2.0
WANTED_GAIN = 1.3
"""Below it, noise of the measurement would decide about the weights."""


def is_native(device: torch.device) -> bool:
    """The device has bfloat16 instructions."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return device.type == "cpu" and has_instructions


def is_worth_measuring(model: nn.Module) -> bool:
    """The image tower is large enough for the choice to matter."""
    parameters = (parameter for name, parameter in model.named_parameters() if name.startswith(IMAGE_PREFIX))
    return sum(parameter.numel() for parameter in parameters) >= FEWEST_PARAMETERS


def measure_gain(model: nn.Module, towers: Towers, views_BCHW: Tensor, tokens_MT: Tensor) -> float:
    """How many times faster forward and backward are in bfloat16 than in float32.

    The model is as before, without gradients.
    """
    was_training, was_bf16 = model.training, towers.bf16
    model.eval()  # running statistics stay
    try:
        fastest_s = {False: math.inf, True: math.inf}
        _once(model, towers, views_BCHW, tokens_MT)  # the first time is slower
        started_s = time.monotonic()
        while math.isinf(fastest_s[True]) or time.monotonic() - started_s < MEASURED_S:
            for towers.bf16 in (False, True):
                round_s = time.monotonic()
                _once(model, towers, views_BCHW, tokens_MT)
                fastest_s[towers.bf16] = min(fastest_s[towers.bf16], time.monotonic() - round_s)
        return fastest_s[False] / fastest_s[True]
    finally:
        towers.bf16 = was_bf16
        model.train(was_training)


def _once(model: nn.Module, towers: Towers, views_BCHW: Tensor, tokens_MT: Tensor) -> None:
    (towers.embed_images(views_BCHW).sum() + towers.embed_texts(tokens_MT).sum()).backward()  # type: ignore[no-untyped-call]
    model.zero_grad(set_to_none=True)


def choose_bf16(trainer: Trainer, loader: BatchLoader, precision: str, progress: Progress) -> bool:
    """The recipe's choice; for `auto`, bfloat16 on a GPU that has it, and on a CPU that is clearly faster with it."""
    device = next(trainer.model.parameters()).device
    if precision != AUTO or not is_native(device):
        return precision == BF16
    if device.type == "cuda":
        return True
    if not is_worth_measuring(trainer.model):
        return False
    batch = next(loader.epoch(np.random.default_rng(0)))
    rows = trainer.towers.micro_batch or len(batch.pixels_BCHW)
    views_BCHW = augment(batch.pixels_BCHW[:rows], torch.Generator(), image_px=trainer.recipe.train_px)
    gain = measure_gain(trainer.model, trainer.towers, views_BCHW, batch.tokens_MT[:rows])
    chosen = "bfloat16" if gain >= WANTED_GAIN else "float32"
    progress.say(f"bfloat16 is {gain:.2f} times as fast as float32 here; training in {chosen}")
    return gain >= WANTED_GAIN
