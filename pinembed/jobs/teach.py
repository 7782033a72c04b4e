"""Teach: what an untrimmed Qwen3-VL says about the training images, stored token by token.

The only step in the making of a trimmed model that learns from images, and a step that can be left out.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from pinembed.catalogue.metadata import read_catalogue
from pinembed.catalogue.splits import TEST, TRAIN, VALIDATION, decide_splits
from pinembed.encoder.device import choose_device
from pinembed.errors import DataError, ImageError, UsageError
from pinembed.images.decode import read_image
from pinembed.nouns.item import Item
from pinembed.nouns.progress import SILENT, Progress, Stop
from pinembed.nouns.values import text_of_value
from pinembed.outfolder import check_output, staged_folder
from pinembed.reports.teach import TeachReport
from pinembed.trimmed.checkpoint import file_stamps
from pinembed.trimmed.questions import ASK, choose_fields, spoken
from pinembed.trimmed.taught import Part, Taught, read_part, write_part
from pinembed.trimmed.teacher import Teacher

QUESTION = "What does the picture show?"
TOP, IMAGE_PX, MAX_NEW_TOKENS = 32, 512, 64
ITEMS_PER_PART = 64
STORE_EVERY_S = 60.0


def teach(
    *,
    data: Path,
    model: Path,
    out: Path,
    fields: Sequence[str] = (),
    questions: Sequence[str] = (QUESTION,),
    group: str | None = None,
    top: int = TOP,
    image_px: int = IMAGE_PX,
    max_new_tokens: int = MAX_NEW_TOKENS,
    overwrite: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    progress: Progress = SILENT,
    stop: Stop | None = None,
) -> TeachReport:
    """Let an untrimmed model look at the training images, and store what it says.

    For each item it weighs the true value of every field, and answers `questions` in its own words; at every place of
    an answer the `top` likeliest tokens are kept. A run that was stopped goes on where it was.

    Args:
        data: DATA folder with images and metadata.
        model: folder of a Qwen3-VL checkpoint with its tower, of the tokenizer that the trimmed model has.
        out: folder to write; `align --teacher` takes it.
        fields: metadata columns to ask about; by default those of short values that repeat.
        questions: that the teacher answers itself.
        group: column by which DATA without a split column is divided; the one of `finetune`.
        top: likeliest tokens to keep for each place.
        image_px: images are brought to at most this side.
        max_new_tokens: longest answer of the teacher's own.
        overwrite: replace an `out` that pinembed wrote.
        device: `auto`, `cpu`, `cuda` ...
        dtype: `auto` for the type of the stored weights, or a torch type's name.
        progress: told each item.
        stop: asked after each item.

    Raises:
        DataError: no metadata, no training items, no field to ask about, or no image that can be read.
        UsageError: an unknown field, or numbers that cannot be meant.
        ModelError: no untrimmed Qwen3-VL, or one without an image processor.
        StoppedError: a signal; what is done is stored.
        OutputExistsError, MissingExtraError: as elsewhere.
    """
    began = time.perf_counter()
    if min(top, max_new_tokens) < 1 or image_px < 32:
        raise UsageError(
            f"{top} tokens, {max_new_tokens} new ones and {image_px} px; wanted 1 or more, and 32 px or more.",
            remedy="Leave the options out for their defaults.",
        )
    check_output(out, overwrite=overwrite)
    catalogue = read_catalogue(data)
    splits = decide_splits(catalogue, group=group, progress=progress).items
    items = list(splits.get(TRAIN, ()))
    if not items:
        raise DataError(f"{data} has no {TRAIN} items.", remedy="Add a split column with train, val and test.")
    chosen = choose_fields(items, splits.get(TEST) or splits.get(VALIDATION) or items, wanted=fields, origin=data)
    progress.start("loading the teacher")
    teacher = Teacher.load(model, device=choose_device(device), dtype=dtype, image_px=image_px, top=top)
    book = _Book(
        out.parent / f".{out.name}.teach-state",
        key=_key(items, chosen, questions, model, (top, image_px, max_new_tokens)),
    )
    lesson = _Lesson(teacher, chosen, questions, max_new_tokens)
    progress.start("teaching", len(items), "images")
    with (stop := stop or Stop()).deferred():
        for number, start in enumerate(range(0, len(items), ITEMS_PER_PART)):
            items_of_part = items[start : start + ITEMS_PER_PART]
            part = book.opened(number)
            progress.advance(len(part.looked))
            while left := items_of_part[len(part.looked) :]:
                part = lesson.give(left, part, progress, stop)
                book.store(number, part)
                stop.check()
            book.count(number, part)
    if not book.dialogues:
        raise DataError(
            f"None of the {len(items)} images of {data} can be read.", remedy="Run `pinembed encode` to see why."
        )
    with staged_folder(out, kind="teacher's answers", overwrite=overwrite) as folder:
        size_bytes = book.bind(folder)
    progress.finish()
    return TeachReport(
        out=str(out),
        teacher=str(model),
        fields=tuple(chosen),
        questions=tuple(questions),
        top=top,
        items=len(items) - len(book.failed),
        dialogues=book.dialogues,
        answer_tokens=book.answer_tokens,
        resumed=book.resumed,
        failed=tuple(book.failed),
        size_bytes=size_bytes,
        seconds=time.perf_counter() - began,
    )


class _Book:
    """The parts that are done, in a folder beside the output; a stopped run leaves them there.

    Attributes:
        dialogues: stored so far.
        answer_tokens: of their answers.
        resumed: items of parts that an earlier run left.
        failed: items without a dialogue.
    """

    def __init__(self, folder: Path, *, key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = key
        self._parts: list[Path] = []
        self.dialogues = self.answer_tokens = self.resumed = 0
        self.failed: list[str] = []

    def opened(self, number: int) -> Part:
        """What a run of the same kind left of this part; nothing where it left nothing whole."""
        try:
            part = read_part(self._path(number), key=self._key)
        except DataError:  # cut short by whatever stopped that run: it is made again
            part = None
        self.resumed += len(part.looked) if part is not None else 0
        return part or Part(taught=(), looked=())

    def store(self, number: int, part: Part) -> None:
        """Put a part, whole or as far as it is, in the place of what was there; without any answer there is no file."""
        if part.taught:
            write_part(self._path(number), part, key=self._key)

    def count(self, number: int, part: Part) -> None:
        """Book a whole part."""
        if part.taught:
            self._parts.append(self._path(number))
        told = {one.item for one in part.taught}
        self.failed += [item for item in part.looked if item not in told]
        self.dialogues += len(part.taught)
        self.answer_tokens += sum(len(one.token_A) for one in part.taught)

    def bind(self, folder: Path) -> int:
        """Bring the parts into the output folder; returns their bytes."""
        for part in self._parts:
            shutil.copyfile(part, folder / part.name)
        shutil.rmtree(self._folder)
        return sum((folder / part.name).stat().st_size for part in self._parts)

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06d}.safetensors"


class _Lesson:
    """One teacher and what it is asked about every item."""

    def __init__(self, teacher: Teacher, fields: Sequence[str], questions: Sequence[str], max_new_tokens: int) -> None:
        self._teacher = teacher
        self._fields = fields
        self._questions = list(questions)
        self._max_new_tokens = max_new_tokens

    def give(self, items: Sequence[Item], part: Part, progress: Progress, stop: Stop) -> Part:
        """Look at some items, until a stop is asked for or STORE_EVERY_S are over; adds to what the part holds."""
        taught, looked = list(part.taught), list(part.looked)
        began = time.perf_counter()
        for item in items:
            taught += self._look(item, progress)
            looked.append(item.id)
            progress.advance()
            if stop.requested or time.perf_counter() - began > STORE_EVERY_S:
                break
        return Part(taught=tuple(taught), looked=tuple(looked))

    def _look(self, item: Item, progress: Progress) -> list[Taught]:
        """All answers about one item; none where its image cannot be read, which is told."""
        try:
            seen = self._teacher.look(read_image(item.path))
        except ImageError as error:
            progress.say(f"{item.id}: {error.message}")
            return []
        said = self._teacher.answer(seen, self._questions, max_new_tokens=self._max_new_tokens)
        true = [
            (ASK[0].format(field=spoken(field)), value)
            for field in self._fields
            if (value := text_of_value(item.fields.get(field)))
        ]
        return self._teacher.weigh(seen, item.id, [*true, *zip(self._questions, said, strict=True)])


def _key(
    items: Sequence[Item], fields: Sequence[str], questions: Sequence[str], model: Path, numbers: tuple[int, ...]
) -> str:
    """What a stored part must agree with before it is taken over."""
    identity = [[item.id for item in items], list(fields), list(questions), file_stamps(model), list(numbers)]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
