"""The training loop: base, linear warm start, then epochs of steps with validation after each, cut to a time budget."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from torch import Tensor

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.encoder.towers import encode_texts
from pinembed.errors import NonFiniteEmbeddingError, TrainingError
from pinembed.metrics.intervals import are_few_groups, mean_map_error
from pinembed.metrics.probes import EffectiveRank
from pinembed.metrics.split_metrics import SplitScores
from pinembed.nouns.progress import Progress
from pinembed.reports.finetune import EpochRecord
from pinembed.training.checkpoint import BEST, Checkpoint, Course, RunState, run_state
from pinembed.training.datasets import SplitDataset
from pinembed.training.duration import FORGETTING, Budget, has_flattened, has_forgotten
from pinembed.training.evaluator import BatchNormRecalibration, Evaluator, epoch_record, shown_figures
from pinembed.training.loader import BatchLoader
from pinembed.training.projections import fitted_projections
from pinembed.training.recipe import Recipe
from pinembed.training.trainer import Trainer, choose_bf16
from pinembed.training.world import World

SENTINEL_SHARE = 0.5
"""Training that loses this much of the base's validation mAP has gone wrong and will not come back."""


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """Result of the loop.

    Attributes:
        projections: validation figures of the base with fitted projections; None where they were not fitted.
        projections_scores: the same, query by query.
        begins_fitted: training began with fitted projections, as validation finds them better than the base's.
        best_weights: of the course's best epoch.
        state: as it stands; with tensors where a second training was interrupted, whose state it is then.
        started_s: when the run began, by the monotonic clock, as if it had never been interrupted.
    """

    course: Course
    base_scores: SplitScores
    base_weights: dict[str, Tensor]
    projections: EpochRecord | None
    projections_scores: SplitScores | None
    projections_weights: dict[str, Tensor]
    begins_fitted: bool
    best_weights: dict[str, Tensor]
    state: RunState
    started_s: float


