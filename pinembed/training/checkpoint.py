"""State of a run between epochs, so that the same command goes on from its last whole epoch.

The folder lies beside the output folder. It is written under another name and renamed, so it is whole or not there, and
its name carries a key of everything that decides the weights. Another key starts anew and leaves the other state where
it is; the run that fills the output folder clears them all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pinembed.reports.finetune import EpochRecord

KEY_CHARACTERS = 12
STATE_NAME, TENSORS_NAME = "state.json", "state.safetensors"


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run between two epochs.

    Attributes:
        best_epoch: whose weights are under `best.`.
        training_s: time in steps.
        elapsed_s: time since the first step, over all starts.
        micro_batch: images that go through the towers at once; None for the complete batch.
        stopped: why no further epoch should run; None while it should.
        tensors: by name; `trainer.` and `best.` tell whose they are.
    """

    records: tuple[EpochRecord, ...]
    losses: tuple[float, ...]
    best_epoch: int
    step_count: int
    total_steps: int
    training_s: float
    shown: int
    elapsed_s: float
    micro_batch: int | None
    bf16: bool
    stopped: str | None
    tensors: dict[str, Tensor]


class Checkpoint:
    """The place where a run keeps its state."""

    def __init__(self, out: Path, key: str) -> None:
        out = Path(os.path.abspath(out))  # noqa: PTH100  (resolve() would follow a link)
        self._start = f".{out.name}.resume-"
        self._folder = out.with_name(f"{self._start}{key[:KEY_CHARACTERS]}")
        self._fresh = out.with_name(f"{self._folder.name}.new")
        self._key = key

    def others(self) -> tuple[Path, ...]:
        """States of runs into the same output folder with other settings, data or base."""
        found = self._folder.parent.iterdir() if self._folder.parent.is_dir() else ()
        return tuple(
            sorted(path for path in found if path.name.startswith(self._start) and self._folder.name not in path.name)
        )

    def save(self, state: RunState) -> None:
        """Replace the state on disk."""
        fresh = self._fresh
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        save_file({name: tensor.contiguous() for name, tensor in state.tensors.items()}, fresh / TENSORS_NAME)
        plain: dict[str, Any] = {
            **{name: getattr(state, name) for name in state.__dataclass_fields__ if name not in {"records", "tensors"}},
            "records": [asdict(record) for record in state.records],
            "key": self._key,
        }
        (fresh / STATE_NAME).write_text(json.dumps(plain), encoding="utf-8")
        shutil.rmtree(self._folder, ignore_errors=True)
        fresh.rename(self._folder)

    def load(self) -> RunState | None:
        """The state of a run with the same key; None where there is none."""
        return self._read(self._folder) or self._read(self._fresh)

    def remove(self) -> None:
        """Delete the state, and those of other settings: the output folder is filled."""
        for folder in (self._folder, self._fresh, *self.others()):
            shutil.rmtree(folder, ignore_errors=True)

    def _read(self, folder: Path) -> RunState | None:
        try:
            plain = json.loads((folder / STATE_NAME).read_text(encoding="utf-8"))
            if plain.pop("key") != self._key:
                return None
            tensors = load_file(folder / TENSORS_NAME)
            records = tuple(EpochRecord(**record) for record in plain.pop("records"))
            losses = tuple(plain.pop("losses"))
            return RunState(records=records, losses=losses, tensors=tensors, **plain)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError):
            return None


def key_of(**decisive: object) -> str:
    """A key that differs whenever one of these values does."""
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()
