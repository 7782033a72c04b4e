"""The training loop of `align`: steps, time limit, stored states, and the curve over the epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from pinembed.nouns.progress import Progress
from pinembed.nouns.stop import Stop
from pinembed.trimmed.alignment import Alignment

STORE_EVERY_S = 60.0


def train(
    run: Alignment,
    *,
    state: Path,
    key: str,
    watch: Callable[[], float | None],
    progress: Progress,
    stop: Stop,
) -> float:
    """Run all epochs, or go on with those that a stopped run left.

    Args:
        run: changed in place.
        state: file that a stopped run goes on from.
        key: what the state must agree with.
        watch: accuracy on the validation items, after each epoch.
        progress: told each step.
        stop: asked between two steps.

    Returns:
        Seconds that earlier parts of the run took.

    Raises:
        StoppedError: a signal came; the state is stored.
        TrainingError: the loss is not finite.
    """
    settings = run.settings
    per_epoch = len(run.questions.epoch(0)) // settings.batch_size + 1
    total = per_epoch * settings.epochs
    state.parent.mkdir(parents=True, exist_ok=True)
    progress.start("aligning", total, "steps")
    if run.resume(state, key):
        progress.say(f"Going on after step {run.standing.step} of {total}.")
        progress.advance(run.standing.step)
    earlier_s = run.standing.seconds
    clock = _Clock(earlier_s, settings.minutes)
    with stop.deferred():
        while run.standing.epoch < settings.epochs and not clock.is_over:
            for batch in run.batches():
                loss = run.step(batch, done=max(run.standing.step / total, clock.share))
                run.standing.seconds = clock.seconds
                progress.advance(1, f"loss {loss:.3f}")
                if stop.requested or clock.wants_storing:
                    run.save(state, key)
                if stop.requested:
                    return earlier_s
                if clock.is_over:
                    break
            record = run.end_epoch(watch())
            told = "" if record.accuracy is None else f", validation answers right {record.accuracy:.1%}"
            progress.say(f"epoch {record.epoch}: loss {record.loss:.3f}{told}")
    return earlier_s


class _Clock:
    """Time spent, over all parts of a run.

    Args:
        before: seconds that earlier parts took.
        minutes: the limit, None for none.
    """

    def __init__(self, before: float, minutes: float | None) -> None:
        self._began = time.perf_counter() - before
        self._stored = time.perf_counter()
        self._limit_s = None if minutes is None else 60 * minutes

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    @property
    def share(self) -> float:
        """Of the limit; 0 without one."""
        return 0.0 if self._limit_s is None else min(self.seconds / max(self._limit_s, 1e-9), 1.0)

    @property
    def is_over(self) -> bool:
        return self.share >= 1.0

    @property
    def wants_storing(self) -> bool:
        """True once in a while; asking restarts the wait."""
        if time.perf_counter() - self._stored < STORE_EVERY_S:
            return False
        self._stored = time.perf_counter()
        return True
