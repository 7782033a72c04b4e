"""Which weights the output folder holds at the end."""

from __future__ import annotations

from dataclasses import dataclass

from pinembed.nouns.finetune_report import GateReport

TUNED, BASE, CHAMPION = "tuned", "base", "champion"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The end of a run.

    Attributes:
        kept: `tuned`, `base` or `champion`.
        reason: why; a sentence.
    """

    kept: str
    reason: str

    @property
    def promoted(self) -> bool:
        return self.kept == TUNED


def decide_run(
    gate: GateReport | None, *, has_candidate: bool, stopped: str | None, random_init: bool, has_champion: bool
) -> Decision:
    """Tuned weights only where everything that can judge them says so.

    Args:
        gate: what the gate split said; None where there is none, or nothing to judge.
        has_candidate: validation chose something other than the base.
        stopped: why training ended early.
        random_init: the base is random weights, which nobody wants back.
        has_champion: an encoder is in use; without a gate it keeps its place.
    """
    rival = CHAMPION if has_champion else BASE
    if not has_candidate:
        why = stopped or "no epoch, and no blend with the base, was better on validation in every direction."
        return Decision(kept=rival, reason=f"The {rival} stays: {why}")
    if gate is None and has_champion:
        return Decision(kept=CHAMPION, reason="The champion stays: there is no test split for the gate to judge on.")
    if random_init and not has_champion:
        return Decision(kept=TUNED, reason="Trained from random weights; there is no base to keep.")
    if gate is None:
        why = "Chosen on the validation split; there is no test split for the gate to judge on."
        return Decision(kept=TUNED, reason=why)
    return _by_gate(gate)


def _by_gate(gate: GateReport) -> Decision:
    """The champion, where there is one, has the first word; a win over both is told by its figures."""
    beside = gate.champion
    if beside is not None and not beside.verdict.promoted:
        return Decision(kept=CHAMPION, reason=f"Against the champion: {beside.verdict.reason}")
    if not gate.verdict.promoted:
        where = "" if beside is None else "Against the base: "
        return Decision(kept=BASE if beside is None else CHAMPION, reason=where + gate.verdict.reason)
    return Decision(kept=TUNED, reason=gate.verdict.reason if beside is None else beside.verdict.reason)
