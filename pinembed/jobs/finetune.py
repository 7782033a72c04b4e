"""The finetune job: data, base and recipe to the best weights of the run, or the base back."""

from __future__ import annotations

import dataclasses
import time
from typing import cast

import torch

from pinembed.catalogue.split_words import TRAIN, VALIDATION
from pinembed.disk import remove_tree
from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.encoder.reload import check_written
from pinembed.encoder.save import licence_of
from pinembed.flags.hidden import leave_out
from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_output, check_space, staged_folder
from pinembed.reports.finetune import FinetuneReport, RunSettings
from pinembed.settings.training import FinetuneSettings
from pinembed.training.all_images import AllImages
from pinembed.training.card import write_card
from pinembed.training.checkpoint import Checkpoint, key_of
from pinembed.training.datasets import (
    SplitDataset,
    fit_texts,
    load_split,
    read_splits,
    sample_of,
    with_training_items,
)
from pinembed.training.epochs import Epochs, TrainedRun
from pinembed.training.evaluator import (
    BatchNormRecalibration,
    Evaluator,
    Interpolation,
    choose_interpolation,
    epoch_record,
)
from pinembed.training.gate import CHAMPION, FusionStep, decide_run, open_gate, parse_fusion_options
from pinembed.training.recipe import Recipe, make_recipe
from pinembed.training.untaught import put_untaught, write_untaught
from pinembed.training.world import join_world, refuse_several_processes
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


def finetune(settings: FinetuneSettings, *, progress: Progress = SILENT) -> FinetuneReport:
    """Tune an encoder on a catalogue's images and texts and write the best weights of the run, or the base's.

    The base is measured on the validation split before the first step and stays a candidate; blends of base and tuned
    weights are candidates too. What was chosen has to pass the gate on the test split, which neither trains nor
    selects. Random weights are no base that anybody wants back: with random_init the best epoch is kept.
    A run that was killed goes on from its last whole epoch when it is called again in the same way. Under `torchrun` or
    `accelerate launch` the processes share each batch; the first one selects, judges and writes.

    Raises:
        DataError: the data cannot be used.
        UsageError: an unknown column, split or device, or flags to compare in several processes.
        EncoderError: the base or the champion cannot be loaded.
        OutputExistsError: `out` holds something.
    """
    if not settings.compare_flags:
        return _finetune(settings, None, progress)
    refuse_several_processes()
    check_output(settings.out, overwrite=settings.overwrite)
    beside = settings.out.with_name(f".{settings.out.name}.all-images")
    on_all = dataclasses.replace(
        settings, out=beside, flags_from=None, compare_flags=False, champion=None, fusion="off", overwrite=True
    )
    try:
        progress.say("training on all images, to compare with")
        kept = _finetune(on_all, None, progress).kept
        progress.say(f"on all images: {kept}; training without what is confirmed to be flagged")
        unflagged = load_encoder(str(beside), device=choose_device(settings.device))
        return _finetune(settings, unflagged, progress)
    finally:
        remove_tree(beside)


