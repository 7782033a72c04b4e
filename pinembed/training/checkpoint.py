"""State of a run between epochs, so that the same command goes on from its last whole epoch.

A state lies beside the output folder. It is written under another name and renamed, so it is whole or not there, and
its name carries a key of everything that decides the weights. Another key starts anew and leaves the other state where
it is, which is told; the run that fills the output folder clears them all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pinembed.nouns.progress import Progress
from pinembed.reports.finetune import EpochRecord
from pinembed.training.trainer import Step, Trainer

KEY_CHARACTERS = 12
STATE_NAME, TENSORS_NAME = "state.json", "state.safetensors"
TRAINER, BEST = "trainer.", "best."


@dataclass(kw_only=True)
class Course:
    """What a training has come to so far.

    Attributes:
        records: validation figures, the base first.
        losses: of each step.
        best_epoch: the last trained epoch within a standard error of the best mean mAP; 0 where none was measured.
        training_s: time in steps, without validation.
        shown: images that the steps saw.
        stopped: why no further epoch should run; None while it should.
        restarts: times that training began anew at a lower rate.
        restarted_after: epochs that the last of these left behind.
    """

    records: list[EpochRecord] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    best_epoch: int = 0
    training_s: float = 0.0
    shown: int = 0
    stopped: str | None = None
    restarts: int = 0
    restarted_after: int = 0

    def count(self, step: Step) -> None:
        self.training_s += step.seconds
        self.shown += step.images


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run between two epochs.

    Attributes:
        elapsed_s: time since the first step, over all starts.
        micro_batch: images that go through the towers at once; None for the complete batch.
        tensors: by name; TRAINER and BEST, of the course's best epoch, tell whose they are.
        second: the course has ended, and the trainer is that of a second training.
    """

    course: Course
    step_count: int
    total_steps: int
    elapsed_s: float
    micro_batch: int | None
    bf16: bool
    tensors: dict[str, Tensor]
    second: bool = False

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Those whose names begin with it, without it."""
        return {name.removeprefix(prefix): tensor for name, tensor in self.tensors.items() if name.startswith(prefix)}

    def restore(self, trainer: Trainer) -> None:
        """Let a new trainer go on where this one's stood."""
        trainer.restore(self.under(TRAINER), step_count=self.step_count, total_steps=self.total_steps)
        trainer.towers.micro_batch, trainer.towers.bf16 = self.micro_batch, self.bf16


def run_state(
    course: Course, trainer: Trainer, best_weights: Mapping[str, Tensor], *, elapsed_s: float, second: bool = False
) -> RunState:
    """What a run has come to, with the weights of its best epoch and its trainer as they are."""
    return RunState(
        course=course,
        step_count=trainer.step_count,
        total_steps=trainer.total_steps,
        elapsed_s=elapsed_s,
        micro_batch=trainer.towers.micro_batch,
        bf16=trainer.towers.bf16,
        tensors={
            **{f"{TRAINER}{name}": tensor for name, tensor in trainer.state().items()},
            **{f"{BEST}{name}": tensor for name, tensor in best_weights.items()},
        },
        second=second,
    )


class StatePlace:
    """Where a run keeps its state between its starts, beside the output folder.

    Attributes:
        path: of the state, a file or a folder.
        fresh: where it is written before it is renamed.
    """

    def __init__(self, out: Path, key: str, *, suffix: str = "") -> None:
        out = Path(os.path.abspath(out))  # noqa: PTH100  (resolve() would follow a link)
        self._start = f".{out.name}.resume-"
        self.path = out.with_name(f"{self._start}{key[:KEY_CHARACTERS]}{suffix}")
        self.fresh = out.with_name(f"{self.path.name}.new")

    def others(self) -> tuple[Path, ...]:
        """States of runs into the same output folder with other settings, data or base."""
        found = self.path.parent.iterdir() if self.path.parent.is_dir() else ()
        own = (self.path.name, self.fresh.name)
        return tuple(sorted(path for path in found if path.name.startswith(self._start) and path.name not in own))

    def tell_others(self, progress: Progress) -> None:
        """Say of each that it is left as it is, and until when."""
        for state in self.others():
            progress.say(
                f"{state} holds an interrupted run with other settings, data or base; this run starts anew. Call that "
                "one again as it was to go on with it; its state stays until a run has written the output folder."
            )

    def remove(self) -> None:
        """Delete the state, and those of other settings: the output folder is filled."""
        for state in (self.path, self.fresh, *self.others()):
            if state.is_dir():
                shutil.rmtree(state, ignore_errors=True)
            else:
                state.unlink(missing_ok=True)


STATE_EVERY_S = 30.0
"""Epochs of a second would spend more on writing their state than on learning."""


class Checkpoint:
    """The state of `finetune`, in its place."""

    def __init__(self, out: Path, key: str) -> None:
        self.place = StatePlace(out, key)
        self._key = key
        self._saved_s = time.monotonic()

    @property
    def is_due(self) -> bool:
        """The state was last written so long ago that it should be again."""
        return time.monotonic() - self._saved_s >= STATE_EVERY_S

    def save(self, state: RunState) -> None:
        """Replace the state on disk."""
        self._saved_s = time.monotonic()
        fresh = self.place.fresh
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, fresh / TENSORS_NAME)
        plain = {**asdict(replace(state, tensors={})), "key": self._key}
        (fresh / STATE_NAME).write_text(json.dumps(plain), encoding="utf-8")
        shutil.rmtree(self.place.path, ignore_errors=True)
        fresh.rename(self.place.path)

    def load(self) -> RunState | None:
        """The state of a run with the same key; None where there is none."""
        return self._read(self.place.path) or self._read(self.place.fresh)

    def _read(self, folder: Path) -> RunState | None:
        try:
            plain = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
            if plain.pop("key") != self._key:
                return None
            course = Course(**plain["course"])
            course.records = [EpochRecord(**record) for record in plain["course"]["records"]]
            return RunState(**{**plain, "course": course, "tensors": load_file(folder / TENSORS_NAME)})
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None


def key_of(**decisive: object) -> str:
    """A key that differs whenever one of these values does."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()
