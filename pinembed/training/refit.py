"""Once validation has chosen, its images teach too.

In a catalogue of some hundred images those of validation are a fifth or more of what could be learned from. The epoch,
the rate and the share of the base are chosen without them, as scikit-learn's searches refit their choice on all data:
training goes on for a while with all images, and the towers' last layers go half of the way to what fits these images
best as `encode` will see them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.encoder.towers import encode_texts
from pinembed.errors import TrainingError
from pinembed.nouns.progress import Progress
from pinembed.reports.finetune import RefitReport
from pinembed.training.datasets import Learnable
from pinembed.training.epochs import TrainedRun
from pinembed.training.evaluator import Interpolation, interpolated
from pinembed.training.loader import BatchLoader
from pinembed.training.projections import fitted_projections
from pinembed.training.recipe import Recipe
from pinembed.training.trainer import Trainer
from pinembed.training.world import World

EPOCHS_SHARE, FEWEST_EPOCHS = 0.25, 2
"""Of the epochs that were chosen. Twice as many, or all of them anew, gave no more (docs/experiments/finetune.md)."""
RATE_SHARE = 0.3
"""Of the peak rate, which is where the decay of the run ends."""
AVERAGE = 0.5
PROJECTIONS_SHARE = 0.5
"""Of the way to projections fitted anew. They fit features that training has seen; half of the way is as good or better
than all of it, and loses less where items are unlike those that were seen (docs/experiments/finetune.md)."""


def minutes_of_epochs(minutes: float | None, recipe: Recipe) -> float | None:
    """What a run's time leaves to the epochs that validation chooses from."""
    return None if minutes is None else minutes / (1 + EPOCHS_SHARE if recipe.refits else 1)


@dataclass(frozen=True, kw_only=True)
class Refit:
    """Weights that validation's images have taught too."""

    weights: dict[str, Tensor]
    report: RefitReport


class Refitter:
    """Teaches an encoder with training's and validation's images.

    Args:
        encoder: its model is changed in place.
        recipe: of the run.
        images: of both splits.
        captioner: phrases the texts of each step anew.
        seed: of the batches.
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: Recipe,
        images: Learnable,
        *,
        captioner: Captioner,
        seed: int,
        progress: Progress,
    ) -> None:
        self._encoder = encoder
        self._recipe = recipe
        self._images = images
        self._captioner = captioner
        self._seed = seed
        self._progress = progress

    def train_on(self, run: TrainedRun, world: World) -> dict[str, Tensor] | None:
        """Tuned weights that go on from those of the best epoch; None where there are none, or the loss is lost.

        All processes step together.
        """
        if not self._recipe.refits or not run.best_epoch:
            return None
        self._encoder.model.load_state_dict(run.best_weights)
        trainer = self._trainer(run, world)
        try:
            self._train(trainer, run, world)
            weights = trainer.averaged_weights()
        except TrainingError as error:
            self._progress.say(f"training with validation's images is left out: {error.message}")
            return None
        finally:
            trainer.finish()
        if all(torch.isfinite(tensor).all() for tensor in weights.values() if tensor.is_floating_point()):
            return weights
        self._progress.say("training with validation's images is left out: its weights are not finite")
        return None

    def finish(self, run: TrainedRun, chosen: Interpolation, tuned: dict[str, Tensor] | None) -> Refit | None:
        """The interpolation that was chosen, of the weights that went on; None where nothing tuned was chosen.

        Their projections go PROJECTIONS_SHARE of the way to those that fit all images.
        """
        if tuned is None or not chosen.epoch:
            return None
        weights = interpolated(run.base_weights, tuned, chosen.alpha)
        if self._recipe.heads and not self._recipe.matryoshka:  # they would fit all floats together
            self._encoder.model.load_state_dict(weights)
            fitted = fitted_projections(
                self._encoder, self._images, self._captioner, seed=self._seed, progress=self._progress
            )
            weights |= {name: torch.lerp(weights[name], fitted[name], PROJECTIONS_SHARE) for name in fitted}
        report = RefitReport(images=len(self._images.pixels), epochs=refit_epochs(run))
        return Refit(weights=weights, report=report)

    def _trainer(self, run: TrainedRun, world: World) -> Trainer:
        gentler = self._recipe.gentler(run.restarts)
        rates = replace(gentler.rates, image=RATE_SHARE * gentler.rates.image, text=RATE_SHARE * gentler.rates.text)
        trainer = Trainer(
            self._encoder.model,
            replace(gentler, rates=rates, average=AVERAGE),
            total_steps=refit_epochs(run) * self._steps_per_epoch,
            standardise=self._encoder.standardise,
            encode_texts=encode_texts,
            seed=self._seed,
            world=world,
        )
        trainer.towers.micro_batch, trainer.towers.bf16 = run.micro_batch, run.bf16
        return trainer

    @property
    def _steps_per_epoch(self) -> int:
        return max(1, round(len(self._images.pixels) / self._recipe.batch_size))

    def _train(self, trainer: Trainer, run: TrainedRun, world: World) -> None:
        loader = BatchLoader(self._encoder, self._recipe, self._images, self._captioner, world)
        for number in range(1, refit_epochs(run) + 1):
            self._progress.start(f"refit, epoch {number}", len(self._images.pixels), "img")
            trainer.start_epoch(run.last_epoch + number)
            for batch in loader.epoch(np.random.default_rng((self._seed, run.last_epoch + number))):
                if trainer.step_count < trainer.total_steps:
                    self._progress.advance(len(batch.group_B), f"loss {trainer.step(batch):.3f}")
            self._progress.finish()


def refit_epochs(run: TrainedRun) -> int:
    """Over all images, after so many that led to the best weights."""
    return max(FEWEST_EPOCHS, round(EPOCHS_SHARE * run.epochs_of_best))
