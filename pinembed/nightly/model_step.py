"""The model of a generation: the last one, the last one behind a map between encoders, or one that is aligned anew."""

from __future__ import annotations

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


@dataclass(frozen=True, kw_only=True)
class ModelStep:
    """What the model is made from.

    Attributes:
        folder: of the generation, with its source.
        base: folder of the last generation, where it has a model of the same options; None where there is none.
        answers_before: share of right answers that its model gave; `probe_before` what a linear probe of its
            embeddings reached, None where that was not measured.
    """

    jobs: Jobs
    config: RefreshConfig
    folder: Path
    base: Path | None
    answers_before: float | None
    probe_before: float | None
    progress: Progress

    def make(self, *, keeps_encoder: bool) -> dict[str, Any]:
        """Make it, and tell how, the share of right answers, and figures for the history."""
        remove_tree(self.folder / TRIMMED)  # of a run that was killed
        if self.base is not None:
            if keeps_encoder:
                clone_folder(self.base / MODEL, self.folder / MODEL)
                return {"answers": self.answers_before, "probe": self.probe_before, "how": "the last one"}
            adapted = self._adapted(self.base)
            if adapted is not None:
                return adapted
        return self._aligned()

    def _adapted(self, base: Path) -> dict[str, Any] | None:
        """The last model behind a map from the new embeddings to the old; None where one aligned anew answers better.

        What that one would answer is told by a linear probe: where the new embeddings let it find more than the old
        ones did, as much more is wanted of the map.
        """
        options = {name: value for name, value in self.config.align.items() if name != "epochs"}
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
                )
            )
        except (ModelError, DataError) as error:  # such as too few items in both
            self.progress.say(f"The projector is aligned anew: {error.message}")
            return None
        gain = max(1.0, report.probe / self.probe_before) if self.probe_before else 1.0
        wanted = self.config.checks.answers * min(1.0, (self.answers_before or 0.0) * gain)
        if report.accuracy >= wanted:
            return _told(report, "adapted")
        self.progress.say(f"Adapting gives {report.accuracy:.1%} right answers, wanted {wanted:.1%}; aligned anew.")
        remove_tree(self.folder / MODEL)
        return None

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
        return _told(report, "aligned")


def _told(report: AlignReport, how: str) -> dict[str, Any]:
    return {
        "answers": report.accuracy,
        "probe": report.probe,
        "how": f"{how}, {report.accuracy:.1%} of the answers right",
        "figures": list(answer_figures(report)),
    }
