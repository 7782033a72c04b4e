"""Which steps of a generation are done: each leaves a key and its figures in the generation that it works on.

The key is a digest of the step's inputs, its options and the version of pinembed. A step whose key is there is not done
again; one with another key has its output removed first. Where a record is lost, the step is done once more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pinembed.disk import remove_tree, sync
from pinembed.nightly.config import digest_of
from pinembed.version import __version__

STEPS = "steps"


@dataclass(kw_only=True)
class StepRecord:
    """One step that is done.

    Attributes:
        name: of the step.
        key: of what it was made from.
        seconds: that it took, when it was done.
        result: figures that later steps and the report need.
    """

    name: str
    key: str
    seconds: float
    result: dict[str, Any] = field(default_factory=dict)


class StepBook:
    """The records of the steps of one generation.

    Args:
        folder: of the generation that is being made.

    Attributes:
        done: records by name, those of earlier runs too once they were asked for.
        skipped: names of steps that an earlier run had done.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "report" / STEPS
        self.done: dict[str, StepRecord] = {}
        self.skipped: list[str] = []

    def run(
        self, name: str, inputs: Any, work: Callable[[], dict[str, Any]], *, outputs: tuple[Path, ...] = ()
    ) -> StepRecord:
        """Do a step, unless its outputs carry its key.

        Args:
            name: of the step.
            inputs: whatever decides its outputs.
            work: makes them and returns figures.
            outputs: files or folders; removed before the step is done anew.
        """
        key = digest_of(name, inputs, __version__)
        kept = self._read(name)
        if kept is not None and kept.key == key and all(path.exists() for path in outputs):
            self.skipped.append(name)
            self.done[name] = kept
            return kept
        (self._folder / f"{name}.json").unlink(missing_ok=True)
        for path in outputs:
            remove_tree(path)
        started_s = time.perf_counter()
        result = work()
        record = StepRecord(name=name, key=key, seconds=time.perf_counter() - started_s, result=result)
        self._write(record)
        self.done[name] = record
        return record

    def _read(self, name: str) -> StepRecord | None:
        try:
            return StepRecord(**json.loads((self._folder / f"{name}.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def _write(self, record: StepRecord) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{record.name}.json"
        beside = path.with_name(f".{path.name}")
        beside.write_text(json.dumps(record.__dict__, indent=1) + "\n", encoding="utf-8")
        sync(beside)
        beside.replace(path)
