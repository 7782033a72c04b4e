"""A year of trainings promotes hardly ever by chance, and a better encoder all the same."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
import torch

from pinembed.generation.ledger import Attempt
from pinembed.metrics.verdict import decide
from pinembed.nightly.alpha import PARTS, Judgement, alpha_of_next, judge, p_of_estimate
from pinembed.nouns.scores import Estimate, Verdict
from tests.benchmarks.gate_false_alarms import DIM, measured

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
PRODUCTS, VIEWS = 40, 2
PER_YEAR = 0.1


def attempt(alpha: float, day: float = 0.0) -> Attempt:
    at = (NOW + timedelta(days=day)).isoformat()
    return Attempt(at=at, fingerprint="f", promoted=False, alpha=alpha, p=None, reason="", changed=0)


def test_all_trainings_of_a_year_spend_no_more_than_its_error() -> None:
    attempts: list[Attempt] = []
    for day in range(365):
        now = NOW + timedelta(days=day)
        attempts.append(attempt(alpha_of_next(attempts, PER_YEAR, now=now), day))
    assert PER_YEAR * 0.99 < sum(found.alpha for found in attempts) < PER_YEAR
    assert attempts[0].alpha == PER_YEAR / PARTS


def test_what_was_spent_comes_back_after_a_year() -> None:
    spent = [attempt(PER_YEAR)]
    assert alpha_of_next(spent, PER_YEAR, now=NOW + timedelta(days=364)) == 0
    assert alpha_of_next(spent, PER_YEAR, now=NOW + timedelta(days=366)) == PER_YEAR / PARTS


def test_p_of_a_gain_is_that_of_its_interval() -> None:
    assert p_of_estimate(Estimate(value=1.96, low=0.0, high=3.92), 10_000) == pytest.approx(0.025, abs=1e-4)
    assert p_of_estimate(Estimate(value=0.0, low=-1.0, high=1.0), 100) == 0.5
    assert p_of_estimate(Estimate(value=0.5, low=0.5, high=0.5), 100) == 0.0
    assert p_of_estimate(Estimate(value=0.0, low=0.0, high=0.0), 100) == 1.0


def judged(verdict: Verdict, alpha: float, refused: frozenset[str] = frozenset()) -> Judgement:
    return judge(
        [verdict],
        promoted=verdict.promoted,
        reason=verdict.reason,
        alpha=alpha,
        fingerprint="new",
        refused=set(refused),
    )


def test_a_year_of_equal_encoders_promotes_at_most_once_by_chance() -> None:
    random = torch.Generator().manual_seed(0)
    group_N = torch.arange(PRODUCTS).repeat_interleave(VIEWS)
    shared = (torch.randn(PRODUCTS, DIM, generator=random), torch.randn(PRODUCTS, DIM, generator=random))
    shared = (shared[0], shared[0] + 0.5 * shared[1])
    champion = measured(group_N, shared, random)
    attempts: list[Attempt] = []
    by_gate = promoted = 0
    for night in range(365):
        challenger = measured(group_N, shared, random)
        alpha = alpha_of_next(attempts, PER_YEAR, now=NOW + timedelta(days=night))
        verdict = decide(challenger, champion, seed=night)
        found = judged(verdict, alpha)
        by_gate += verdict.promoted
        promoted += found.promoted
        attempts.append(attempt(alpha, night))
        champion = challenger if found.promoted else champion
    assert promoted <= 1
    assert by_gate >= promoted


def test_a_better_encoder_is_promoted_also_late_in_the_year() -> None:
    random = torch.Generator().manual_seed(0)
    group_N = torch.arange(PRODUCTS).repeat_interleave(VIEWS)
    place_GD = torch.randn(PRODUCTS, DIM, generator=random)
    noise_GD = torch.randn(PRODUCTS, DIM, generator=random)
    challenger = measured(group_N, (place_GD, place_GD + 0.2 * noise_GD), random)
    champion = measured(group_N, (place_GD, place_GD + 1.5 * noise_GD), random)
    attempts = [attempt(PER_YEAR / PARTS, day) for day in range(40)]
    alpha = alpha_of_next(attempts, PER_YEAR, now=NOW + timedelta(days=41))
    found = judged(decide(challenger, champion), alpha)
    assert found.promoted, found.reason
    assert found.p is not None
    assert found.p < alpha < 0.001


def test_a_gain_that_may_be_chance_and_an_encoder_that_was_rolled_back_are_kept_out() -> None:
    random = torch.Generator().manual_seed(0)
    group_N = torch.arange(PRODUCTS).repeat_interleave(VIEWS)
    place_GD = torch.randn(PRODUCTS, DIM, generator=random)
    challenger = measured(group_N, (place_GD, place_GD), random)
    champion = measured(group_N, (place_GD, place_GD + 2 * torch.randn(PRODUCTS, DIM, generator=random)), random)
    verdict = decide(challenger, champion)
    assert verdict.promoted
    assert "may be chance" in judged(verdict, 0.0).reason
    assert "was rolled back" in judged(verdict, 0.01, frozenset({"new"})).reason
