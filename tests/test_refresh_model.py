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
    """An `align` that gives a mapped model so many right answers, one trained from there and one anew others."""

    def __init__(self, *, mapped: float, trained: float, probe: float) -> None:
        self.mapped, self.trained, self.probe = mapped, trained, probe
        self.asked: list[Any] = []

    def align(self, settings: Any) -> Any:
        self.asked.append(settings)
        accuracy = 0.9 if settings.old_source is None else self.trained if settings.epochs else self.mapped
        return SimpleNamespace(accuracy=accuracy, probe=self.probe, fields=())


def model_step(folder: Path, jobs: Jobs, last: dict[str, float], align: dict[str, Any] | None = None) -> ModelStep:
    return ModelStep(
        jobs=jobs,  # type: ignore[arg-type]
        config=RefreshConfig(home=folder, images=folder, encoder="e", model="m", checks=Checks(), align=align or {}),
        folder=folder / "next",
        base=folder / "last",
        last=last,
        progress=SILENT,
    )


@pytest.fixture
def trimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint that CONFIG names needs no trimming."""
    monkeypatch.setattr("pinembed.trimmed.checkpoint.locate_checkpoint", Path)
    monkeypatch.setattr("pinembed.trimmed.checkpoint.read_checkpoint", lambda _: SimpleNamespace(is_trimmed=True))


@pytest.mark.usefixtures("trimmed")
@pytest.mark.parametrize(
    ("mapped", "trained", "probe", "probe_before", "how"),
    [
        (0.79, 0.0, 0.8, 0.8, "adapted,"),
        (0.78, 0.79, 0.8, 0.8, "adapted and trained,"),
        (0.78, 0.78, 0.8, 0.8, "aligned,"),
        (0.79, 0.86, 0.88, 0.8, "aligned,"),  # a linear probe errs two fifths less in the new embeddings
        (0.79, 0.87, 0.88, 0.8, "adapted and trained,"),
        (0.87, 0.0, 0.88, 0.8, "adapted,"),
        (0.87, 0.0, 0.88, 0.82, "adapted,"),
        (0.79, 0.0, 0.7, 0.8, "adapted,"),  # an encoder that is worse for these fields asks for no less than before
        (0.78, 0.0, 0.7, 0.8, "aligned,"),
        (0.79, 0.0, 0.8, None, "adapted,"),
        (0.98, 0.0, 1.0, 0.5, "adapted,"),  # more than every answer is never wanted
    ],
)
def test_an_adapted_model_has_to_answer_as_one_aligned_anew_is_expected_to(
    tmp_path: Path, mapped: float, trained: float, probe: float, probe_before: float | None, how: str
) -> None:
    last = {"answers": 0.7, "answers_aligned": 0.8}
    last |= {} if probe_before is None else {"probe_aligned": probe_before}
    step = model_step(tmp_path, Jobs(mapped=mapped, trained=trained, probe=probe), last)
    assert step.make(keeps_encoder=False)["how"].startswith(how)


@pytest.mark.usefixtures("trimmed")
def test_adapted_models_are_held_to_the_last_one_that_was_aligned_anew(tmp_path: Path) -> None:
    last: dict[str, float] = {"answers": 0.8, "answers_aligned": 0.8, "probe_aligned": 0.8}
    made = []
    for share in (0.79, 0.785, 0.78):  # each within two hundredths of the one before
        made.append(model_step(tmp_path, Jobs(mapped=share, trained=share, probe=0.8), last).make(keeps_encoder=False))
        last = {name: value for name, value in made[-1].items() if isinstance(value, float)}
    assert [found["how"].split(",")[0] for found in made] == ["adapted", "adapted", "aligned"]
    assert (last["answers"], last["answers_aligned"], last["probe_aligned"]) == (0.9, 0.9, 0.8)


@pytest.mark.usefixtures("trimmed")
@pytest.mark.parametrize(
    ("given", "minutes"), [({}, 1.0), ({"minutes": 20.0, "epochs": 9}, 1.0), ({"minutes": 0.5}, 0.5)]
)
def test_training_behind_a_map_takes_a_minute_at_most(tmp_path: Path, given: dict[str, Any], minutes: float) -> None:
    jobs = Jobs(mapped=0.1, trained=0.1, probe=0.8)
    model_step(tmp_path, jobs, {"answers_aligned": 0.8}, given).make(keeps_encoder=False)
    assert [(asked.epochs, asked.minutes) for asked in jobs.asked] == [
        (None, None),
        (4, minutes),
        (given.get("epochs"), given.get("minutes")),
    ]


def test_the_figures_of_a_model_that_stays_are_remembered(tmp_path: Path) -> None:
    (tmp_path / "last" / "model").mkdir(parents=True)
    (tmp_path / "next").mkdir()
    last = {"answers": 0.8, "answers_aligned": 0.81, "probe_aligned": 0.7, "rows": 5.0}
    made = model_step(tmp_path, Jobs(mapped=0.0, trained=0.0, probe=0.0), last).make(keeps_encoder=True)
    assert made == {"answers": 0.8, "answers_aligned": 0.81, "probe_aligned": 0.7, "how": "the last one"}
