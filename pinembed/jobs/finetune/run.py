"""The finetune job: data, base and recipe to the best weights of the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pinembed.catalogue.splits import TRAIN, VALIDATION
from pinembed.encoder.device import choose_device
from pinembed.encoder.encoder import load_encoder
from pinembed.jobs.finetune.epochs import Epochs
from pinembed.jobs.finetune.examples import load_examples, read_texts
from pinembed.jobs.finetune.write import CURVES_NAME, write_curves, write_encoder, write_run
from pinembed.nouns.finetune_report import FinetuneReport, FinetuneSettings
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_output, staged_folder
from pinembed.training.recipe import make_recipe


def finetune(
    *,
    data: Path,
    base: str,
    out: Path,
    random_init: bool = False,
    text: Sequence[str] = (),
    group: str | None = None,
    epochs: int | None = None,
    seed: int = 0,
    minutes: float | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    overwrite: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> FinetuneReport:
    """Tune an encoder on a catalogue's images and texts and write the best weights of the run.

    The base is measured on the validation split before the first step and is itself a candidate.

    Args:
        data: DATA folder with metadata.
        base: ENCODER reference, or an architecture with random_init.
        out: folder to write.
        random_init: start from random weights drawn from `seed`.
        text: columns that make an item's text; by default those of a usual name.
        group: column whose equal values are right answers to each other.
        epochs: passes over the training split; by default as many as its size wants.
        seed: of everything random.
        minutes: time for training; the epochs are cut to it.
        batch_size: images of a step.
        lr: peak learning rate of the last layer.
        overwrite: replace a folder that pinembed wrote.
        device: torch device or `auto`.
        progress: who watches.

    Raises:
        DataError: the data cannot be used.
        UsageError: an unknown column, split or device.
        EncoderError: the base cannot be loaded.
        OutputExistsError: `out` holds something.
        TrainingError: the loss is not a number any more.
    """
    started_s = time.monotonic()
    check_output(out, overwrite=overwrite)
    texts = read_texts(data, text=text, group=group)
    encoder = load_encoder(base, random_init=random_init, seed=seed, device=choose_device(device))
    train = load_examples(texts.train, texts, encoder.preprocessing, split=TRAIN, progress=progress)
    val = load_examples(texts.val, texts, encoder.preprocessing, split=VALIDATION, progress=progress)
    recipe = make_recipe(
        encoder.model,
        train_images=len(train.pixels),
        image_px=encoder.preprocessing.image_px,
        random_init=random_init,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
    )
    progress.say(
        f"{len(train.pixels):,} training images with {len(train.labelled.texts):,} texts, {len(val.pixels):,} for "
        f"validation; {recipe.epochs} epochs of batches of {recipe.batch_size}, rate {recipe.rates.image:.1e}"
    )
    loop = Epochs(encoder, recipe, train, val, captioner=texts.captioner, seed=seed, minutes=minutes, progress=progress)
    run = loop.run()
    settings = FinetuneSettings(
        data=str(data),
        base=base,
        random_init=random_init,
        text=texts.captioner.fields,
        group=group,
        seed=seed,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        lr=recipe.rates.image,
        minutes=minutes,
        device=str(encoder.device),
    )
    with staged_folder(out, kind="encoder", overwrite=overwrite) as folder:
        spec = write_encoder(folder, encoder, run)
        has_curves = write_curves(folder, run, progress)
        report = FinetuneReport(
            out=out,
            fingerprint=spec.fingerprint,
            settings=settings,
            train_images=len(train.pixels),
            val_images=len(val.pixels),
            texts=len(train.labelled.texts),
            broken=(*train.pixels.broken, *val.pixels.broken),
            epochs=run.records,
            best_epoch=run.best_epoch,
            seconds=time.monotonic() - started_s,
            images_per_s=run.shown / run.training_s if run.shown else 0.0,
            curves=out / CURVES_NAME if has_curves else None,
        )
        write_run(folder, report, recipe, spec, encoder, run.losses)
    return report
