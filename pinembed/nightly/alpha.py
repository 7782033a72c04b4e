"""How sure a promotion has to be, so that a year of trainings promotes hardly ever by chance.

A gate at .025 a night promotes a challenger that is no better up to nine times a year. Here each training may spend a
52nd of what is left of a year's error: a false promotion every ten years by default, however often it trains and
however much the nights' judging items overlap, for the parts add up to no more (Bonferroni). What was spent comes back
after a year.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from pinembed.generation.ledger import Attempt
from pinembed.nouns.scores import Estimate, Verdict

PARTS = 52  # a training a week spends two thirds of the year's error
YEAR = timedelta(days=365)


def alpha_of_next(attempts: Sequence[Attempt], per_year: float, *, now: datetime) -> float:
    """Probability of a false promotion that the next training is allowed."""
    recent = [attempt.alpha for attempt in attempts if now - datetime.fromisoformat(attempt.at) < YEAR]
    return max(0.0, per_year - sum(recent)) / PARTS


def p_of_gain(verdict: Verdict) -> float:
    """Probability of a gain this large by chance, one-sided, from the verdict's 95 % interval of the mean mAP."""
    return p_of_estimate(verdict.mean_map, verdict.clusters)


def p_of_estimate(found: Estimate, clusters: int) -> float:
    """As `p_of_gain`; the wider side of the interval tells the standard error, by Student's t."""
    from scipy import stats  # late: a night without anything to do waits for no statistics

    freedom = max(clusters - 1, 1)
    reach = max(found.high - found.value, found.value - found.low)
    error = reach / float(stats.t.ppf(0.975, freedom))
    if error <= 0:
        return 0.0 if found.value > 0 else 1.0
    return float(stats.t.sf(found.value / error, freedom))


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Whether a challenger takes the champion's place.

    Attributes:
        promoted: it does.
        p: probability of its gain by chance; None where nothing could be compared.
        reason: why, or why not; a sentence.
    """

    promoted: bool
    p: float | None
    reason: str


def judge(
    verdicts: Sequence[Verdict], *, promoted: bool, reason: str, alpha: float, fingerprint: str, refused: set[str]
) -> Judgement:
    """The gate's own verdict, made stricter by what the year has left, and by what was rolled back.

    Args:
        verdicts: beside the champion, and beside the base where that is another; empty where there is none to compare.
        promoted: what `finetune` or `evaluate` decided.
        reason: why.
        alpha: that this training may spend.
        fingerprint: of the challenger.
        refused: fingerprints of encoders that were rolled back.
    """
    p = max((p_of_gain(verdict) for verdict in verdicts), default=None)
    if not promoted:
        return Judgement(promoted=False, p=p, reason=reason)
    if fingerprint in refused:
        why = f"The champion stays: encoder {fingerprint} was rolled back; `pinembed switch` takes it back."
        return Judgement(promoted=False, p=p, reason=why)
    if p is not None and p > alpha:
        why = (
            f"The champion stays: the gain may be chance (p = {p:.2g}; what is left of the year's error allows "
            f"{alpha:.2g}). {reason}"
        )
        return Judgement(promoted=False, p=p, reason=why)
    return Judgement(promoted=True, p=p, reason=reason)


def now_utc() -> datetime:
    return datetime.now(timezone.utc)
