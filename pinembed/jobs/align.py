"""Align: train the projector of a trimmed model from an embedding source and metadata alone.

Images are opened for one thing only: the look for near duplicates, where a hash makes the split.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.outfolder import check_output, staged_folder
from pinembed.reports.align import AlignReport, AlignSettings
from pinembed.trimmed.align_dataset import AlignDataset, read_align_dataset
from pinembed.trimmed.align_evaluator import judge, own_share, quick_accuracy
from pinembed.trimmed.align_loop import Alignment, train
from pinembed.trimmed.align_recipe import BATCH_SIZE, AlignOverrides, choose_recipe, settle, trains_language_model
from pinembed.trimmed.align_write import adapt_projector, give_projector, write_model
from pinembed.trimmed.checkpoint import file_stamps, read_checkpoint
from pinembed.trimmed.dialogues import OwnDialogue, about, read_dialogues
from pinembed.trimmed.model import TrimmedModel
from pinembed.trimmed.questions import QuestionMaker, choose_fields


def align(
    *,
    data: Path,
    model: Path,
    source: Path,
    out: Path,
    fields: Sequence[str] = (),
    dialogues: Path | None = None,
    group: str | None = None,
    old_source: Path | None = None,
    epochs: int | None = None,
    minutes: float | None = None,
    seed: int = 0,
    tokens: int | None = None,
    train_language_model: bool | None = None,
    lora: int | None = None,
    batch_size: int = BATCH_SIZE,
    lr: float | None = None,
    language_lr: float | None = None,
    noise: float | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
    stop: Stop | None = None,
) -> AlignReport:
    """Teach a trimmed model to read a source's embeddings, and measure how well it does on items it never saw.

    A run that was stopped goes on where it was when it is started again with the same settings. What is None follows
    from the model: see `recipe`.

    Args:
        data: DATA folder with metadata; nothing is learnt from its images, which may be anything.
        model: folder that `trim` or an earlier `align` wrote; a projector in it for the same encoder is trained on.
        source: embedding source that holds the items.
        out: folder to write: the model and its projector.
        fields: metadata columns to ask about; by default those of short values that repeat.
        dialogues: JSON lines of `items`, `question` and `answer` that are trained on beside the made ones; those about
            held-out items judge.
        group: column by which DATA without a split column is divided; the one of `finetune`.
        old_source: source that the model's projector was trained on; a linear map from `source` to it, fitted on the
            training items of both, takes the place of the training unless `epochs` asks for more.
        epochs: passes over the training items; by default as many as their number wants.
        minutes: limit of the training; the rate falls to its end within it.
        seed: of weights, questions and noise.
        tokens: K, soft tokens an item; by default those of the model's projector, or 4.
        train_language_model: let the language model learn too; by default where it is small, as one from scratch is.
        lora: let low-rank layers of this rank learn in its place; they are merged into the written weights.
        batch_size: questions of one step.
        lr: peak rate of the projector.
        language_lr: peak rate of the language model or of the low-rank layers.
        noise: spread of the noise on the embeddings, in each feature's own spread.
        overwrite: replace an `out` that pinembed wrote.
        device: `auto`, `cpu`, `cuda` ...
        progress: told each step.
        stop: asked between two steps.

    Raises:
        DataError: no metadata, no field to ask about, no split to judge by, no item in the source.
        UsageError: an unknown field, or numbers that cannot be meant.
        ModelError: no trimmed model.
        TrainingError: the loss is not finite.
        StoppedError: a signal; the state is stored.
        SourceError, OutputExistsError, MissingExtraError: as elsewhere.
    """
    began = time.perf_counter()
    check_output(out, overwrite=overwrite)
    dataset = read_align_dataset(data, source, group=group, progress=progress)
    if dataset.copies:
        copy, original = dataset.copies[0]
        progress.say(
            f"{len(dataset.copies)} {dataset.held_out_split} item(s) have nearly the embedding of a training item, "
            f"e.g. {copy} that of {original}: positives about such say little about unseen items."
        )
    chosen = choose_fields(dataset.train.items, dataset.held_out.items, wanted=fields, origin=data)
    told = [name for name in chosen if name in dataset.fused]
    if told:
        progress.say(
            f"The embeddings carry {', '.join(told)} beside the image, so answers about that need not come from the "
            "picture; `finetune --fusion off` makes embeddings of images alone."
        )
    own = [] if dialogues is None else read_dialogues(dialogues)
    overrides = AlignOverrides(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        language_lr=language_lr,
        train_language_model=train_language_model,
        lora=lora,
        noise=noise,
        minutes=minutes,
        seed=seed,
    )
    recipe = choose_recipe(read_checkpoint(model))
    trimmed = TrimmedModel.load(
        model,
        device=choose_device(device),
        dtype="float32" if trains_language_model(overrides, recipe) else "auto",
    )
    adapter_cosine = None
    if old_source is None:
        give_projector(trimmed, dataset, tokens=tokens, seed=seed)
    else:
        adapter_cosine = adapt_projector(trimmed, dataset, old_source)
    settings = settle(
        overrides,
        recipe,
        fields=chosen,
        tokens=trimmed.require_projector().config.tokens,
        items=len(dataset.train.items),
        adapts=old_source is not None,
    )
    questions = QuestionMaker(dataset.train.items, chosen, seed=seed, own=about(own, dataset.train.items))
    run = Alignment(trimmed, dataset.train.embeddings_ND, questions, settings)
    trained = sum(parameter.numel() for parameter in run.parameters)
    state = out.parent / f".{out.name}.align-state.safetensors"
    earlier_s = _train(run, dataset, state, _key(settings, dataset, model, own, old_source), progress, stop or Stop())
    progress.start("judging on held-out items")
    scores, comparisons, by_tokens = judge(trimmed, dataset, chosen, seed=seed)
    report = AlignReport(
        out=str(out),
        settings=settings,
        encoder_fingerprint=dataset.fingerprint,
        held_out=dataset.held_out_split,
        train_items=len(dataset.train.items),
        held_out_items=len(dataset.held_out.items),
        missing=dataset.missing,
        trained_parameters=trained,
        fields=scores,
        comparisons=comparisons,
        own_dialogues=own_share(trimmed, dataset, about(own, dataset.held_out.items)),
        adapter_cosine=adapter_cosine,
        by_tokens=by_tokens,
        epochs=tuple(run.standing.epochs),
        kept_epoch=run.standing.kept_epoch,
        seconds=earlier_s + time.perf_counter() - began,
    )
    with staged_folder(out, kind="aligned model", overwrite=overwrite) as folder:
        write_model(folder, trimmed, model, report, progress)
    state.unlink(missing_ok=True)
    progress.finish()
    return report


def _train(run: Alignment, dataset: AlignDataset, state: Path, key: str, progress: Progress, stop: Stop) -> float:
    """All epochs, watched on the selection items; returns the seconds that earlier parts of the run took."""
    select = QuestionMaker(dataset.select.items, run.settings.fields, seed=run.settings.seed)
    earlier_s = train(
        run,
        state=state,
        key=key,
        watch=lambda: quick_accuracy(run.model, dataset.select.embeddings_ND, select),
        progress=progress,
        stop=stop,
    )
    run.take_kept()
    if run.low_rank is not None:
        run.low_rank.merge()
    return earlier_s


def _key(
    settings: AlignSettings,
    dataset: AlignDataset,
    model: Path,
    own: Sequence[OwnDialogue],
    old_source: Path | None,
) -> str:
    """What a stored state must agree with before a run goes on from it."""
    identity = [
        asdict(settings),
        dataset.fingerprint,
        [item.id for item in dataset.train.items],
        file_stamps(model),
        [asdict(dialogue) for dialogue in own],
        None if old_source is None else str(old_source.resolve()),
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
