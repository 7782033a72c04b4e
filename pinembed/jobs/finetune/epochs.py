"""The loop: epochs of steps, validation after each, the best weights kept.

Shape legend: N images, B batch, T context length, D embedding floats.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.jobs.finetune.examples import Examples
from pinembed.metrics.split import SplitEmbeddings, SplitScores, measure_split
from pinembed.nouns.finetune_report import EpochRecord
from pinembed.nouns.progress import Progress
from pinembed.training.batches import epoch_batches
from pinembed.training.recipe import Recipe
from pinembed.training.trainer import Trainer

EVALUATION_BATCH = 64
TIMED_STEPS = 5


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """What the loop leaves.

    Attributes:
        records: validation figures, the base first.
        losses: of every step.
        best_epoch: whose weights these are; 0 is the base.
        weights: a state dict on the CPU.
        training_s: time in steps, without validation.
        shown: images that the steps saw.
    """

    records: tuple[EpochRecord, ...]
    losses: tuple[float, ...]
    best_epoch: int
    weights: dict[str, Tensor]
    training_s: float
    shown: int


class Epochs:
    """One run over the training split.

    Args:
        encoder: the base; its model is changed in place.
        recipe: settings of the run.
        train: what it learns from.
        val: what chooses the best weights.
        captioner: phrases the texts of each step anew.
        seed: of everything random.
        minutes: time for steps and validation; the number of steps is cut to it.
        progress: who watches.
    """

    def __init__(
        self,
        encoder: Encoder,
        recipe: Recipe,
        train: Examples,
        val: Examples,
        *,
        captioner: Captioner,
        seed: int,
        minutes: float | None,
        progress: Progress,
    ) -> None:
        self._encoder = encoder
        self._recipe = recipe
        self._train = train
        self._val = val
        self._captioner = captioner
        self._seed = seed
        self._budget_s = None if minutes is None else 60 * minutes
        self._progress = progress
        self._steps_per_epoch = max(1, round(len(train.pixels) / recipe.batch_size))
        self._trainer = Trainer(
            encoder.model,
            recipe,
            total_steps=recipe.epochs * self._steps_per_epoch,
            standardise=encoder.standardise,
            seed=seed,
        )
        self._losses: list[float] = []
        self._training_s = 0.0
        self._shown = 0
        self._started_s = time.monotonic()
        self._validation_s = 0.0

    def run(self) -> TrainedRun:
        """Measure the base, train, and keep the best weights by the mean of mAP over the directions.

        Raises:
            TrainingError: the loss is not a number any more.
        """
        torch.manual_seed(self._seed)
        self._started_s = time.monotonic()
        records = [self._record(0, None)]
        self._validation_s = time.monotonic() - self._started_s
        best_epoch, best_weights = 0, self._trainer.averaged_weights()
        current = {name: tensor.clone() for name, tensor in self._encoder.model.state_dict().items()}
        while self._trainer.step_count < self._trainer.total_steps:
            epoch = len(records)
            loss = self._train_epoch(epoch, records)
            current = {name: tensor.clone() for name, tensor in self._encoder.model.state_dict().items()}
            averaged = self._trainer.averaged_weights()
            self._encoder.model.load_state_dict(averaged)
            records.append(self._record(epoch, loss))
            if records[-1].mean_map > records[best_epoch].mean_map:
                best_epoch, best_weights = epoch, averaged
            self._encoder.model.load_state_dict(current)
        return TrainedRun(
            records=tuple(records),
            losses=tuple(self._losses),
            best_epoch=best_epoch,
            weights=best_weights,
            training_s=self._training_s,
            shown=self._shown,
        )

    def _train_epoch(self, epoch: int, records: list[EpochRecord]) -> float:
        rng = np.random.default_rng((self._seed, epoch))
        labelled = self._train.labelled
        batches = epoch_batches(
            labelled.group_of_N.tolist(), batch_size=self._recipe.batch_size, views=self._recipe.views, rng=rng
        )
        recall = records[-1].text_to_image_recall_at_1
        self._progress.start(f"epoch {epoch}", len(labelled), "img")
        self._trainer.train()
        losses: list[float] = []
        for places in batches:
            if self._trainer.step_count >= self._trainer.total_steps:
                break
            started_s = time.monotonic()
            tokens_BT = self._encoder.tokenizer(
                [self._captioner.sample(labelled.items[place], rng) for place in places]
            )
            losses.append(
                self._trainer.step(
                    self._train.pixels.batch(places.tolist()).to(self._encoder.device),
                    tokens_BT.to(self._encoder.device),
                    labelled.group_of_N[places],
                    labelled.text_of_N[places],
                )
            )
            self._training_s += time.monotonic() - started_s
            self._shown += len(places)
            note = f"loss {losses[-1]:.3f}" + (f", recall@1 {recall:.3f}" if recall is not None else "")
            self._progress.advance(len(places), note)
            self._fit_budget()
        self._progress.finish()
        self._losses += losses
        return float(np.mean(losses))

    def _fit_budget(self) -> None:
        """After some steps, cut the run to the number of steps that the time allows."""
        if self._budget_s is None or self._trainer.step_count != TIMED_STEPS:
            return
        step_s = self._training_s / TIMED_STEPS
        epoch_s = step_s * self._steps_per_epoch + self._validation_s
        left_s = self._budget_s - (time.monotonic() - self._started_s)
        steps = TIMED_STEPS + int(max(left_s, 0) / epoch_s * self._steps_per_epoch)
        if steps < self._trainer.total_steps:
            self._trainer.total_steps = steps
            self._progress.say(f"--minutes allows {steps} steps, {steps / self._steps_per_epoch:.1f} epochs")

    def _record(self, epoch: int, loss: float | None) -> EpochRecord:
        scores = self._measure(epoch)
        text_to_image, image_to_text, image_to_image = (
            direction.mean("map") if direction.queries else None for direction in scores.directions
        )
        record = EpochRecord(
            epoch=epoch,
            loss=loss,
            seconds=time.monotonic() - self._started_s,
            text_to_image_recall_at_1=scores.text_to_image.mean("recall@1") if scores.text_to_image.queries else None,
            text_to_image_map=text_to_image,
            image_to_text_map=image_to_text,
            image_to_image_map=image_to_image,
            mean_map=scores.mean_map,
        )
        name = "base" if epoch == 0 else f"epoch {epoch}"
        mean_loss = "" if loss is None else f"loss {loss:.3f}, "
        self._progress.say(
            f"{name}: {mean_loss}validation mAP text > image {_figure(text_to_image)}, image > text "
            f"{_figure(image_to_text)}, image > image {_figure(image_to_image)}"
        )
        return record

    def _measure(self, epoch: int) -> SplitScores:
        self._encoder.model.eval()
        labelled, pixels = self._val.labelled, self._val.pixels
        self._progress.start("measuring the base" if epoch == 0 else f"measuring epoch {epoch}", len(pixels), "img")
        rows = []
        for start in range(0, len(pixels), EVALUATION_BATCH):
            places = range(start, min(start + EVALUATION_BATCH, len(pixels)))
            rows.append(self._encoder.embed_images(pixels.batch(places)))
            self._progress.advance(len(places))
        self._progress.finish()
        return measure_split(
            SplitEmbeddings(
                image_ND=torch.cat(rows),
                text_TD=self._encoder.embed_texts(labelled.texts),
                text_of_N=labelled.text_of_N,
                group_of_N=labelled.group_of_N,
            )
        )


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
