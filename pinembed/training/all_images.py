"""What training's and validation's images teach together once validation has chosen: a second training, and a refit.

The second training does what the first did up to the chosen epoch, with other batches, phrasings and views, and on
validation's images too. Trainings from one start end in one valley of the loss, where the mean of their weights is
better than either; rate, epochs and share of the base stay those that were chosen by images that had taught nothing.
Source: Wortsman et al. 2022, Model soups, arXiv:2203.05482.
"""

from __future__ import annotations

import time
from functools import cached_property

import torch
from torch import Tensor

from pinembed.encoder.encoder import Encoder
from pinembed.encoder.towers import encode_texts
from pinembed.errors import TrainingError
from pinembed.nouns.progress import Progress
from pinembed.training.checkpoint import Checkpoint, run_state
from pinembed.training.datasets import DatasetSplits, JoinedSplits, SplitDataset, joined
from pinembed.training.epochs import TrainedRun
from pinembed.training.evaluator import Interpolation, interpolated
from pinembed.training.loader import BatchLoader
from pinembed.training.projections import fitted_projections, refit
from pinembed.training.recipe import Recipe
from pinembed.training.trainer import Trainer
from pinembed.training.world import World


class AllImages:
    """Training's and validation's images, and the run on training's that validation chose from.

    Args:
        encoder: the base's; its model is changed in place.
        recipe: of the run.
        train: what the run was on.
        val: what chose.
        run: on training's images alone.
        texts: phrase the texts of each step anew.
        checkpoint: where the state is kept between epochs of the second training.
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: Recipe,
        train: SplitDataset,
        val: SplitDataset,
        run: TrainedRun,
        *,
        texts: DatasetSplits,
        checkpoint: Checkpoint,
        seed: int,
        world: World,
        progress: Progress,
    ) -> None:
        self._encoder = encoder
        self._recipe = recipe
        self._train = train
        self._val = val
        self._run = run
        self._texts = texts
        self._checkpoint = checkpoint
        self._seed = seed
        self._world = world
        self._progress = progress
        # from the start of the training that was kept to its chosen epoch
        self._epochs = max(0, run.course.best_epoch - run.course.restarted_after)

    def __len__(self) -> int:
        return len(self._images.pixels)

    @cached_property
    def _images(self) -> JoinedSplits:
        return joined([self._train, self._val], self._texts.captioner, group=self._texts.group)

    def are_worth_a_training(self, minutes: float | None) -> bool:
        """Whether the recipe wants a second one, there is one to repeat, and it ends within the minutes of the run."""
        course = self._run.course
        if not self._recipe.trains_again or course.stopped is not None or not self._epochs:
            return False
        if minutes is None or self._run.state.second:
            return True
        needed_s = self._epochs * len(self) * course.training_s / max(course.shown, 1)
        return time.monotonic() - self._run.started_s + needed_s <= 60 * minutes

    def taught(self, chosen: Interpolation, averaged: dict[str, Tensor] | None) -> tuple[dict[str, Tensor], int | None]:
        """The chosen weights, taught by all images, and to how many of them projections were fitted.

        Args:
            chosen: by validation.
            averaged: the mean of two trainings, in place of the first alone.
        """
        weights = chosen.weights
        if averaged is not None:
            weights = interpolated(self._run.base_weights, averaged, chosen.alpha)
        if not self._recipe.refits or chosen.alpha == 0:
            return weights, None
        refitted = refit(
            self._encoder,
            weights,
            self._images,
            captioner=self._texts.captioner,
            seed=self._seed,
            progress=self._progress,
        )
        return (weights, None) if refitted is None else (refitted, len(self))

    def averaged(self) -> dict[str, Tensor] | None:
        """The mean of the weights of the run and of a second training; None where that goes wrong.

        Its state goes to disk between epochs as the run's does, and all processes of a world step together.
        """
        self._progress.say(
            f"training a second time, on all {len(self):,} images of training and validation, for {self._epochs} "
            "epoch(s); the mean of both is kept"
        )
        trainer = self._trainer()
        try:
            weights = self._trained(trainer)
        except TrainingError as error:
            self._progress.say(f"the second training is left out: {error.message}")
            return None
        finally:
            trainer.finish()
        if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
            self._progress.say("the second training is left out: its weights are not finite")
            return None
        return interpolated(self._run.best_weights, weights, 0.5)

    def _trained(self, trainer: Trainer) -> dict[str, Tensor]:
        course = self._run.course
        loader = BatchLoader(self._encoder, self._recipe, self._images, self._texts.captioner, self._world)
        steps_per_epoch = self._recipe.steps_per_epoch(len(self))
        while trainer.step_count < self._epochs * steps_per_epoch:
            epoch = trainer.step_count // steps_per_epoch + 1
            self._progress.start(f"second training, epoch {epoch} of {self._epochs}", len(self), "img")
            for step in trainer.epoch(loader, len(course.records) - 1 + epoch):
                course.count(step)
                self._progress.advance(step.images, f"loss {step.loss:.3f}")
            self._progress.finish()
            if self._checkpoint.is_due and self._world.is_first:
                elapsed_s = time.monotonic() - self._run.started_s
                state = run_state(course, trainer, self._run.best_weights, elapsed_s=elapsed_s, second=True)
                self._checkpoint.save(state)
        return trainer.averaged_weights()

    def _trainer(self) -> Trainer:
        """At the start of the first training, with projections fitted to all images, or where a state left off."""
        model, state = self._encoder.model, self._run.state
        model.load_state_dict(self._run.base_weights)
        if self._run.begins_fitted and not state.second:
            fitted = fitted_projections(
                self._encoder, self._images, self._texts.captioner, seed=self._seed, progress=self._progress
            )
            model.load_state_dict({**self._run.base_weights, **fitted})
        steps_per_epoch = self._recipe.steps_per_epoch(len(self))
        planned_epochs = self._run.state.total_steps / self._recipe.steps_per_epoch(len(self._train.pixels))
        trainer = Trainer(
            model,
            self._recipe.gentler(self._run.course.restarts),
            total_steps=max(self._epochs * steps_per_epoch, round(planned_epochs * steps_per_epoch)),
            standardise=self._encoder.standardise,
            encode_texts=encode_texts,
            seed=self._seed,
            world=self._world,
        )
        if state.second:
            state.restore(trainer)
        else:
            trainer.towers.micro_batch, trainer.towers.bf16 = state.micro_batch, state.bf16
        return trainer
