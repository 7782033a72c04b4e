"""The finetune job: data, base and recipe to the best weights of the run, or the base back."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from pinembed.catalogue.splits import TRAIN, VALIDATION
from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.encoder.save import licence_of
from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_output, staged_folder
from pinembed.reports.finetune import FinetuneReport, FinetuneSettings
from pinembed.training.card import write_card
from pinembed.training.checkpoint import Checkpoint, key_of
from pinembed.training.datasets import DatasetSplits, SplitDataset, load_split, read_splits
from pinembed.training.epochs import Epochs, TrainedRun
from pinembed.training.evaluator import Evaluator, epoch_record
from pinembed.training.fusion import FusionStep, parse_fusion_options
from pinembed.training.gate import CHAMPION, Gate, decide_run, open_gate
from pinembed.training.interpolation import Interpolation, choose_interpolation
from pinembed.training.recalibration import BatchNormRecalibration
from pinembed.training.recipe import AUTO, Recipe, RecipeOverrides, make_recipe
from pinembed.training.world import join_world
from pinembed.training.write import (
    CURVES_NAME,
    GATE_NAME,
    keep_champion,
    write_curves,
    write_encoder,
    write_gate_plot,
    write_run,
)
from pinembed.version import __version__


def finetune(
    *,
    data: Path,
    base: str,
    out: Path,
    random_init: bool = False,
    text: Sequence[str] = (),
    template: str | None = None,
    group: str | None = None,
    champion: str | None = None,
    slices: Sequence[str] = (),
    fusion: str = "auto",
    epochs: int | None = None,
    seed: int = 0,
    minutes: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    loss: str = AUTO,
    lora: int | None = None,
    matryoshka: bool = False,
    precision: str = AUTO,
    heads: bool = True,
    l2sp: float = 0.0,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> FinetuneReport:
    """Tune an encoder on a catalogue's images and texts and write the best weights of the run, or the base's.

    The base is measured on the validation split before the first step and stays a candidate; blends of base and tuned
    weights are candidates too. What was chosen has to pass the gate on the test split, which neither trains nor
    selects. Random weights are no base that anybody wants back: with random_init the best epoch is kept.
    A run that was killed goes on from its last whole epoch when it is called again in the same way. Under `torchrun` or
    `accelerate launch` the processes share each batch; the first one selects, judges and writes.

    Args:
        data: DATA folder with metadata.
        base: ENCODER reference, or an architecture with random_init.
        out: folder to write.
        random_init: start from random weights drawn from `seed`.
        text: columns that make an item's text, each with a weight if it should be spoken more often: `title=3`; by
            default those of a usual name.
        template: a sentence with columns in braces that makes the text instead.
        group: column whose equal values are positives of each other.
        champion: ENCODER in use; it has to be beaten at the gate as well, and comes back where it is not.
        slices: columns whose values cut the test split into slices, none of which may become worse.
        fusion: `auto` makes metadata a part of an item's vector where that finds items better for certain, `off` never
            does, and `image=.9,title=.1` gives the weights.
        epochs: passes over the training split; by default as many as its size wants.
        seed: of everything random.
        minutes: time for training; the epochs are cut to it.
        batch_size: images of a step.
        lr: peak learning rate of the last layer.
        loss: between images and texts: `clip`, `siglip`, or `auto` for the one that the base was trained with.
        lora: learn updates of this rank in place of the weights.
        matryoshka: prefixes of the embedding learn to serve alone.
        precision: `fp32`, `bf16`, or `auto` for the faster one.
        heads: fit the towers' last layers before the rest.
        l2sp: pull of all steps together towards the weights at the start; 0 for none.
        overwrite: replace a folder that pinembed wrote.
        device: torch device or `auto`.
        progress: who watches.

    Raises:
        DataError: the data cannot be used.
        UsageError: an unknown column, split or device.
        EncoderError: the base or the champion cannot be loaded.
        OutputExistsError: `out` holds something.
    """
    started_s = time.monotonic()
    overrides = RecipeOverrides(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        loss=loss,
        lora=lora,
        matryoshka=matryoshka,
        precision=precision,
        heads=heads,
        l2sp=l2sp,
    )
    world = join_world()
    progress = progress if world.is_first else SILENT
    check_output(out, overwrite=overwrite)
    texts = read_splits(data, text=text, template=template, group=group, slices=slices, progress=progress)
    fusion_options = parse_fusion_options(fusion, texts)
    encoder = load_encoder(base, random_init=random_init, seed=seed, device=choose_device(device))
    # early: a champion that cannot be read must not cost a run
    in_use = None if champion is None else load_encoder(champion, device=encoder.device)
    train = load_split(texts.train, texts, encoder.preprocessing, split=TRAIN, progress=progress)
    val = load_split(texts.val, texts, encoder.preprocessing, split=VALIDATION, progress=progress)
    recipe = make_recipe(
        encoder.model,
        overrides,
        train_images=len(train.pixels),
        image_px=encoder.preprocessing.image_px,
        random_init=random_init,
    )
    settings = FinetuneSettings(
        data=str(data),
        base=base,
        champion=champion,
        random_init=random_init,
        text=texts.captioner.told,
        group=group,
        seed=seed,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.rates.image,
        minutes=minutes,
        device=str(encoder.device),
    )
    progress.say(
        f"{len(train.pixels):,} training images with {len(train.labelled.texts):,} texts, {len(val.pixels):,} for "
        f"validation; {recipe.epochs} epochs of batches of {recipe.batch_size}, rate {recipe.rates.image:.1e}"
    )
    checkpoint = Checkpoint(out, _key(settings, recipe, encoder, train, val))
    evaluator = Evaluator(encoder, val, progress)
    recalibration = BatchNormRecalibration(encoder, recipe, train, seed=seed, progress=progress)
    run = Epochs(
        encoder,
        recipe,
        train,
        evaluator,
        recalibration,
        captioner=texts.captioner,
        checkpoint=checkpoint,
        seed=seed,
        minutes=minutes,
        world=world,
        progress=progress,
    ).run()
    if not world.is_first:
        return cast(FinetuneReport, world.end(None))
    interpolation = _blend(run, evaluator, recalibration, random_init=random_init, progress=progress)
    opened = _gate(encoder, in_use, texts, interpolation, seed=seed, progress=progress)
    gate = None if opened is None else opened.judge(run.base_weights, interpolation.weights)
    decision = decide_run(
        gate,
        has_candidate=interpolation.alpha > 0,
        stopped=run.stopped,
        random_init=random_init,
        has_champion=in_use is not None,
    )
    items = FusionStep(encoder, texts, fusion_options, seed=seed, progress=progress)
    fused = items.decide(interpolation.weights, val, opened) if decision.promoted else None
    with staged_folder(out, kind="encoder", overwrite=overwrite) as folder:
        if decision.kept == CHAMPION and in_use is not None:
            spec = keep_champion(folder, in_use)
        else:
            weights = interpolation.weights if decision.promoted else run.base_weights
            stored = encoder.files.fusion if not decision.promoted else None if fused is None else fused.fusion
            spec = write_encoder(folder, encoder, weights, stored)
        has_curves = write_curves(folder, run, progress)
        has_gate_plot = write_gate_plot(folder, gate, progress)
        report = FinetuneReport(
            out=out,
            promoted=decision.promoted,
            kept=decision.kept,
            reason=decision.reason,
            fingerprint=spec.fingerprint,
            settings=settings,
            train_images=len(train.pixels),
            val_images=len(val.pixels),
            texts=len(train.labelled.texts),
            pixels=train.pixels.report,
            broken=(*train.pixels.broken, *val.pixels.broken),
            data=texts.report,
            epochs=run.records,
            heads=run.heads,
            best_epoch=interpolation.epoch,
            alpha=interpolation.alpha,
            chosen=epoch_record(interpolation.epoch, interpolation.scores, seconds=run.records[-1].seconds),
            gate=gate,
            fusion=fused,
            stopped=run.stopped,
            seconds=time.monotonic() - started_s,
            images_per_s=run.shown / run.training_s if run.shown else 0.0,
            curves=out / CURVES_NAME if has_curves else None,
            gate_plot=out / GATE_NAME if has_gate_plot else None,
        )
        write_run(folder, report, recipe, spec, encoder, run.losses)
        came_from = in_use if decision.kept == CHAMPION and in_use is not None else encoder
        write_card(folder, report, recipe, licence_of(came_from.files))
    checkpoint.remove()
    return world.end(report)


def _key(settings: FinetuneSettings, recipe: Recipe, encoder: Encoder, train: SplitDataset, val: SplitDataset) -> str:
    """Of everything that decides the weights; a random base is decided by its architecture and seed."""
    seen = [
        [
            [item.file_name, text]
            for item, text in zip(examples.labelled.items, examples.labelled.text_of_N.tolist(), strict=True)
        ]
        for examples in (train, val)
    ]
    return key_of(
        settings=dataclasses.asdict(settings),
        recipe=dataclasses.asdict(recipe),
        base=None if settings.random_init else encoder.spec.fingerprint,
        seen=seen,
        texts=[train.labelled.texts, val.labelled.texts],
        versions=[__version__, torch.__version__],
    )


def _blend(
    run: TrainedRun,
    evaluator: Evaluator,
    recalibration: BatchNormRecalibration,
    *,
    random_init: bool,
    progress: Progress,
) -> Interpolation:
    base = Interpolation(alpha=0.0, epoch=0, weights=run.base_weights, scores=run.base_scores)
    candidates = [base]
    if run.heads_scores is not None and run.stopped is None:
        candidates.append(Interpolation(alpha=1.0, epoch=0, weights=run.heads_weights, scores=run.heads_scores))
    if run.best_epoch:
        weights = recalibration.completed(run.best_weights)
        scores = evaluator.measure_weights(weights, "measuring the best epoch")
        candidates.append(Interpolation(alpha=1.0, epoch=run.best_epoch, weights=weights, scores=scores))
    if random_init or len(candidates) == 1:
        return candidates[-1]
    return choose_interpolation(evaluator, recalibration, candidates, progress)


def _gate(
    encoder: Encoder,
    champion: Encoder | None,
    texts: DatasetSplits,
    interpolation: Interpolation,
    *,
    seed: int,
    progress: Progress,
) -> Gate | None:
    """The last word, where there is a split for it and something other than the base to judge."""
    if interpolation.alpha == 0:
        return None
    return open_gate(encoder, texts, champion=champion, seed=seed, progress=progress)
