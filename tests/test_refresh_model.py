"""The model of a generation under a new encoder: behind a map where that answers as one aligned anew would."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pinembed.nightly.config import Checks, RefreshConfig
from pinembed.nightly.model_step import ModelStep
from pinembed.nouns.progress import SILENT


class Jobs:
    """An `align` that gives a mapped model so many right answers, and one aligned anew others."""

    def __init__(self, *, mapped: float, probe: float) -> None:
        self.mapped, self.probe = mapped, probe

    def align(self, settings: Any) -> Any:
        accuracy = self.mapped if settings.old_source is not None else 0.9
        return SimpleNamespace(accuracy=accuracy, probe=self.probe, fields=())


@pytest.mark.parametrize(
    ("mapped", "probe", "probe_before", "how"),
    [
        (0.79, 0.8, 0.8, "adapted"),
        (0.78, 0.8, 0.8, "aligned"),
        (0.79, 0.88, 0.8, "aligned"),  # a linear probe finds a tenth more in the new embeddings
        (0.87, 0.88, 0.8, "adapted"),
        (0.79, 0.7, 0.8, "adapted"),  # an encoder that is worse for these fields asks for no less than before
        (0.78, 0.7, 0.8, "aligned"),
        (0.79, 0.8, None, "adapted"),
        (0.98, 1.0, 0.5, "adapted"),  # more than every answer is never wanted
    ],
)
def test_a_mapped_model_has_to_answer_as_one_aligned_anew_is_expected_to(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mapped: float,
    probe: float,
    probe_before: float | None,
    how: str,
) -> None:
    checkpoint = SimpleNamespace(is_trimmed=True)
    monkeypatch.setattr("pinembed.trimmed.checkpoint.locate_checkpoint", Path)
    monkeypatch.setattr("pinembed.trimmed.checkpoint.read_checkpoint", lambda _: checkpoint)
    step = ModelStep(
        jobs=Jobs(mapped=mapped, probe=probe),  # type: ignore[arg-type]
        config=RefreshConfig(home=tmp_path, images=tmp_path, encoder="e", model="m", checks=Checks()),
        folder=tmp_path / "next",
        base=tmp_path / "last",
        answers_before=0.8,
        probe_before=probe_before,
        progress=SILENT,
    )
    assert step.make(keeps_encoder=False)["how"].startswith(how)


def test_the_probe_of_a_model_that_stays_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "last" / "model").mkdir(parents=True)
    (tmp_path / "next").mkdir()
    step = ModelStep(
        jobs=Jobs(mapped=0.0, probe=0.0),  # type: ignore[arg-type]
        config=RefreshConfig(home=tmp_path, images=tmp_path, encoder="e", model="m"),
        folder=tmp_path / "next",
        base=tmp_path / "last",
        answers_before=0.8,
        probe_before=0.7,
        progress=SILENT,
    )
    made = step.make(keeps_encoder=True)
    assert (made["answers"], made["probe"]) == (0.8, 0.7)