def _finetune(settings: FinetuneSettings, unflagged: Encoder | None, progress: Progress) -> FinetuneReport:
    """One training; `unflagged` is that on all images, which the gate compares with."""
    started_s = time.monotonic()
    world = join_world()
    progress = progress if world.is_first else SILENT
    check_output(settings.out, overwrite=settings.overwrite)
    encoder = load_encoder(
        settings.base, random_init=settings.random_init, seed=settings.seed, device=choose_device(settings.device)
    )
    encoder.check_towers()
    # with a refit, the weights of before lie beside those of after
    check_space(settings.out, 2 * encoder.size_bytes if settings.refit else encoder.size_bytes)
    taught_base = put_untaught(encoder, progress)
    texts = read_splits(
        settings.data,
        text=settings.text,
        template=settings.template,
        group=settings.group,
        slices=settings.slices,
        progress=progress,
    )
    left_out: dict[str, int] = {}
    if settings.flags_from is not None:
        kept, left_out = leave_out(texts.train, settings.data, settings.flags_from)
        texts = with_training_items(texts, kept, settings.data)
        told = ", ".join(f"{count} {check}" for check, count in left_out.items()) or "nothing"
        progress.say(f"left out of training, by confirmed flags of {settings.flags_from}: {told}")
    fusion_options = parse_fusion_options(settings.fusion, texts)
    # early: a champion that cannot be read must not cost a run
    in_use = None if settings.champion is None else load_encoder(settings.champion, device=encoder.device)
    texts = fit_texts(texts, [encoder] if in_use is None else [encoder, in_use], progress)
    train = load_split(texts.train, texts, encoder.preprocessing, split=TRAIN, progress=progress)
    val = load_split(texts.val, texts, encoder.preprocessing, split=VALIDATION, progress=progress)
    image_px = encoder.preprocessing.image_px
    recipe = make_recipe(encoder.model, settings, train_images=len(train.pixels), image_px=image_px)
    made_with = RunSettings(
        data=str(settings.data),
        base=settings.base,
        champion=settings.champion,
        random_init=settings.random_init,
        text=texts.captioner.told,
        group=settings.group,
        seed=settings.seed,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.rates.image,
        minutes=settings.minutes,
        refit=settings.refit,
        device=str(encoder.device),
    )
    progress.say(
        f"{len(train.pixels):,} training images with {len(train.labelled.texts):,} texts, {len(val.pixels):,} for "
        f"validation; {recipe.epochs} epochs of batches of {recipe.batch_size}, rate {recipe.rates.image:.1e}"
    )
    checkpoint = Checkpoint(settings.out, _key(made_with, recipe, encoder, train, val))
    checkpoint.place.tell_others(progress)
    evaluator = Evaluator(encoder, val, progress)
    recalibration = BatchNormRecalibration(encoder, recipe, train, seed=settings.seed, progress=progress)
    run = Epochs(
        encoder,
        recipe,
        train,
        evaluator,
        recalibration,
        captioner=texts.captioner,
        checkpoint=checkpoint,
        seed=settings.seed,
        minutes=settings.minutes,
        world=world,
        progress=progress,
    ).run()
    course = run.course
    interpolation = None
    if world.is_first:
        interpolation = _blend(run, evaluator, recalibration, random_init=settings.random_init, progress=progress)
    all_images = AllImages(
        encoder,
        recipe,
        train,
        val,
        run,
        texts=texts,
        checkpoint=checkpoint,
        seed=settings.seed,
        world=world,
        progress=progress,
    )
    is_tuned = interpolation is not None and interpolation.epoch > 0
    trains_again = world.broadcast(is_tuned and all_images.are_worth_a_training(settings.minutes))
    averaged = all_images.averaged() if trains_again else None
    if interpolation is None:
        return cast(FinetuneReport, world.end(None))
    weights, refit_images = all_images.taught(interpolation, averaged)
    in_base = taught_base or run.base_weights
    opened = None
    if interpolation.alpha > 0:  # there is something other than the base to judge
        opened = open_gate(encoder, texts, champion=in_use, unflagged=unflagged, seed=settings.seed, progress=progress)
    gate = None if opened is None else opened.judge(in_base, weights)
    decision = decide_run(
        gate,
        has_candidate=interpolation.alpha > 0,
        stopped=course.stopped,
        random_init=settings.random_init,
        has_champion=in_use is not None,
    )
    items = FusionStep(encoder, texts, fusion_options, seed=settings.seed, progress=progress)
    fused = None
    if decision.promoted:
        fused = items.decide(weights, val, opened, before_refit=interpolation.weights)
    with staged_folder(settings.out, kind="encoder", overwrite=settings.overwrite) as folder:
        if decision.kept == CHAMPION and in_use is not None:
            spec = keep_champion(folder, in_use, settings.out)
            check_written(folder, in_use, sample_of(val))
        else:
            weights, untaught = (weights, interpolation.weights) if decision.promoted else (in_base, run.base_weights)
            stored = encoder.files.fusion if not decision.promoted else None if fused is None else fused.fusion
            spec = write_encoder(folder, encoder, weights, stored, settings.out)
            check_written(folder, encoder, sample_of(val), weights=weights)
            write_untaught(folder, weights, untaught)
        has_curves = write_curves(folder, course, progress)
        has_gate_plot = write_gate_plot(folder, gate, progress)
        report = FinetuneReport(
            out=settings.out,
            promoted=decision.promoted,
            kept=decision.kept,
            reason=decision.reason,
            fingerprint=spec.fingerprint,
            settings=made_with,
            train_images=len(train.pixels),
            val_images=len(val.pixels),
            texts=len(train.labelled.texts),
            left_out=left_out,
            pixels=train.pixels.report,
            broken=(*train.pixels.broken, *val.pixels.broken),
            data=texts.report,
            epochs=tuple(course.records),
            heads=run.projections,
            best_epoch=interpolation.epoch,
            alpha=interpolation.alpha,
            chosen=epoch_record(interpolation.epoch, interpolation.scores, seconds=course.records[-1].seconds),
            second_images=None if averaged is None else len(all_images),
            refit_images=refit_images,
            gate=gate,
            fusion=fused,
            stopped=course.stopped,
            restarts=course.restarts,
            seconds=time.monotonic() - started_s,
            images_per_s=course.shown / course.training_s if course.shown else 0.0,
            curves=settings.out / CURVES_NAME if has_curves else None,
            gate_plot=settings.out / GATE_NAME if has_gate_plot else None,
        )
        write_run(folder, report, recipe, spec, encoder, course.losses)
        came_from = in_use if decision.kept == CHAMPION and in_use is not None else encoder
        write_card(folder, report, recipe, licence_of(came_from.files))
    checkpoint.place.remove()
    return world.end(report)


def _key(made_with: RunSettings, recipe: Recipe, encoder: Encoder, train: SplitDataset, val: SplitDataset) -> str:
    """Of everything that decides the weights; a random base is decided by its architecture and seed."""
    return key_of(
        settings=dataclasses.asdict(made_with),
        recipe=dataclasses.asdict(recipe),
        base=None if made_with.random_init else encoder.spec.fingerprint,
        seen=[_seen(train), _seen(val)],
        texts=[train.labelled.texts, val.labelled.texts],
        versions=[__version__, torch.__version__],
    )


def _seen(part: SplitDataset) -> list[list[object]]:
    rows = zip(part.labelled.items, part.labelled.text_of_N.tolist(), strict=True)
    return [[item.file_name, text] for item, text in rows]


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
    if run.projections_scores is not None:
        candidates.append(
            Interpolation(alpha=1.0, epoch=0, weights=run.projections_weights, scores=run.projections_scores)
        )
    if run.course.best_epoch:
        weights = recalibration.completed(run.best_weights)
        scores = evaluator.measure_weights(weights, "measuring the best epoch")
        candidates.append(Interpolation(alpha=1.0, epoch=run.course.best_epoch, weights=weights, scores=scores))
    if random_init or len(candidates) == 1:
        return candidates[-1]
    return choose_interpolation(evaluator, recalibration, candidates, progress)
