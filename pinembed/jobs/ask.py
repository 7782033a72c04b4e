"""The ask job: questions about items, answered from their stored embeddings.

A line of a file of questions is `{"id": "1", "question": "...", "items": ["a", "b"]}`, or has `"item": "a"` for one.
"""

from __future__ import annotations

import functools
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from pinembed.errors import DataError, UsageError
from pinembed.generation.reading import pinned
from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress
from pinembed.reports.trimmed import Answer, AskReport, Question
from pinembed.settings.model import AskSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.stored import lines_of, value_in
from pinembed.table.address import parse_address
from pinembed.taste.user_table import UserTable, find_user
from pinembed.trimmed.customers import told_interests
from pinembed.trimmed.model import TrimmedModel

WANTED = 'wanted {"id": ..., "question": ..., "items": [...]}'


def parse_questions(lines: Iterable[str], *, origin: str, default_text: str | None = None) -> list[Question]:
    """One question a line, or the default text where a line has none of its own; empty lines are passed over.

    Raises:
        DataError: a line is no JSON object, names no item, or has no question; nothing is asked then.
    """
    questions = [
        _parse(line, origin=f"{origin}, line {number}", number=number, default_text=default_text)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not questions:
        raise DataError(f"{origin} holds no question; {WANTED} on each line.", remedy="Write one JSON object a line.")
    return questions


def _parse(line: str, *, origin: str, number: int, default_text: str | None) -> Question:
    stored = value_in(line, origin=origin, wanted=WANTED)
    if not isinstance(stored, dict):
        raise DataError(f"{origin} is no JSON object; {WANTED}.", remedy="Write one JSON object a line.")
    items = stored.get("items", [stored["item"]] if "item" in stored else None)
    if not isinstance(items, list) or not items or not all(isinstance(item, str) for item in items):
        raise DataError(f"{origin} names no items; {WANTED}.", remedy='Give "items": a list of ids, or "item": one id.')
    text = stored.get("question", default_text)
    if not isinstance(text, str) or not text.strip():
        raise DataError(
            f"{origin} has no question; {WANTED}.", remedy="Give the line one, or give a QUESTION for all lines."
        )
    return Question(id=str(stored.get("id", number)), text=text, items=tuple(items))


def read_questions(settings: AskSettings) -> list[Question]:
    """The one question of the settings, the same of each item, or those of a file of JSON lines.

    Raises:
        DataError: the file cannot be read, or a line of it is no question.
        UsageError: no question, or no item.
    """
    text, items, origin = settings.question, settings.items, settings.jsonl
    if origin == "-":
        return parse_questions(sys.stdin, origin="standard input", default_text=text)
    if origin is not None:
        return parse_questions(lines_of(Path(origin)), origin=origin, default_text=text)
    if text is None or not text.strip() or not items:
        raise UsageError(
            f"There is {'no item' if text else 'no question'}; wanted a QUESTION and at least one --item, or --jsonl.",
            remedy='For example: pinembed ask "What colour is it?" --model M --source S --item mug-001',
        )
    groups = [(item,) for item in items] if settings.each else [tuple(items)]
    return [Question(id=" ".join(group), text=text, items=group) for group in groups]


Generate = Callable[[Sequence[str], Sequence[np.ndarray]], list[str]]


def ask(
    settings: AskSettings,
    *,
    questions: Sequence[Question] | None = None,
    progress: Progress = SILENT,
    on_answer: Callable[[Answer], None] = lambda answer: None,
    on_text: Callable[[str], None] | None = None,
) -> AskReport:
    """Answer questions about items from their stored embeddings; no image is opened.

    An item that the source does not hold is left out of its question and named; a question of which no item is known
    stays unanswered. Everything else is answered all the same. `questions` come in place of those that the settings
    have. With a user, their interests come before the items of each question. `on_answer` is called with every answer
    once it is whole, in order; `on_text` with the pieces of an answer as they come, when there is one question.

    Raises:
        ModelError: no trimmed model, or none with a projector.
        EncoderMismatchError: the source is another encoder's.
        SourceError: the source is damaged.
        UsageError: no question, one with a special token in it, or more tokens than the projector has.
        MissingExtraError: the extra `vlm` is missing.
        GenerationError: a home without the generation that was asked for.
        DataError: no such store or user, or one without an interest that the source knows.
        TableError: the store cannot be read.
    """
    questions = read_questions(settings) if questions is None else questions
    began = time.perf_counter()
    with pinned(settings.source, settings.model, generation=settings.generation) as (source, model):
        rows = EmbeddingSource.open(source)
        interests = _interests(settings, rows)
        trimmed = TrimmedModel.load(model, device=choose_device(settings.device), dtype=settings.dtype)
    trimmed.require_projector().check_source(rows.spec.fingerprint, origin=str(settings.source))
    interests_ID = rows.get(interests)
    generate = functools.partial(
        trimmed.generate,
        tokens=settings.tokens,
        max_new_tokens=settings.max_new_tokens,
        on_text=on_text if len(questions) == 1 else None,
    )
    loaded = time.perf_counter()
    answers: list[Answer] = []
    progress.start("asking", len(questions), "questions")
    for start in range(0, len(questions), settings.batch_size):
        batch = questions[start : start + settings.batch_size]
        for answer in _answered(batch, rows, interests_ID, generate):
            answers.append(answer)
            on_answer(answer)
        progress.advance(len(batch))
    progress.finish()
    return AskReport(
        answers=tuple(answers),
        interests=interests,
        unknown=tuple(sorted({item for answer in answers for item in answer.unknown})),
        tokens_per_item=trimmed.require_projector().checked_tokens(settings.tokens),
        seconds=time.perf_counter() - loaded,
        load_seconds=loaded - began,
    )


def _interests(settings: AskSettings, rows: EmbeddingSource) -> tuple[str, ...]:
    if settings.user is None or settings.users is None:
        return ()
    user = find_user(UserTable(parse_address(settings.users)), settings.user)
    return told_interests(user.interests, rows, user=user.name)


def _answered(
    batch: Sequence[Question], rows: EmbeddingSource, interests_ID: np.ndarray, generate: Generate
) -> list[Answer]:
    """The questions with their items sorted into known and unknown, and an answer wherever an item is known."""
    found = [(question, rows.find(question.items)) for question in batch]
    asked = [
        (question.text, np.concatenate([interests_ID, rows.rows(row_M[row_M >= 0])]))
        for question, row_M in found
        if (row_M >= 0).any()
    ]
    said = iter(generate([text for text, _ in asked], [items_MD for _, items_MD in asked]) if asked else [])
    return [_answer(question, (row_M >= 0).tolist(), said) for question, row_M in found]


def _answer(question: Question, is_known: Sequence[bool], said: Iterator[str]) -> Answer:
    known = tuple(itertools.compress(question.items, is_known))
    unknown = tuple(item for item, known_one in zip(question.items, is_known, strict=True) if not known_one)
    return Answer(
        id=question.id, question=question.text, items=known, answer=next(said) if known else None, unknown=unknown
    )