class Epochs:
    """One run over the training split.

    Each epoch validates the running average of the weights, not the weights themselves: the average is what is kept.
    The state goes to disk after validation, so a killed run repeats at most one epoch, or half a minute of shorter
    ones, and ends with the same weights.
    All processes step together; the first one alone validates and writes, and tells the others what it found.

    Args:
        encoder: the base; its model is changed in place.
        recalibration: of batch norms, before each validation.
        captioner: phrases the texts of each step anew.
        checkpoint: where the state is kept between epochs.
        minutes: time for steps and validation; the number of steps is cut to it.
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: Recipe,
        train: SplitDataset,
        evaluator: Evaluator,
        recalibration: BatchNormRecalibration,
        *,
        captioner: Captioner,
        checkpoint: Checkpoint,
        seed: int,
        minutes: float | None,
        world: World,
        progress: Progress,
    ) -> None:
        self._encoder = encoder
        self._recipe = recipe
        self._train = train
        self._evaluator = evaluator
        self._recalibration = recalibration
        self._captioner = captioner
        self._checkpoint = checkpoint
        self._seed = seed
        self._progress = progress
        self._steps_per_epoch = recipe.steps_per_epoch(len(train.pixels))
        self._minutes = minutes
        self._base_weights = {name: tensor.clone() for name, tensor in encoder.model.state_dict().items()}
        self._projections_weights = self._start_weights = self._base_weights
        self._loader = BatchLoader(encoder, recipe, train, captioner, world)
        self._world = world
        self._trainer: Trainer
        self._course = Course()
        self._best_weights = self._base_weights
        self._started_s = time.monotonic()
        self._kept_epoch = 0
        self._patience = recipe.patience
        self._validation_s = 0.0

    def run(self) -> TrainedRun:
        """Measure the base, fit the projections, and train; go on from the checkpoint where there is one."""
        self._started_s = time.monotonic()
        base_scores, base_rank = self._measure("measuring the base")
        self._validation_s = time.monotonic() - self._started_s
        self._course.records = [self._show(epoch_record(0, base_scores, seconds=self._validation_s))]
        # after each epoch, the images that recalibrate batch norms come on top
        self._validation_s *= 1 + self._recalibration.images / self._evaluator.images
        projections, projections_scores = self._warm_start(base_scores) if self._recipe.heads else (None, None)
        start_scores = base_scores
        begins_fitted = projections_scores is not None and projections_scores.mean_map > base_scores.mean_map
        if projections_scores is not None and begins_fitted:
            start_scores, self._start_weights = projections_scores, self._projections_weights
        self._encoder.model.load_state_dict(self._start_weights)
        if are_few_groups(base_scores):
            self._patience = None
        state = self._world.broadcast(self._checkpoint.load() if self._world.is_first else None)
        if state is not None:
            self._take_up(state)
        if state is None or not state.second:
            state = self._trained(state, base_rank, start_scores)
        return TrainedRun(
            course=self._course,
            base_scores=base_scores,
            base_weights=self._base_weights,
            projections=projections,
            projections_scores=projections_scores,
            projections_weights=self._projections_weights,
            begins_fitted=begins_fitted,
            best_weights=self._best_weights,
            state=state,
            started_s=self._started_s,
        )

    def _trained(self, state: RunState | None, base_rank: EffectiveRank, start_scores: SplitScores) -> RunState:
        """All epochs, or those that a state left over; what it comes to, without the tensors."""
        self._start_trainer(state)
        course = self._course
        while self._trainer.step_count < self._trainer.total_steps and course.stopped is None and not self._is_flat():
            try:
                self._one_epoch(len(course.records), base_rank)
            except (TrainingError, NonFiniteEmbeddingError) as error:
                course.stopped = error.message
            self._restart_if_it_forgets(start_scores)
            if self._checkpoint.is_due:
                self._keep_state()
        self._keep_state()
        self._trainer.finish()
        if course.stopped is not None:
            self._progress.say(f"training ended early: {course.stopped}")
        return replace(self._state(), tensors={})

    def _keep_state(self) -> None:
        """Write the state where an epoch was trained since it was last written."""
        if self._world.is_first and self._kept_epoch != len(self._course.records):
            self._checkpoint.save(self._state())
            self._kept_epoch = len(self._course.records)

    def _is_flat(self) -> bool:
        """Further epochs of the plan would bring nothing that validation can see."""
        measured = [record.mean_map for record in self._course.records[1:]]
        if self._patience is None or not has_flattened(measured, self._patience):
            return False
        self._progress.say(f"no gain on validation in {self._patience} epochs; training ends")
        return True

    def _warm_start(self, base_scores: SplitScores) -> tuple[EpochRecord | None, SplitScores | None]:
        """Linear warm start: training begins with the fitted projections where they validate better than the base's."""
        started_s = time.monotonic()
        fitted = fitted_projections(
            self._encoder, self._train, self._captioner, seed=self._seed, progress=self._progress
        )
        if not fitted:
            self._progress.say("the towers do not end in linear layers that could be fitted first")
            return None, None
        self._projections_weights = {**self._base_weights, **fitted}
        self._encoder.model.load_state_dict(self._projections_weights)
        try:
            scores, _ = self._measure("measuring the fitted projections")
        except NonFiniteEmbeddingError as error:
            self._progress.say(f"the fitted projections are left out: {error.message}")
            self._encoder.model.load_state_dict(self._base_weights)
            return None, None
        record = epoch_record(0, scores, seconds=time.monotonic() - started_s)
        self._progress.say(f"fitted projections, {record.seconds:.0f} s: {shown_figures(record)}")
        return record, scores

    def _restart_if_it_forgets(self, start: SplitScores) -> None:
        """Begin anew at a lower rate where training loses what it began with, and enough epochs are left."""
        course = self._course
        since = [record.mean_map for record in course.records[1 + course.restarted_after :]]
        lost = has_forgotten(since, start.mean_map, error=mean_map_error(start))
        epochs_left = self._recipe.epochs - (len(course.records) - 1)
        if not (lost or course.stopped) or course.restarts == self._recipe.restarts or epochs_left < FORGETTING:
            return
        course.restarts, course.restarted_after = course.restarts + 1, len(course.records) - 1
        rate = self._recipe.gentler(course.restarts).rates.image
        why = course.stopped or "validation stays below what training began with."
        self._progress.say(f"{why} Training begins anew at a rate of {rate:.1e}")
        course.stopped = None
        self._trainer.finish()
        self._encoder.model.load_state_dict(self._start_weights)
        micro_batch, bf16 = self._trainer.towers.micro_batch, self._trainer.towers.bf16
        self._make_trainer()
        self._trainer.towers.micro_batch, self._trainer.towers.bf16 = micro_batch, bf16

    def _make_trainer(self) -> None:
        epochs = self._recipe.epochs - self._course.restarted_after
        self._trainer = Trainer(
            self._encoder.model,
            self._recipe.gentler(self._course.restarts),
            total_steps=epochs * self._steps_per_epoch,
            standardise=self._encoder.standardise,
            encode_texts=encode_texts,
            seed=self._seed,
            world=self._world,
        )
        self._budget = Budget(
            self._minutes,
            epochs=epochs,
            steps_per_epoch=self._steps_per_epoch,
            trained_s=self._course.training_s,
            world=self._world,
            progress=self._progress,
        )

    def _start_trainer(self, state: RunState | None) -> None:
        """One trainer of its own, or one that goes on from a state: making it may put layers in the model."""
        self._make_trainer()
        if state is not None:
            state.restore(self._trainer)
            return
        self._trainer.towers.bf16 = self._world.broadcast(
            choose_bf16(self._trainer, self._loader, self._recipe.precision, self._progress)
        )

    def _measure(self, stage: str) -> tuple[SplitScores, EffectiveRank]:
        """Validation by the first process, broadcast to all."""
        found: tuple[SplitScores, EffectiveRank] | NonFiniteEmbeddingError | None = None
        if self._world.is_first:
            try:
                found = self._evaluator.measure(stage)
            except NonFiniteEmbeddingError as error:
                found = error
        found = self._world.broadcast(found)
        if isinstance(found, NonFiniteEmbeddingError):
            raise found
        return cast("tuple[SplitScores, EffectiveRank]", found)

    def _one_epoch(self, epoch: int, base_rank: EffectiveRank) -> None:
        loss = self._train_epoch(epoch)
        with self._trainer.average.swapped_in():
            if self._world.is_first:
                self._recalibration.recalibrate_quickly()
            scores, effective_rank = self._measure(f"measuring epoch {epoch}")
        record = self._show(epoch_record(epoch, scores, loss=loss, seconds=time.monotonic() - self._started_s))
        self._course.records.append(record)
        self._course.stopped = self._gone_wrong(record, effective_rank, base_rank)
        if self._course.stopped is not None:
            return
        highest = max(trained.mean_map for trained in self._course.records[1:])
        if record.mean_map >= highest - mean_map_error(scores):
            # as good as any, as far as validation can tell; the later epoch has the lower rate and the longer average
            self._course.best_epoch, self._best_weights = epoch, self._trainer.averaged_weights()

    def _gone_wrong(self, record: EpochRecord, rank: EffectiveRank, base_rank: EffectiveRank) -> str | None:
        """Why no further epoch should run; an epoch that has gone wrong is never the best one."""
        if rank.has_collapsed(base_rank):
            return f"the embeddings collapsed in epoch {record.epoch}: {rank}, the base's {base_rank}."
        if record.mean_map < SENTINEL_SHARE * self._course.records[0].mean_map:
            return (
                f"validation mAP fell to {record.mean_map:.3f} in epoch {record.epoch}, from the base's "
                f"{self._course.records[0].mean_map:.3f}."
            )
        return None

    def _train_epoch(self, epoch: int) -> float:
        recall = self._course.records[-1].text_to_image_recall_at_1
        self._progress.start(f"epoch {epoch}", len(self._train.pixels), "img")
        losses: list[float] = []
        for step in self._trainer.epoch(self._loader, epoch):
            losses.append(step.loss)
            self._course.count(step)
            note = f"loss {step.loss:.3f}" + (f", recall@1 {recall:.3f}" if recall is not None else "")
            self._progress.advance(step.images, note)
            self._trainer.total_steps = self._budget.fitted(
                self._trainer.total_steps,
                done=self._trainer.step_count,
                training_s=self._course.training_s,
                validation_s=self._validation_s,
                started_s=self._started_s,
            )
        self._progress.finish()
        self._course.losses += losses
        return float(np.mean(losses))

    def _show(self, record: EpochRecord) -> EpochRecord:
        name = "base" if record.epoch == 0 else f"epoch {record.epoch}"
        loss = "" if record.loss is None else f"loss {record.loss:.3f}, "
        self._progress.say(f"{name}: {loss}{shown_figures(record)}")
        return record

    def _state(self) -> RunState:
        elapsed_s = time.monotonic() - self._started_s
        return run_state(self._course, self._trainer, self._best_weights, elapsed_s=elapsed_s)

    def _take_up(self, state: RunState) -> None:
        self._course = state.course
        self._started_s = time.monotonic() - state.elapsed_s
        self._best_weights = state.under(BEST)
        self._kept_epoch = len(self._course.records)
        self._progress.say(f"going on after epoch {len(self._course.records) - 1} of the run that was interrupted")
