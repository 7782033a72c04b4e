"""The model of a generation: the last one, the last one behind a map between encoders, or one that is aligned anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinembed.disk import remove_tree
from pinembed.errors import DataError, ModelError
from pinembed.generation.build import clone_folder
from pinembed.generation.record import MODEL, SOURCE
from pinembed.nightly.calls import Jobs
from pinembed.nightly.config import RefreshConfig
from pinembed.nightly.history import answer_figures
from pinembed.nouns.progress import Progress
from pinembed.reports.trimmed import AlignReport
from pinembed.settings.model import AlignSettings, TrimSettings

TRIMMED = "trimmed"
ANSWERS, ANEW, PROBE = "answers", "answers_aligned", "probe_aligned"
MODEL_FIGURES = (ANSWERS, ANEW, PROBE)
"""Share of right answers of the generation's model, of the last one that was aligned anew, and of its linear probe."""
ADAPTING_EPOCHS, ADAPTING_MINUTES = 4, 1.0


@dataclass(frozen=True, kw_only=True)
class ModelStep:
    """What the model is made from.

    Attributes:
        folder: of the generation, with its source.
        base: folder of the last generation, where it has a model of the same options; None where there is none.
        last: figures of the last generation, by name; of a model MODEL_FIGURES.
    """

    jobs: Jobs
    config: RefreshConfig
    folder: Path
    base: Path | None
    last: Mapping[str, float]
    progress: Progress

    def make(self, *, keeps_encoder: bool) -> dict[str, Any]:
        """Make it, and tell how, the share of right answers, and figures for the history."""
        remove_tree(self.folder / TRIMMED)  # of a run that was killed
        if self.base is not None:
            if keeps_encoder:
                clone_folder(self.base / MODEL, self.folder / MODEL)
                return {**self._of_last(*MODEL_FIGURES), "how": "the last one"}
            adapted = self._adapted(self.base)
            if adapted is not None:
                return adapted
        return self._aligned()

    def _adapted(self, base: Path) -> dict[str, Any] | None:
        """The last model behind a map from the new embeddings to the old; None where one aligned anew answers better.

        Where the map alone is not enough, projector and language model learn for a minute from there.
        """
        options = {name: value for name, value in self.config.align.items() if name != "epochs"}
        minutes = min(ADAPTING_MINUTES, options.pop("minutes", None) or ADAPTING_MINUTES)
        trained: dict[str, Any] = {"epochs": ADAPTING_EPOCHS, "minutes": minutes}
        for how, more in (("adapted", {}), ("adapted and trained", trained)):
            try:
                report = self.jobs.align(
                    AlignSettings(
                        data=self.config.images,
                        model=base / MODEL,
                        source=self.folder / SOURCE,
                        out=self.folder / MODEL,
                        old_source=base / SOURCE,
                        overwrite=True,
                        **options,
                        **more,
                    )
                )
            except (ModelError, DataError) as error:  # such as too few items in both
                self.progress.say(f"The projector is aligned anew: {error.message}")
                return None
            wanted = self.config.checks.answers * self._expected(report.probe)
            if report.accuracy >= wanted:
                return {**self._of_last(ANEW, PROBE), **_told(report, how)}
            self.progress.say(f"{how}: {report.accuracy:.1%} of the answers right, wanted {wanted:.1%}")
        remove_tree(self.folder / MODEL)
        return None

    def _expected(self, probe: float) -> float:
        """Share of right answers that one aligned anew would give.

        It is told by a linear probe: where that errs less in the new embeddings, the model errs less in proportion. An
        encoder that is worse for these fields asks for no less than before.
        """
        answers, before = self.last.get(ANEW, 0.0), self.last.get(PROBE, 1.0)
        return answers if before >= 1 else max(answers, 1 - (1 - probe) * (1 - answers) / (1 - before))

    def _of_last(self, *names: str) -> dict[str, Any]:
        return {name: self.last[name] for name in names if name in self.last}

    def _aligned(self) -> dict[str, Any]:
        from pinembed.trimmed.checkpoint import locate_checkpoint, read_checkpoint

        model, trimmed = locate_checkpoint(str(self.config.model)), self.folder / TRIMMED
        if read_checkpoint(model).is_trimmed:
            trimmed = model
        else:
            self.jobs.trim(TrimSettings(model=str(model), out=trimmed))
        report = self.jobs.align(
            AlignSettings(
                data=self.config.images,
                model=trimmed,
                source=self.folder / SOURCE,
                out=self.folder / MODEL,
                overwrite=True,
                **self.config.align,
            )
        )
        remove_tree(self.folder / TRIMMED)
        return {**_told(report, "aligned"), ANEW: report.accuracy, PROBE: report.probe}


def _told(report: AlignReport, how: str) -> dict[str, Any]:
    return {
        ANSWERS: report.accuracy,
        "how": f"{how}, {report.accuracy:.1%} of the answers right",
        "figures": list(answer_figures(report)),
    }
