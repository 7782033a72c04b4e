"""The refresh job: everything of a home moved on by one generation, or left alone where nothing is to be done."""

from __future__ import annotations

import dataclasses
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinembed.catalogue.frozen import frozen_files
from pinembed.disk import remove_tree
from pinembed.errors import GenerationError, HomeLockedError, PinembedError, TableError
from pinembed.generation.build import own_bytes, prune, reopen, seal, size_of
from pinembed.generation.home import Home, home_of
from pinembed.generation.ledger import (
    Attempt,
    Ledger,
    await_switch,
    base_of,
    note_attempt,
    note_changed,
    read_ledger,
    switch_awaited,
)
from pinembed.generation.record import ENCODER, REPORT, Generation, check_whole, table_in
from pinembed.nightly.checks import read_golden
from pinembed.nightly.config import RefreshConfig, read_config
from pinembed.nightly.history import History, HomeRun, as_rows, plain_figures
from pinembed.nightly.hooks import call_hook
from pinembed.nightly.night import HOUR_S, Night
from pinembed.nightly.plan import DiskNeed, NightPlan, make_plan, option_digests
from pinembed.nightly.preflight import (
    check_disk,
    disk_need,
    full_disk_as_sentence,
    note_home,
    refuse_lost_home,
)
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.nouns.run_record import DONE, FAILED, Counts
from pinembed.reports.refresh import RefreshReport
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.home import RefreshSettings
from pinembed.table.lock import file_lock
from pinembed.version import __version__

if TYPE_CHECKING:
    from pinembed.reports.encode import EncodeReport
    from pinembed.reports.evaluate import EvaluateReport
    from pinembed.reports.finetune import FinetuneReport
    from pinembed.reports.quality import AuditReport
    from pinembed.reports.source import ExportReport, VerifyReport
    from pinembed.reports.trimmed import AlignReport, TrimReport
    from pinembed.settings.model import AlignSettings, TrimSettings
    from pinembed.settings.quality import AuditSettings
    from pinembed.settings.source import ExportSettings, VerifySettings
    from pinembed.settings.training import EvaluateSettings, FinetuneSettings

LOCK = ".refresh.lock"
NOTHING, KEPT = "nothing to do", "kept the champion"


def refresh(settings: RefreshSettings, *, progress: Progress = SILENT, stop: Stop | None = None) -> RefreshReport:
    """Bring a home up to date with its images.

    Raises:
        ConfigError: CONFIG has a key or value that cannot be meant.
        HomeLockedError: another refresh works in the home.
        GenerationError: the generation in use was edited, or the home is away with its disk.
        OutputError: the disk is too full.
        OutOfTimeError: the hours under [limits] are over.
        CheckError: the new generation failed a check.
        StoppedError: `stop` was asked for, between two steps.
        PinembedError: what the jobs raise; the generation in use goes on serving.
    """
    config = read_config(settings.config)
    if config.checks.golden is not None:
        read_golden(config.checks.golden)  # what is wrong with it is told now, and not behind hours of work
    run = _Run(settings, config, progress, stop or Stop())
    if settings.dry_run:
        with frozen_files(config.images):
            return run.foresee()
    run.begin()
    lock = file_lock(config.home / LOCK, of=f"home {config.home}", is_held=HomeLockedError)
    with lock, full_disk_as_sentence(config.home), frozen_files(config.images):
        return run.carry_out()


