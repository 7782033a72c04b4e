"""Values of a CONFIG that only images, encoder, model or machine can refuse: told before anything is made.

Each is looked at by the code that its step will call, so that the sentence is the same.
"""

from __future__ import annotations

import functools
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from pinembed.catalogue.captions import make_captioner
from pinembed.catalogue.column_types import concatenated
from pinembed.catalogue.inputs import find_inputs
from pinembed.catalogue.metadata import SPLIT
from pinembed.catalogue.slices import slice_columns
from pinembed.catalogue.split_words import TEST, TRAIN, VALIDATION, split_named
from pinembed.catalogue.splits import check_group, items_of_split
from pinembed.errors import ConfigError, DataError, EncoderError, ModelError, PinembedError, TableError, UsageError
from pinembed.generation.record import table_in
from pinembed.machine import device_name
from pinembed.nightly.config import RefreshConfig
from pinembed.nightly.plan import NightPlan
from pinembed.nouns.item import Catalogue, Item
from pinembed.nouns.progress import Progress
from pinembed.settings.encoding import EncodeSettings
from pinembed.settings.model import AlignSettings
from pinembed.settings.option import refuse_unknown_columns
from pinembed.table.columns import text_columns
from pinembed.table.embedding_table import EmbeddingTable

Options = Mapping[str, Any]
Columns = Callable[[], Catalogue]
"""Gives the outline of a catalogue when something asks for it."""
NOT_MEANT: tuple[type[PinembedError], ...] = (UsageError, DataError, EncoderError, ModelError, TableError)


def vet(config: RefreshConfig, plan: NightPlan, *, place: str, base: Path | None, progress: Progress) -> None:
    """Refuse now what a step would refuse after hours.

    Args:
        config: what is wanted.
        plan: which steps are due.
        place: of CONFIG, for messages.
        base: folder of the generation in use; None for a first one.
        progress: hears of hooks that will not run.

    Raises:
        ConfigError: a value that cannot be meant; names its table.
        MissingExtraError: a package that it needs is not installed.
    """
    images = functools.cache(lambda: outline(config.images, config.encode, base=base))
    _vet_hooks(config, place, progress)
    with refused_at(f"{place} [encode]"):
        _vet_encode(config.encode)
    with refused_at(f"{place} [finetune]"):
        _vet_finetune(config.finetune, images)
    with refused_at(f"{place} [audit]"):
        _vet_audit(config.audit or {}, images)
    with refused_at(f"{place} [align]"):
        _vet_align(config.align, images)
    with refused_at(f"{place} [evaluate]"):
        _vet_evaluate(config.evaluate or {}, images)
        if config.yardstick is not None:
            yardstick = outline(config.yardstick, {})
            _vet_evaluate(config.evaluate or {}, lambda: yardstick)
    with refused_at(place):
        _vet_encoder(config, plan)
        _vet_model(config, plan)


@contextmanager
def refused_at(place: str) -> Iterator[None]:
    """Say of an error which table of CONFIG it is about.

    Raises:
        ConfigError: in the place of the error.
    """
    try:
        yield
    except NOT_MEANT as error:
        raise ConfigError(f"{place}: {error.message}", remedy=error.remedy) from error


def outline(images: Path, options: Options, *, base: Path | None = None) -> Catalogue:
    """A catalogue of the same columns and splits, with one empty item for each split.

    Of images that this run has looked at, for the table of `base`, nothing is read again.
    """
    settings = EncodeSettings(images=images, table="none/none", encoder="none", **options)
    texts = () if base is None else text_columns(EmbeddingTable.open(table_in(base)))
    found = [part.candidates.fields for part in find_inputs(settings, texts=texts)]
    table = concatenated([fields for fields in found if fields is not None] or [pa.table({})])
    names = [name for name in table.column_names if name != SPLIT]
    splits = table[SPLIT].unique().to_pylist() if SPLIT in table.column_names else [None]
    items = tuple(
        Item(id=str(number), file_name="", path=images, fields=dict.fromkeys(names), split=split)
        for number, split in enumerate(splits)
    )
    return Catalogue(root=images, items=items, schema=table.select(names).schema, metadata=images)


def _vet_hooks(config: RefreshConfig, place: str, progress: Progress) -> None:
    for event, command in vars(config.hooks).items():
        try:
            words = shlex.split(command or "")
        except ValueError as error:
            raise ConfigError(
                f"{place} [hooks]: {event} cannot be read: {error}.", remedy="Mend the quotes."
            ) from error
        if words and shutil.which(words[0]) is None:
            progress.say(f"The hook {event} will not run: there is no command {words[0]}.")


