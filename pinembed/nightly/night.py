"""One night: the steps that make a generation out of the last one, each done once however often the run is killed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pinembed.disk import remove_tree
from pinembed.errors import CheckError, OutOfTimeError, TooManyFailuresError
from pinembed.generation.build import clone_folder
from pinembed.generation.home import Home
from pinembed.generation.ledger import Attempt, Ledger
from pinembed.generation.record import ENCODER, MODEL, REPORT, SOURCE, TABLE, table_in
from pinembed.nightly.alpha import alpha_of_next, judge, now_utc
from pinembed.nightly.audit_step import FLAGGED, FLAGS_PAGE, AuditStep, audit_digest, flagged_check
from pinembed.nightly.calls import Jobs
from pinembed.nightly.challenge import put_encoder, take, tune
from pinembed.nightly.checks import metrics_of, run_checks
from pinembed.nightly.config import RefreshConfig, Retrain
from pinembed.nightly.history import Figure, plain_figures, retrieval_figures
from pinembed.nightly.model_step import MODEL_FIGURES, ModelStep
from pinembed.nightly.plan import NightPlan
from pinembed.nightly.steps import StepBook, StepRecord
from pinembed.nouns.progress import Progress, Stop
from pinembed.nouns.run_record import Counts
from pinembed.reports.refresh import CheckResult, StepReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.source import ExportSettings, VerifySettings
from pinembed.settings.training import EvaluateSettings
from pinembed.table.address import parse_address
from pinembed.table.embedding_table import open_if_there
from pinembed.table.whole import cut_file

SHARDS = 64  # of a source, so that a night's items change few of its files
MIB = 1 << 20
HOUR_S = 3600.0


class Night:
    """The steps of one generation, in the folder `next` of a home.

    Args:
        config: what is wanted.
        home: with the generation that this one begins from.
        plan: why.
        ledger: what was tried before.
        jobs: to call.
        progress: hears of each step.
        stop: asks to end between two steps.
        challenger: encoder that is judged in place of a training.

    Attributes:
        plan: as it was given.
        steps: what was done, in order.
        checks: of the generation, once they were run.
    """

    def __init__(
        self,
        config: RefreshConfig,
        home: Home,
        plan: NightPlan,
        ledger: Ledger,
        *,
        jobs: Jobs,
        progress: Progress,
        stop: Stop,
        challenger: str | None = None,
    ) -> None:
        self._config = config
        self._home = home
        self.plan = plan
        self._jobs = jobs
        self._progress = progress
        self._stop = stop
        self._brought = challenger
        self._started_s = time.monotonic()
        self._folder = home.next_folder
        self._base = None if plan.base is None else home.folder_of(plan.base.number)
        self._ledger = ledger
        self._begin()
        self.steps: list[StepReport] = []
        self.checks: tuple[CheckResult, ...] = ()

    def _begin(self) -> None:
        """Go on with `next` where it was begun from the same generation; else begin it anew."""
        number = None if self.plan.base is None else self.plan.base.number
        self._book = StepBook(self._folder)
        begun = {"at": now_utc().isoformat(timespec="microseconds"), "attempts": len(self._ledger.attempts)}
        self._book.run("begin", [number], lambda: begun)
        self._is_resumed = "begin" in self._book.skipped
        if not self._is_resumed or self._has_cut_table():
            remove_tree(self._folder)  # of another base, none at all, or damaged
            self._is_resumed = False
            self._book.run("begin", [number], lambda: begun)

    def _has_cut_table(self) -> bool:
        """A table on which nobody can go on: a full disk took the end of a file, and the commit could not be undone."""
        found = (parse_address(str(path.with_suffix(""))) for path in (self._folder / TABLE).glob("*.lance"))
        return any((dataset := open_if_there(table)) is not None and cut_file(table, dataset) for table in found)

    @property
    def begun_at(self) -> str:
        """When this generation was begun, in the first of its runs; ISO 8601 in UTC."""
        return str(self._book.done["begin"].result["at"])

    def result_of(self, name: str) -> Mapping[str, Any]:
        """The figures of a step; empty for one that was not due."""
        return self._book.done[name].result if name in self._book.done else {}

    def choose_encoder(self) -> Attempt | None:
        """Train where that is due, and put the encoder of this generation in its place.

        Returns:
            What was tried; None where no training was due.
        """
        attempt = self._train() if self.plan.train else None
        self._promoted = attempt is not None and attempt.promoted
        if self._promoted:
            origin, why = str(self._challenger), "the challenger"
        elif self._base is not None:
            origin, why = str(self._base / ENCODER), "the one in use"
        else:
            origin, why = self._config.encoder, "as CONFIG names it"
        place, is_ours = self._folder / ENCODER, self._promoted or self._base is not None
        what = attempt.fingerprint if attempt is not None and attempt.promoted else origin

        def put() -> dict[str, Any]:
            put_encoder(origin, place, is_ours=is_ours)
            return {}

        self._step("encoder", why, [what], put, outputs=(place,))
        return attempt

    @property
    def keeps_encoder(self) -> bool:
        """The table's vectors stay valid."""
        return self._base is not None and not self._promoted

    @property
    def _challenger(self) -> Path:
        return self._folder / "challenger"

    def _train(self) -> Attempt:
        retrain, begun = self._config.retrain or Retrain(), self._book.done["begin"].result
        base = self.plan.base
        alpha = alpha_of_next(self._ledger.attempts, retrain.alpha_per_year, now=now_utc())
        inputs = [self._config.finetune, base and base.fingerprint, retrain.start, begun["attempts"], self._brought]

        def work() -> dict[str, Any]:
            called = (self._jobs, self._config, self._base, self._challenger)
            tried = tune(*called) if self._brought is None else take(*called, self._brought)
            found = judge(
                tried.verdicts,
                promoted=tried.promoted,
                reason=tried.reason,
                alpha=alpha,
                fingerprint=tried.fingerprint,
                refused=self._ledger.refused,
            )
            scores = tried.scores if found.promoted else tried.champion_scores
            figures = [] if scores is None else list(retrieval_figures(scores, data="gate"))
            return {**dataclasses.asdict(found), "fingerprint": tried.fingerprint, "alpha": alpha, "figures": figures}

        name = "finetune" if self._brought is None else "judge"
        found = self._step(name, self.plan.train, inputs, work, outputs=(self._challenger,)).result
        return Attempt(
            at=self.begun_at,
            fingerprint=found["fingerprint"],
            promoted=found["promoted"],
            alpha=found["alpha"],
            p=found["p"],
            reason=found["reason"],
            changed=self._ledger.changed + self.plan.counts.added + self.plan.counts.updated,
        )

    def fill_table(self) -> Counts:
        """Begin the table as a clone or anew, and encode what is new."""
        place = self._folder / TABLE
        keeps = self.keeps_encoder
        encoder = self._book.done["encoder"].key

        def begin() -> dict[str, Any]:
            if not keeps or self._base is None:
                place.mkdir(parents=True)
                return {"files": 0, "copied_bytes": 0}
            made = clone_folder(self._base / TABLE, place)
            if made.copied_bytes:
                self._progress.say(f"This file system has no hard links: {made.copied_bytes:,} bytes were copied.")
            return dataclasses.asdict(made)

        why = "a hard-link clone of the last" if keeps else "a new one for the new encoder"
        origin = self.plan.base and self.plan.base.number
        begun = self._step("table", why, [keeps, encoder, origin], begin, outputs=(place,))
        planned = self.plan.counts
        inputs = [begun.key, self._config.encode, planned.added, planned.updated, planned.removed, planned.unchanged]
        found = self._step("encode", self.plan.table or "again under the new encoder", inputs, self._encode).result
        return Counts(**found["counts"])

    @property
    def _table(self) -> str:
        return table_in(self._folder)

    def _encode(self) -> dict[str, Any]:
        report = self._jobs.encode(
            EncodeSettings(
                images=self._config.images,
                table=self._table,
                encoder=str(self._folder / ENCODER),
                **{"measure": self._config.audit is not None, **self._config.encode},
            )
        )
        if report.exit_code:
            raise TooManyFailuresError(
                f"{report.counts.failed} items failed, {report.failure_rate:.0%} of all; max_failure_rate under "
                f"[encode] allows {report.max_failure_rate:.0%}. The generation in use goes on serving.",
                remedy="Mend the images, and run the same command again; what was good is kept.",
            )
        counts = dataclasses.asdict(report.counts)
        if self._base is not None and (self._is_resumed or not self.keeps_encoder):
            # a killed run may have encoded them before, and the table of a new encoder begins empty
            counts |= {name: getattr(self.plan.counts, name) for name in ("added", "updated", "removed", "unchanged")}
        speed = {"images_per_s": report.images_per_s} if report.counts.encoded else {}
        return {"counts": counts, "fingerprint": report.fingerprint, "failures": dict(report.failures), **speed}

    def audit(self) -> None:
        """Flag what is wrong with the pictures, where CONFIG asks for it, before anything is made of the table."""
        if self._config.audit is None:
            return
        base = None if self.keeps_encoder else self._base
        step = AuditStep(jobs=self._jobs, config=self._config, folder=self._folder, base=base)
        inputs = [self._book.done["encode"].key, audit_digest(self._config)]
        self._step("audit", "[audit] is given", inputs, step.run)

    def export(self) -> None:
        """Write the source with those files of the last one that are still the same, and check the others."""
        place = self._folder / SOURCE
        base_source = None if self._base is None else self._base / SOURCE
        rows = int(self.result_of("encode")["counts"]["rows"])

        def work() -> dict[str, Any]:
            options = {"shard_mib": self._shard_mib(rows), **self._config.export}
            base_table = None if self._base is None else table_in(self._base)
            report = self._jobs.export(
                ExportSettings(table=self._table, out=place, base=base_source, base_table=base_table, **options)
            )
            found = self._jobs.verify(VerifySettings(folder=place, base=base_source))
            if found.findings:
                raise CheckError(
                    f"The exported source is not what was written: {found.findings[0].detail}",
                    remedy="Check the disk, and run the same command again; the generation in use goes on serving.",
                )
            return {"items": report.items, "size_bytes": report.size_bytes}

        made_from = [self._book.done[name].key for name in ("encode", "audit") if name in self._book.done]
        self._step("export", "from the table", [*made_from, self._config.export], work, outputs=(place,))

    def _shard_mib(self, rows: int) -> int:
        from pinembed.table.embedding_table import EmbeddingTable

        row_bytes = 2 * EmbeddingTable.open(self._table).spec.dim
        return max(1, min(256, rows * row_bytes // SHARDS // MIB))

    def make_model(self) -> None:
        """Give the generation its model, where CONFIG names one."""
        if self._config.model is None:
            return
        place, last = self._folder / MODEL, self.plan.base
        has_model = self._base is not None and (self._base / MODEL).is_dir() and "model" not in self.plan.edited
        step = ModelStep(
            jobs=self._jobs,
            config=self._config,
            folder=self._folder,
            base=self._base if has_model else None,
            last={} if last is None else last.metrics,
            progress=self._progress,
        )
        encoder = self._book.done["encoder"].key
        inputs = [self._config.model, self._config.align, encoder, has_model and last and last.number]
        why = "for this encoder"
        found = self._step(
            "model", why, inputs, lambda: step.make(keeps_encoder=self.keeps_encoder), outputs=(place,)
        ).result
        self._progress.say(f"model: {found['how']}")

    def evaluate(self) -> None:
        """Measure the encoder where CONFIG asks for it: on today's split, and on a yardstick that stays the same."""
        if self._config.evaluate is None:
            return
        options = {name: value for name, value in self._config.evaluate.items() if name != "data"}
        yardstick = self._config.yardstick
        encoder, encoded = self._book.done["encoder"].key, self._book.done["encode"].key

        def measured(data: Path, told: str = "") -> dict[str, Any]:
            report = self._jobs.evaluate(EvaluateSettings(data=data, encoder=str(self._folder / ENCODER), **options))
            return {"figures": list(retrieval_figures(report.encoder.scores, report.slices, data=told or report.split))}

        images = self._config.images
        self._step("evaluate", "[evaluate] is given", [options, encoder, encoded], lambda: measured(images))
        if yardstick is not None:
            inputs = [options, encoder, yardstick]
            self._step("yardstick", f"on {yardstick.name}", inputs, lambda: measured(yardstick, yardstick.name))

    def check(self) -> None:
        """Measure what must hold before this generation serves.

        Raises:
            CheckError: it does not.
        """

        def work() -> dict[str, Any]:
            last = self.plan.base
            self.checks = run_checks(self._folder, self._config.checks, last=last)
            if self._config.audit is not None:
                self.checks += (flagged_check(self.result_of("audit"), self._config, last=last),)
            failed = [found for found in self.checks if not found.passed]
            if failed:
                told = ", ".join(f"{found.name} is {found.found:.4g}, wanted {found.wanted}" for found in failed)
                where = f" at {self._folder / REPORT / FLAGS_PAGE}" if FLAGGED in told else ""
                raise CheckError(
                    f"The new generation does not serve: {told}.",
                    remedy=f"Look into it{where}, or change [checks]; then run the same command again. The generation "
                    "in use goes on serving.",
                )
            of_model = self.result_of("model")
            return metrics_of(self.checks) | {name: of_model[name] for name in MODEL_FIGURES if name in of_model}

        encoded, exported = self._book.done["encode"], self._book.done["export"]
        self._step("checks", "before it serves", [encoded.key, exported.key, time.time_ns()], work)

    def figures(self) -> list[Figure]:
        """All that this night measured, for the history."""
        found: list[Figure] = []
        for record in self._book.done.values():
            found += record.result.get("figures", [])
        encoded = self.result_of("encode")
        measured = {
            name: value for name, value in self.result_of("checks").items() if name.endswith("_ms") or name == "golden"
        }
        values = {**measured, "images_per_s": encoded.get("images_per_s"), **encoded["counts"]}
        found += plain_figures(values)
        for reason, count in encoded["failures"].items():
            found.append({"name": "failures", "value": float(count), "slice": reason})
        return found

    def _step(
        self,
        name: str,
        why: str,
        inputs: Any,
        work: Callable[[], dict[str, Any]],
        *,
        outputs: tuple[Path, ...] = (),
    ) -> StepRecord:
        """One step, and after it a look at clock and signals."""
        self._progress.say(f"{name}: {why}")
        record = self._book.run(name, inputs, work, outputs=outputs)
        state = "kept" if name in self._book.skipped else "done"
        self.steps.append(StepReport(name=name, state=state, why=why, seconds=record.seconds))
        self._stop.check()
        hours = self._config.limits.hours
        if hours is not None and time.monotonic() - self._started_s >= hours * HOUR_S:
            raise OutOfTimeError(
                f"{hours:g} hours are over after the step {name}; [limits] hours ends the run here.",
                remedy="The next run goes on from there; the generation in use goes on serving.",
            )
        return record
