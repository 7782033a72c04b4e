"""A challenger: an encoder that was tuned tonight or brought from elsewhere, and what the gate says of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pinembed.errors import UsageError
from pinembed.generation.build import clone_folder
from pinembed.generation.record import ENCODER, table_in
from pinembed.nightly.calls import Jobs
from pinembed.nightly.config import RefreshConfig, Retrain
from pinembed.nouns.scores import Scores, Verdict
from pinembed.settings.training import EvaluateSettings, FinetuneSettings


@dataclass(frozen=True, kw_only=True)
class Challenger:
    """An encoder that wants the champion's place.

    Attributes:
        promoted: the gate would give it.
        reason: why, or why not.
        verdicts: beside each rival; empty where there is nothing to compare.
        scores: on the gate's split; None where there is none. `champion_scores` are those of the encoder in use.
    """

    fingerprint: str
    promoted: bool
    reason: str
    verdicts: Sequence[Verdict]
    scores: Scores | None
    champion_scores: Scores | None


def tune(jobs: Jobs, config: RefreshConfig, base: Path | None, out: Path) -> Challenger:
    """Train one.

    Args:
        jobs: to call.
        config: what is wanted.
        base: folder of the generation in use; None for a first one.
        out: folder for the encoder.
    """
    report = jobs.finetune(_finetune_settings(config, base, out))
    gate = report.gate
    return Challenger(
        fingerprint=report.fingerprint,
        promoted=report.promoted,
        reason=report.reason,
        verdicts=[] if gate is None else [gate.verdict, *([gate.champion.verdict] if gate.champion else [])],
        scores=None if gate is None else gate.tuned,
        champion_scores=None if gate is None else gate.champion.against.scores if gate.champion else gate.base,
    )


def _finetune_settings(config: RefreshConfig, base: Path | None, out: Path) -> FinetuneSettings:
    options, start = dict(config.finetune), (config.retrain or Retrain()).start
    champion = None if base is None else str(base / ENCODER)
    begins = config.encoder if champion is None or start == "base" else champion
    if begins == champion:
        champion = None  # the base is the champion: one comparison says it all
        options.pop("random_init", None)
    if config.audit is not None and base is not None:
        options.setdefault("flags_from", table_in(base))
    return FinetuneSettings(data=config.images, base=begins, champion=champion, out=out, overwrite=True, **options)


def take(jobs: Jobs, config: RefreshConfig, base: Path | None, out: Path, brought: str) -> Challenger:
    """Judge one that was trained elsewhere, on the questions that a training's gate would ask.

    Raises:
        UsageError: there is no encoder in use yet.
    """
    if base is None:
        raise UsageError(
            f"--challenger {brought} has no encoder in use to be judged beside.",
            remedy="Name it as `encoder` in CONFIG: the first generation begins with it.",
        )
    known = {found.name for found in dataclasses.fields(EvaluateSettings)}
    options = {name: value for name, value in config.finetune.items() if name in known}
    report = jobs.evaluate(
        EvaluateSettings(data=config.images, encoder=brought, against=(str(base / ENCODER),), **options)
    )
    put_encoder(brought, out, is_ours=False)
    [comparison] = report.comparisons
    return Challenger(
        fingerprint=report.encoder.fingerprint,
        promoted=comparison.verdict.promoted,
        reason=comparison.verdict.reason,
        verdicts=[comparison.verdict],
        scores=report.encoder.scores,
        champion_scores=comparison.against.scores,
    )


def put_encoder(origin: str, place: Path, *, is_ours: bool) -> None:
    """Put an encoder into a generation: linked where it is one of the home's own, else copied."""
    from pinembed.encoder.locate import encoder_spec, locate_encoder

    files = locate_encoder(origin)
    encoder_spec(files)  # refuses what has no weights
    if files.folder is not None:
        clone_folder(files.folder, place, link=is_ours)
    else:
        from pinembed.encoder.encoder import load_encoder
        from pinembed.encoder.save import copy_encoder
        from pinembed.outfolder import staged_folder

        with staged_folder(place, kind="encoder") as folder:
            copy_encoder(load_encoder(origin), folder)
