"""When more epochs have stopped to help, as far as a small validation split can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
