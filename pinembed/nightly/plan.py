"""What a night has to do, and why: decided from the last generation, the images and CONFIG before anything is made."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta

from pinembed.generation.ledger import Ledger
from pinembed.generation.record import Generation
from pinembed.nightly.audit_step import audit_digest
from pinembed.nightly.config import RefreshConfig, digest_of
from pinembed.nouns.run_record import Counts
from pinembed.reports.refresh import StepReport


@dataclass(frozen=True, kw_only=True)
class DiskNeed:
    """Bytes that a run will write, by what they are for; estimates, rather too large."""

    encoder: int = 0
    table: int = 0
    source: int = 0
    model: int = 0

    @property
    def total(self) -> int:
        return self.encoder + self.table + self.source + self.model


def option_digests(config: RefreshConfig) -> dict[str, str]:
    """Digests of what decides each part beside images and encoder; a generation remembers them."""
    found = {step: config.digest(step) for step in ("encode", "export")}
    if config.audit is not None:
        found["audit"] = audit_digest(config)
    if config.model is not None:
        found["model"] = digest_of(config.model, config.align)
    return found


@dataclass(frozen=True, kw_only=True)
class NightPlan:
    """Why each step is due; empty where it is not.

    Attributes:
        base: the generation that the next one is begun from; None for a first one.
        counts: what encode would do.
        train: why a training is due.
        table: why the table changes.
        edited: steps whose options are others than the base was made with.
    """

    base: Generation | None
    counts: Counts
    train: str
    table: str
    edited: tuple[str, ...]

    @property
    def is_idle(self) -> bool:
        """There is nothing to do."""
        return not (self.train or self.table or self.edited)

    @property
    def needs_only_training(self) -> bool:
        """Where the champion stays, the last generation stays as it is."""
        return self.base is not None and not (self.table or self.edited)

    @property
    def why(self) -> str:
        """A sentence for the list of generations."""
        edited = f"options of {', '.join(self.edited)} changed" if self.edited else ""
        return "; ".join(filter(None, (self.table, self.train, edited)))

    def steps(self, config: RefreshConfig, need: DiskNeed, last_s: dict[str, float]) -> tuple[StepReport, ...]:
        """The steps in their order, each with its reason, its time last night and its disk."""
        base = self.base
        begun = "a hard-link clone of the last" if base is not None else "a new one"
        listed = [
            ("finetune", self.train, need.encoder),
            ("encoder", "the winner of the gate" if self.train else "the one in use" if base else config.encoder, 0),
            ("table", begun if not self.train else f"{begun}, or a new one where a challenger wins", 0),
            ("encode", self.table or "nothing new", need.table),
            ("audit", "" if config.audit is None else "[audit] is given", 0),
            ("export", "from the table", need.source),
            ("model", "" if config.model is None else "for the encoder of this generation", need.model),
            ("evaluate", "" if config.evaluate is None else "[evaluate] is given", 0),
            ("yardstick", "data under [evaluate]" if config.yardstick is not None else "", 0),
            ("checks", "before it serves", 0),
            ("report", "what changed", 0),
        ]
        return tuple(
            StepReport(name=name, state="planned", why=why, seconds=last_s.get(name), size_bytes=size_bytes)
            for name, why, size_bytes in listed
            if why
        )


def make_plan(
    config: RefreshConfig,
    ledger: Ledger,
    base: Generation | None,
    counts: Counts,
    *,
    known_failures: int,
    forced: str,
    now: datetime,
) -> NightPlan:
    """Compare what is there with what the base was made from.

    Args:
        config: what is wanted.
        ledger: what was tried before.
        base: the generation in use, or the one that waits for approval.
        counts: what a dry run of encode found.
        known_failures: of its failures, those that were known.
        forced: why an encoder is judged whatever the triggers say; empty where they decide.
        now: in UTC.
    """
    options = option_digests(config)
    edited = () if base is None else tuple(sorted(step for step in options if options[step] != base.options.get(step)))
    table = _table_reason(base, counts, known_failures)
    plan = NightPlan(base=base, counts=counts, train="", table=table, edited=edited)
    return dataclasses.replace(plan, train=_training_reason(config, ledger, plan, forced=forced, now=now))


def _table_reason(base: Generation | None, counts: Counts, known_failures: int) -> str:
    if base is None:
        return f"first generation, {counts.added:,} items"
    changed = {
        "new": counts.added,
        "changed": counts.updated,
        "gone": counts.removed or 0,
        "newly unreadable": counts.failed - known_failures,
    }
    return ", ".join(f"{count:,} {what}" for what, count in changed.items() if count > 0)


def _training_reason(config: RefreshConfig, ledger: Ledger, plan: NightPlan, *, forced: str, now: datetime) -> str:
    retrain = config.retrain
    if forced or retrain is None:
        return forced
    if not ledger.attempts:
        return "the encoder was never trained on this catalogue"
    changed = ledger.changed + plan.counts.added + plan.counts.updated
    share = changed / max(plan.counts.rows or 0, 1)
    if share >= retrain.new_share and changed:
        return f"{share:.0%} of the items are new since the last training"
    age = now - datetime.fromisoformat(ledger.attempts[-1].at)
    if retrain.days and age >= timedelta(days=retrain.days):
        return f"the last training is {age.days} days old"
    return ""
