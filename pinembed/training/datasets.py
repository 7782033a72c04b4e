"""What a run trains, selects and is judged on: pixels, texts and positives of the splits."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from pinembed.catalogue.captions import Captioner, make_captioner
from pinembed.catalogue.data_report import report_data, tell_data
from pinembed.catalogue.folder import read_catalogue
from pinembed.catalogue.shorten import shorten
from pinembed.catalogue.slices import slice_columns
from pinembed.catalogue.split_words import TEST, TRAIN, VALIDATION
from pinembed.catalogue.splits import HASH, LabelledItems, decide_splits, label_items
from pinembed.encoder.context import Context
from pinembed.encoder.encoder import Encoder
from pinembed.encoder.reload import Sample
from pinembed.errors import DataError, UsageError
from pinembed.images.pixel_cache import PixelCache, refuse_all_broken
from pinembed.nouns.encoder_spec import Preprocessing
from pinembed.nouns.item import Item
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.finetune import DataReport

FEWEST_TRAINING_IMAGES = 8
FEWEST_TRAINING_TEXTS = 2
FEWEST_JUDGING_IMAGES = 5
BATCH_SIZE = 64
PIXEL_BYTES = 2 << 30


@dataclass(frozen=True, kw_only=True)
class DatasetSplits:
    """The splits' items before any image is read.

    Attributes:
        slices: columns whose values cut the test split into slices.
        train: items with a text.
        val: all items of the validation split.
        test: all items of the test split, which only the gate sees.
    """

    captioner: Captioner
    group: str | None
    slices: tuple[str, ...]
    train: tuple[Item, ...]
    val: tuple[Item, ...]
    test: tuple[Item, ...]
    report: DataReport


@dataclass(frozen=True, kw_only=True)
class SplitDataset:
    """One split in memory: items with texts and groups, and their decoded pixels."""

    labelled: LabelledItems
    pixels: PixelCache


class Pixels(Protocol):
    """Pictures by their place, as `PixelCache` gives them."""

    def __len__(self) -> int: ...

    def prepare(self, indices: Sequence[int]) -> None: ...

    def batch(self, indices: Sequence[int]) -> Tensor: ...


class Learnable(Protocol):
    """What is learned from: a split, or several as one."""

    @property
    def labelled(self) -> LabelledItems: ...

    @property
    def pixels(self) -> Pixels: ...


@dataclass(frozen=True, kw_only=True)
class JoinedSplits:
    """Items with a text of several splits, whose groups and texts have codes in common."""

    labelled: LabelledItems
    pixels: JoinedPixels


class JoinedPixels:
    """Pictures of several splits, one after the other, which stay where they lie.

    Args:
        parts: the splits' pixels, and the places of those that count.
    """

    def __init__(self, parts: Sequence[tuple[Pixels, Sequence[int]]]) -> None:
        self._parts = [pixels for pixels, _ in parts]
        self._places = [(part, place) for part, (_, places) in enumerate(parts) for place in places]

    def __len__(self) -> int:
        return len(self._places)

    def prepare(self, indices: Sequence[int]) -> None:
        for _, pixels, places in self._by_part(indices):
            pixels.prepare(places)

    def batch(self, indices: Sequence[int]) -> Tensor:
        pictures: dict[tuple[int, int], Tensor] = {}
        for part, pixels, places in self._by_part(indices):
            pictures |= {(part, place): picture for place, picture in zip(places, pixels.batch(places), strict=True)}
        return torch.stack([pictures[self._places[index]] for index in indices])

    def _by_part(self, indices: Sequence[int]) -> Iterator[tuple[int, Pixels, list[int]]]:
        wanted = [self._places[index] for index in indices]
        for part, pixels in enumerate(self._parts):
            places = [place for of, place in wanted if of == part]
            if places:
                yield part, pixels, places


def joined(parts: Sequence[SplitDataset], captioner: Captioner, *, group: str | None) -> JoinedSplits:
    """Splits as one, without their items that say nothing."""
    places = [[index for index, text in enumerate(part.labelled.text_of_N.tolist()) if text >= 0] for part in parts]
    items = tuple(part.labelled.items[index] for part, chosen in zip(parts, places, strict=True) for index in chosen)
    pixels = JoinedPixels([(part.pixels, chosen) for part, chosen in zip(parts, places, strict=True)])
    return JoinedSplits(labelled=label_items(items, captioner, group=group), pixels=pixels)


def read_splits(
    data: Path,
    *,
    text: Sequence[str],
    group: str | None,
    template: str | None = None,
    slices: Sequence[str] = (),
    progress: Progress = SILENT,
) -> DatasetSplits:
    """Items of the three splits, counted, reported, and checked for what a run needs.

    Raises:
        DataError: no metadata, an empty split, or too little to learn from or to judge by.
        UsageError: an unknown column, or a split column without `train`.
    """
    catalogue = read_catalogue(data, progress=progress)
    captioner = make_captioner(catalogue, text, template=template)
    for note in captioner.notes():
        progress.say(note)
    decision = decide_splits(catalogue, group=group, always_look=True, progress=progress)
    splits = decision.items
    if decision.decided_by != HASH and TRAIN not in splits:
        raise UsageError(
            f"The splits of {data} are {', '.join(sorted(splits))}; training needs one called {TRAIN}.",
            remedy=f"Call the split that may be trained on {TRAIN}, the one that selects {VALIDATION}.",
        )
    train = tuple(item for item in splits.get(TRAIN, ()) if captioner.caption(item))
    found = DatasetSplits(
        captioner=captioner,
        group=group,
        slices=slice_columns(catalogue, slices, group=group),
        train=train,
        val=splits.get(VALIDATION, ()),
        test=splits.get(TEST, ()),
        report=report_data(
            catalogue.items,
            splits,
            decision.near_duplicates,
            captioner,
            columns=catalogue.schema.names,
            group=group,
        ),
    )
    tell_data(found.report, progress)
    _check_sizes(found, data)
    _check_gate(found, data, has_chosen=decision.decided_by != HASH)
    return found


def fit_texts(splits: DatasetSplits, encoders: Sequence[Encoder], progress: Progress) -> DatasetSplits:
    """The same splits with texts that the encoders read whole, as far as fields and sentences allow; told."""
    contexts = [Context(encoder.tokenizer) for encoder in encoders]
    items = (*splits.train, *splits.val, *splits.test)
    captioner, note = shorten(splits.captioner, contexts, items)
    if note:
        progress.say(note)
    return dataclasses.replace(splits, captioner=captioner)


def with_training_items(splits: DatasetSplits, items: tuple[Item, ...], data: Path) -> DatasetSplits:
    """The splits with these in place of all training items.

    Raises:
        DataError: too little is left to learn from.
    """
    found = dataclasses.replace(splits, train=items)
    _check_sizes(found, data)
    return found


def load_split(
    items: tuple[Item, ...], splits: DatasetSplits, preprocessing: Preprocessing, *, split: str, progress: Progress
) -> SplitDataset:
    """Decode a split and give its whole images their texts and groups.

    Raises:
        DataError: not one image can be decoded.
    """
    progress.start(f"reading {split} images", len(items), "img")
    pixels = PixelCache(items, preprocessing, limit_bytes=PIXEL_BYTES, progress=progress)
    progress.finish()
    if split == TRAIN:
        progress.say(str(pixels.report))
    refuse_all_broken(items, pixels.broken, split)
    return SplitDataset(labelled=label_items(pixels.items, splits.captioner, group=splits.group), pixels=pixels)


def sample_of(split: SplitDataset) -> Sample:
    """A few images and texts of a split, to compare a written encoder with the one in memory."""
    return Sample(images=[item.path for item in split.pixels.items], texts=split.labelled.texts)


def tower_inputs(
    encoder: Encoder, split: Learnable, indices: Sequence[int], *, stage: str, progress: Progress
) -> Iterator[Tensor]:
    """Some images as the image tower takes them, without augmentation, in batches of BATCH_SIZE."""
    progress.start(stage, len(indices), "img")
    for start in range(0, len(indices), BATCH_SIZE):
        batch = indices[start : start + BATCH_SIZE]
        pixels_BCHW = encoder.standardise(split.pixels.batch(batch))
        yield pixels_BCHW.contiguous(memory_format=torch.channels_last)
        progress.advance(len(batch))
    progress.finish()


def _check_sizes(splits: DatasetSplits, data: Path) -> None:
    columns = ", ".join(splits.captioner.fields)
    if len(splits.train) < FEWEST_TRAINING_IMAGES:
        raise DataError(
            f"{data} has {len(splits.train)} training item(s) with a text in {columns}; "
            f"wanted at least {FEWEST_TRAINING_IMAGES}.",
            remedy="Bring more items, or name the columns that hold the texts with --text.",
        )
    captions = {splits.captioner.caption(item) for item in splits.train}
    if len(captions) < FEWEST_TRAINING_TEXTS:
        raise DataError(
            f"All {len(splits.train)} training items of {data} have one and the same text in {columns}.",
            remedy="Name columns that differ between items with --text.",
        )
    if len({splits.captioner.caption(item) for item in splits.val} - {""}) < FEWEST_TRAINING_TEXTS:
        raise DataError(
            f"The validation split of {data} has {len(splits.val)} item(s) with fewer than {FEWEST_TRAINING_TEXTS} "
            "distinct texts; the best weights cannot be chosen on it.",
            remedy="Mark more items as val in a split column, or bring more groups.",
        )


def _check_gate(splits: DatasetSplits, data: Path, *, has_chosen: bool) -> None:
    """A split column without test is a choice to train without a gate; with a hashed split it is none."""
    if len(splits.test) >= FEWEST_JUDGING_IMAGES or (has_chosen and not splits.test):
        return
    raise DataError(
        f"The test split of {data} has {len(splits.test)} item(s); with fewer than {FEWEST_JUDGING_IMAGES} the gate "
        "can promote nothing, so training would be in vain.",
        remedy="Mark more items as test in a split column, or bring more groups.",
    )
