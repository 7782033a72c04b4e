"""How long a run trains: what its minutes allow, and when more epochs have stopped to help."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from pinembed.nouns.progress import Progress
from pinembed.training.world import World

TIMED_STEPS = (5, 10, 20, 40, 80)


class Budget:
    """Fits the number of steps to the time; several times early on, for first steps are slow and machines shared.

    Args:
        minutes: from the start of the run; None for as long as it takes.
        trained_s: spent on steps before the first of these.
    """

    def __init__(
        self,
        minutes: float | None,
        *,
        epochs: int,
        steps_per_epoch: int,
        trained_s: float,
        world: World,
        progress: Progress,
    ) -> None:
        self._budget_s = None if minutes is None else 60 * minutes
        self._wanted_steps = epochs * steps_per_epoch
        self._steps_per_epoch = steps_per_epoch
        self._world = world
        self._progress = progress
        self._timed = (0, trained_s)

    def fitted(self, total_steps: int, *, done: int, training_s: float, validation_s: float, started_s: float) -> int:
        """How many steps the run may have; `started_s` is a reading of the monotonic clock."""
        if self._budget_s is None or done not in TIMED_STEPS:
            return total_steps
        timed_step, timed_s = self._timed
        self._timed = (done, training_s)
        step_s = (training_s - timed_s) / (done - timed_step)
        epoch_s = step_s * self._steps_per_epoch + validation_s
        left_s = self._budget_s - (time.monotonic() - started_s)
        fitting = done + int(max(left_s, 0) / epoch_s * self._steps_per_epoch)
        steps = self._world.broadcast(min(fitting, self._wanted_steps))
        if steps != total_steps:
            self._progress.say(f"--minutes allows {steps} steps, {steps / self._steps_per_epoch:.1f} epochs")
        return steps


SMOOTHED_EPOCHS = 3
"""A split of a hundred images moves by more from one epoch to the next than learning does; a mean over three less."""
PATIENCE_SHARE, FEWEST_EPOCHS = 0.2, 4


def patience_of(epochs: int) -> int:
    """Epochs without a gain after which a run of so many ends."""
    return max(FEWEST_EPOCHS, round(PATIENCE_SHARE * epochs))


def has_flattened(measured: Sequence[float], patience: int) -> bool:
    """Whether no mean over neighbouring epochs was higher, in so many epochs, than the best before.

    Args:
        measured: the mean mAP on validation of each epoch, higher is better.
        patience: epochs to wait for a gain.
    """
    if len(measured) < SMOOTHED_EPOCHS + patience:
        return False
    smoothed = np.convolve(measured, np.full(SMOOTHED_EPOCHS, 1 / SMOOTHED_EPOCHS), mode="valid")
    return bool(smoothed[-patience:].max() <= smoothed[:-patience].max())


FORGETTING = 2
"""Epochs in a row below the start, by more than a standard error, that are no accident."""


def has_forgotten(measured: Sequence[float], start: float, *, error: float) -> bool:
    """Whether training loses what it began with: the last epochs are below the start, and none has reached it.

    Where one has, a few lower ones are noise of a small split, and to begin anew throws away what was learned.

    Args:
        measured: the mean mAP on validation of each epoch since training began.
        start: of what it began with.
        error: standard error of `start`.
    """
    return len(measured) >= FORGETTING and max(measured[-FORGETTING:]) < start - error and max(measured) < start