def _vet_encode(options: Options) -> None:
    from pinembed.encoder.backends.choose import check_backend

    device = device_name(options.get("device", "auto"))
    check_backend(options.get("backend", "auto"), device.partition(":")[0])
    if options.get("engine") == "ray":
        from pinembed.encoding.shards.ray_engine import import_ray

        import_ray()


def _vet_finetune(options: Options, images: Columns) -> None:
    _vet_item_texts(options, images)
    if options.get("fusion", "auto") not in {"auto", "off"}:
        from pinembed.encoder.fusion import parse_fusion

        for name in parse_fusion(options["fusion"]).names:
            _vet_column(name, images, option="fusion")
    if "flags_from" in options:
        EmbeddingTable.open(options["flags_from"])


def _vet_item_texts(options: Options, images: Columns) -> None:
    """What finetune and evaluate have in common."""
    if options.get("text") or options.get("template"):
        make_captioner(images(), options.get("text", ()), template=options.get("template"))
    _vet_group(options, images)
    if options.get("slices"):
        slice_columns(images(), options["slices"], group=None)
    device_name(options.get("device", "auto"))


def _vet_group(options: Options, images: Columns) -> None:
    if options.get("group") is not None:
        check_group(images(), options["group"])


def _vet_column(name: str, images: Columns, *, option: str) -> None:
    refuse_unknown_columns(
        option, [name], images().schema.names, place=images().root, remedy="Name a column of the metadata."
    )


def _vet_audit(options: Options, images: Columns) -> None:
    for option in ("seller", "caption", "category", "labels"):
        if option in options:
            _vet_column(options[option], images, option=option)


def _vet_evaluate(options: Options, images: Columns) -> None:
    _vet_item_texts(options, images)
    if "split" in options:
        catalogue = images()
        is_hashed = len(catalogue.splits) < len(catalogue.items)
        known = (*catalogue.splits, *((TRAIN, VALIDATION, TEST) if is_hashed else ()))
        items_of_split(catalogue, dict.fromkeys(known, ()), split_named(options["split"]), group=None)


def _vet_align(options: Options, images: Columns) -> None:
    _vet_group(options, images)
    device_name(options.get("device", "auto"))
    if options.get("fields"):
        from pinembed.trimmed.questions import choose_fields

        choose_fields(images().items, (), wanted=options["fields"], origin=images().root)
    if "dialogues" in options:
        from pinembed.trimmed.own_dialogues import read_dialogues

        read_dialogues(options["dialogues"])
    if "events" in options:
        from pinembed.taste.event import read_kinds
        from pinembed.taste.time_split import cut_us

        read_kinds(options.get("kinds"))
        if "at" in options:
            cut_us(options["at"])
        if not options["events"].exists():
            raise DataError(f"--events {options['events']} is not there.", remedy="Check the path.")


def _vet_encoder(config: RefreshConfig, plan: NightPlan) -> None:
    """The encoder that CONFIG names, where this run begins with it."""
    from pinembed.encoder.locate import encoder_spec, keep_dims, locate_encoder

    if plan.base is not None and not (plan.train and config.retrain and config.retrain.start == "base"):
        return
    files = locate_encoder(config.encoder, random_init=bool(plan.train and config.finetune.get("random_init")))
    if files.weights is not None or not plan.train:
        encoder_spec(files)
    for options in (config.encode, config.evaluate or {}):
        keep_dims(files, options.get("dims"))


def _vet_model(config: RefreshConfig, plan: NightPlan) -> None:
    """The checkpoint that CONFIG names, where this run may align it anew."""
    if config.model is None or not (plan.base is None or plan.train or "model" in plan.edited):
        return
    from pinembed.trimmed.align_recipe import choose_recipe, trains_language_model
    from pinembed.trimmed.checkpoint import import_transformers, locate_checkpoint, read_checkpoint
    from pinembed.trimmed.write_back import check_can_learn

    import_transformers("The model of a home")
    checkpoint = read_checkpoint(locate_checkpoint(config.model))
    settings = AlignSettings(
        data=config.images, model=checkpoint.folder, source=config.images, out=config.home, **config.align
    )
    if settings.lora or trains_language_model(settings, choose_recipe(checkpoint)):
        check_can_learn(checkpoint)