class _Run:
    """One run, with the history, the hooks and the clock."""

    def __init__(self, settings: RefreshSettings, config: RefreshConfig, progress: Progress, stop: Stop) -> None:
        self._settings = settings
        self._config = config
        self._progress = progress
        self._stop = stop
        self._jobs = _Jobs(progress, stop)
        self._started_s = time.perf_counter()
        self.home: Home | None = home_of(config.home)
        self._before = None if self.home is None else self.home.current

    def begin(self) -> None:
        """Make the home where there is none, but not where one is away."""
        try:
            refuse_lost_home(self._settings.config, self._config.home)
        except GenerationError as error:
            self._tell_failed(error)
            raise
        self.home = Home.begin(self._config.home)

    def foresee(self) -> RefreshReport:
        """What would be done, why, how long it took before, and how much disk it needs; nothing is written."""
        refuse_lost_home(self._settings.config, self._config.home)
        home = self.home
        ledger = Ledger() if home is None else read_ledger(home)
        plan = self._plan(home, ledger)
        need = self._vetted_need(plan)
        last_s = {} if home is None else History(home.folder).last_seconds()
        steps = () if plan.is_idle else plan.steps(self._config, need, last_s)
        return self._report(plan, steps=steps, dry_run=True, size_bytes=0 if plan.is_idle else need.total)

    def carry_out(self) -> RefreshReport:
        """Do it; the caller holds the home."""
        home = self.home
        assert home is not None
        self._finish_switch(home)
        history = History(home.folder)
        record = HomeRun(before=home.current)
        self._hook("start", {})
        try:
            report = self._make(home, history, record)
        except PinembedError as error:
            seconds = time.perf_counter() - self._started_s
            ended = dataclasses.replace(record, ending=FAILED, message=error.message, seconds=seconds)
            with suppress(TableError):  # what ended the run is what the user should hear of
                history.note(ended)
            self._tell_failed(error)
            raise
        if report.serves is not None:
            note_home(self._settings.config, home, report.serves)
        return report

    def _tell_failed(self, error: PinembedError) -> None:
        self._hook("failed", {"message": error.message, "remedy": error.remedy, "exit_code": error.exit_code})

    def _finish_switch(self, home: Home) -> None:
        """Switch to what a run had sealed that was killed before its switch."""
        waiting = read_ledger(home).awaiting
        if waiting is not None and waiting in home.numbers and not self._config.approve:
            switch_awaited(home, waiting)
            self._progress.say(f"Generation {waiting}, which an earlier run had made, is in use now.")

    def _make(self, home: Home, history: History, record: HomeRun) -> RefreshReport:
        reopen(home)
        ledger = read_ledger(home)
        plan = self._plan(home, ledger)
        if plan.is_idle:
            remove_tree(home.next_folder)
            history.note(self._ended(record, plan, NOTHING))
            return self._report(plan)
        check_disk(home.folder, self._vetted_need(plan), free_gib=self._config.limits.free_gib)
        history.note(record)
        night = Night(
            self._config,
            home,
            plan,
            ledger,
            jobs=self._jobs,
            progress=self._progress,
            stop=self._stop,
            challenger=self._settings.challenger,
        )
        attempt = night.choose_encoder()
        if attempt is not None and not attempt.promoted and plan.needs_only_training:
            note_attempt(home, attempt)
            remove_tree(home.next_folder)
            history.note(self._ended(record, plan, KEPT, night, message=attempt.reason))
            report = self._report(plan, night, attempt=attempt)
            self._hook("kept", {"reason": attempt.reason})
            return report
        counts = night.fill_table()
        night.audit()
        night.export()
        night.make_model()
        night.evaluate()
        night.check()
        return self._seal(home, history, record, night, counts, attempt)

    def _seal(
        self, home: Home, history: History, record: HomeRun, night: Night, counts: Counts, attempt: Attempt | None
    ) -> RefreshReport:
        plan, before, number = night.plan, home.current, home.free_number
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        remove_tree(home.next_folder / "challenger")
        seconds = time.perf_counter() - self._started_s
        cost = seconds / HOUR_S * self._config.price_per_hour
        sizes = {"seconds": seconds, "cost": cost or None, "size_bytes": float(size_of(home.next_folder))}
        history.record(as_rows([*night.figures(), *plain_figures(sizes)], generation=number, at=at))
        checks = night.result_of("checks")
        why = plan.why if attempt is None or attempt.promoted else f"{plan.why}; the champion stays"
        generation = Generation(
            number=number,
            created_at=at,
            version=__version__,
            parent=None if plan.base is None else plan.base.number,
            fingerprint=str(night.result_of("encode")["fingerprint"]),
            rows=counts.rows or 0,
            why=why,
            counts={name: count for name, count in dataclasses.asdict(counts).items() if count},
            options=option_digests(self._config),
            metrics={name: value for name, value in checks.items() if value is not None},
            seconds=seconds,
        )
        self._write_report(home, generation)
        await_switch(home, number)
        sealed = seal(home, generation)
        if attempt is not None:
            note_attempt(home, attempt)
        else:
            note_changed(home, counts.added + counts.updated)
        if not self._config.approve:
            switch_awaited(home, number, expected=before)
        removed, spared = prune(home, keep=self._config.keep.generations)
        kept = attempt is not None and not attempt.promoted
        history.note(self._ended(record, plan, KEPT if kept else DONE, night, generation=sealed, counts=counts))
        report = self._report(
            plan, night, attempt=attempt, counts=counts, number=number, removed=tuple(removed), spared=tuple(spared)
        )
        self._hook("done", {"generation": number, "serves": report.serves, "why": generation.why})
        if kept and attempt is not None:
            self._hook("kept", {"reason": attempt.reason})
        return report

    def _write_report(self, home: Home, generation: Generation) -> None:
        from pinembed.nightly.page import write_report

        write_report(
            home.next_folder / REPORT,
            generation=generation,
            folder=home.next_folder,
            last=None if generation.parent is None else home.folder_of(generation.parent),
            group=self._config.group,
        )

    def _plan(self, home: Home | None, ledger: Ledger) -> NightPlan:
        base = None if home is None else base_of(home, ledger)
        if home is not None and base is not None:
            check_whole(home.folder_of(base.number), base)
        counts, known = self._counts(home, base)
        forced, now = _forced(self._settings), datetime.now(timezone.utc)
        return make_plan(self._config, ledger, base, counts, known_failures=known, forced=forced, now=now)

    def _counts(self, home: Home | None, base: Generation | None) -> tuple[Counts, int]:
        """What encode would do, and how many of its failures are known."""
        options: dict[str, Any] = {"images": self._config.images, **self._config.encode}
        if home is None or base is None:
            from pinembed.catalogue.inputs import find_inputs

            parts = find_inputs(EncodeSettings(table="none/none", encoder=self._config.encoder, **options))
            items = sum(len(part.candidates) for part in parts)
            return Counts(added=items, rows=items), 0
        folder = home.folder_of(base.number)
        table, encoder = table_in(folder), str(folder / ENCODER)
        report = self._jobs.encode(EncodeSettings(table=table, encoder=encoder, dry_run=True, **options))
        return report.counts, report.not_retried

    def _vetted_need(self, plan: NightPlan) -> DiskNeed:
        """The disk that a plan takes, once what a step would refuse behind hours of work is refused."""
        from pinembed.nightly.vetting import vet

        base = None if plan.base is None or self.home is None else self.home.folder_of(plan.base.number)
        vet(self._config, plan, place=str(self._settings.config), base=base, progress=self._progress)
        return disk_need(self._config, plan, base)

    def _ended(
        self,
        record: HomeRun,
        plan: NightPlan,
        ending: str,
        night: Night | None = None,
        *,
        generation: Generation | None = None,
        counts: Counts | None = None,
        message: str | None = None,
    ) -> HomeRun:
        seconds = time.perf_counter() - self._started_s
        steps = [] if night is None else [step for step in night.steps if step.state == "done"]
        return dataclasses.replace(
            record,
            ending=ending,
            message=message,
            generation=None if generation is None else generation.number,
            fingerprint=None if generation is None else generation.fingerprint,
            why=plan.why,
            seconds=seconds,
            cost=seconds / HOUR_S * self._config.price_per_hour,
            steps={step.name: step.seconds or 0.0 for step in steps},
            counts=counts or plan.counts,
        )

    def _report(
        self,
        plan: NightPlan,
        night: Night | None = None,
        *,
        steps: tuple[Any, ...] = (),
        dry_run: bool = False,
        size_bytes: int = 0,
        attempt: Attempt | None = None,
        counts: Counts | None = None,
        number: int | None = None,
        removed: tuple[int, ...] = (),
        spared: tuple[int, ...] = (),
    ) -> RefreshReport:
        home = self.home
        serves = None if home is None else home.current
        checks = {} if night is None else night.result_of("checks")
        return RefreshReport(
            home=self._config.home,
            config=self._settings.config,
            dry_run=dry_run,
            steps=steps if night is None else tuple(night.steps),
            before=self._before,
            generation=number,
            serves=serves,
            awaits_approval=number is not None and serves != number,
            counts=counts or plan.counts,
            kept=attempt is not None and not attempt.promoted and plan.base is not None,
            reason="" if attempt is None else attempt.reason,
            checks=() if night is None else night.checks,
            metrics={name: value for name, value in checks.items() if value is not None},
            size_bytes=size_bytes if number is None or home is None else own_bytes(home.folder_of(number)),
            removed=removed,
            spared=spared,
            seconds=time.perf_counter() - self._started_s,
            strict=self._settings.strict,
        )

    def _hook(self, event: str, told: dict[str, Any]) -> None:
        command = getattr(self._config.hooks, event)
        shown = {"home": str(self._config.home), "config": str(self._settings.config), **told}
        call_hook(command, event, shown, self._progress)


def _forced(settings: RefreshSettings) -> str:
    """Why an encoder is judged whatever the triggers say; empty where they decide."""
    if settings.challenger is not None:
        return f"the challenger {Path(settings.challenger).name} was brought"
    return "training was asked for" if settings.retrain else ""


class _Jobs:
    """The jobs, each loaded when it is called: a night without work loads neither torch nor lancedb."""

    def __init__(self, progress: Progress, stop: Stop) -> None:
        self._progress = progress
        self._stop = stop

    def encode(self, settings: EncodeSettings) -> EncodeReport:
        from pinembed.jobs.encode import encode

        # a look at what is to be done says nothing that the run itself would not say again
        return encode(settings, progress=SILENT if settings.dry_run else self._progress, stop=self._stop)

    def audit(self, settings: AuditSettings) -> AuditReport:
        from pinembed.jobs.audit import audit

        return audit(settings, progress=self._progress, stop=self._stop)

    def finetune(self, settings: FinetuneSettings) -> FinetuneReport:
        from pinembed.jobs.finetune import finetune

        return finetune(settings, progress=self._progress)

    def export(self, settings: ExportSettings) -> ExportReport:
        from pinembed.jobs.export import export

        return export(settings, progress=self._progress)

    def verify(self, settings: VerifySettings) -> VerifyReport:
        from pinembed.jobs.verify import verify

        return verify(settings, progress=self._progress)

    def trim(self, settings: TrimSettings) -> TrimReport:
        from pinembed.jobs.trim import trim

        return trim(settings, progress=self._progress)

    def align(self, settings: AlignSettings) -> AlignReport:
        from pinembed.jobs.align import align

        return align(settings, progress=self._progress, stop=self._stop)

    def evaluate(self, settings: EvaluateSettings) -> EvaluateReport:
        from pinembed.jobs.evaluate import evaluate

        return evaluate(settings, progress=self._progress)
