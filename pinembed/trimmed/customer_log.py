"""A log of events -> what users chose before and after a moment, and what they liked until then.

Legend: E events, M items of the log, C of these with an embedding, D floats of one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pinembed.errors import DataError
from pinembed.nouns.item import text_of_value
from pinembed.nouns.progress import Progress
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.taste.event import ENGAGED, Event, Kinds
from pinembed.taste.history import history_of
from pinembed.taste.interests import catalogue_width, find_interests
from pinembed.taste.log_file import LogReader, log_files
from pinembed.trimmed.align_dataset import AlignDataset
from pinembed.trimmed.customers import MOST_INTERESTS, Choice, Choices
from pinembed.trimmed.questions import Dialogue, thinned

JUDGED_SHARE, SELECT_SHARE = 0.2, 0.1
MOST_OF_USER, MOST_CHOICES = 20, 20_000
MOST_FIELDS, LEAST_TELLING = 2, 0.5
"""Fields that an answer names: the most telling one, and another that tells half as much of what users choose."""
NAMELESS = "something"


@dataclass(frozen=True, kw_only=True)
class CustomerDataset:
    """Choices of a log, split by time, and the embeddings of the items that they name.

    Attributes:
        embeddings_CD: float32.
        at_us: choices from this moment on judge, microseconds since 1970.
        select: the latest of those before it, which choose the epoch and the probe's penalty.
    """

    embeddings_CD: Tensor
    at_us: int
    train: Choices
    select: Choices
    held_out: Choices

    @property
    def digest(self) -> str:
        """Changes with the choices that are learned from."""
        return hashlib.sha256(repr((self.at_us, self.train.made, self.train.words_C)).encode()).hexdigest()


def read_customers(
    events: Path,
    kinds: Kinds,
    source: EmbeddingSource,
    dataset: AlignDataset,
    fields: Sequence[str],
    *,
    at_us: int | None,
    progress: Progress,
) -> CustomerDataset:
    """Choices out of a log.

    Before the cut only training items take part, since answers name values of fields, by which held-out items judge.

    Args:
        events: log, or a folder of logs.
        kinds: weights by kind.
        source: of the embeddings; items that it does not hold take no part.
        dataset: items, by split.
        fields: that answers may name.
        at_us: the cut; None for the moment before which four fifths of the events lie.
        progress: is told.

    Raises:
        DataError: the log cannot be read, or has no choices on one side of the cut.
    """
    progress.start("events", unit="event")
    reader = LogReader(kinds=kinds)
    told = {
        event.key: event for log in log_files(events) for batch in reader.batches(log, []) for event in batch.events
    }
    if reader.bad.reasons:
        progress.say(f"{sum(reader.bad.reasons.values())} row(s) of {events} are no events, e.g. {reader.bad.named[0]}")
    time_us_E = np.sort(np.array([event.time_us for event in told.values()], np.int64))
    if at_us is None:
        at_us = _moment(time_us_E, 1 - JUDGED_SHARE)
    select_us = _moment(time_us_E[time_us_E < at_us], 1 - SELECT_SHARE)
    progress.start("choices")
    finder = _ChoiceFinder(told.values(), kinds, source)
    trained = frozenset(item.id for item in dataset.train.items)
    train = finder.between(0, select_us, only=trained)
    words_C = _words(finder, train, dataset, fields)
    found = CustomerDataset(
        embeddings_CD=torch.from_numpy(finder.vectors_CD),
        at_us=at_us,
        train=replace(train, words_C=words_C),
        select=replace(finder.between(select_us, at_us, only=trained), words_C=words_C),
        held_out=replace(finder.between(at_us, 1 << 62), words_C=words_C),
    )
    learned, judged = (len(choices.dialogues("")) // 2 for choices in (found.train, found.held_out))
    if not learned or not judged:
        raise DataError(
            f"{len(told)} events of {events} give {learned} choices to learn from and {judged} to judge by; wanted "
            f"some of each: items of {source.folder}, chosen by users who had liked others before, and not by all.",
            remedy="Give another --at, inside of the log's time, or a longer log.",
        )
    return found


def _moment(time_us_E: np.ndarray, share: float) -> int:
    """Before which this share of the events lie."""
    return int(time_us_E[int(share * len(time_us_E))]) if len(time_us_E) else 0


def _words(finder: _ChoiceFinder, train: Choices, dataset: AlignDataset, fields: Sequence[str]) -> tuple[str, ...]:
    """Each item by its values of the fields in which choices agree with interests the most, beyond what others do."""
    items = {item.id: item for part in (dataset.train, dataset.select, dataset.held_out) for item in part.items}
    values = {
        field: [text_of_value(items[name].fields.get(field)) if name in items else "" for name in finder.ids]
        for field in fields
    }
    dialogues = train.dialogues("words")
    telling = {field: _telling(values[field], dialogues) for field in fields}
    ranked = sorted(fields, key=lambda field: -telling[field])[:MOST_FIELDS]
    named = [field for field in ranked if telling[field] >= LEAST_TELLING * telling[ranked[0]]] or ranked[:1]
    return tuple(
        " ".join(value for field in named if (value := values[field][row])) or NAMELESS
        for row in range(len(finder.ids))
    )


def _telling(values: Sequence[str], dialogues: Sequence[Dialogue]) -> float:
    """How much oftener a chosen item shares its value with an interest than one that was not chosen."""
    shares = [
        [values[item] in {values[row] for row in interests} for *interests, item in (each.rows for each in part)]
        for part in (dialogues[::2], dialogues[1::2])  # chosen, not chosen
    ]
    return float(np.mean(shares[0]) - np.mean(shares[1])) if dialogues else 0.0


class _ChoiceFinder:
    """Finds the choices of a stretch of time, and what each user liked until each of them."""

    def __init__(self, events: Iterable[Event], kinds: Kinds, source: EmbeddingSource) -> None:
        self._told: dict[str, list[Event]] = {}
        for event in sorted(events, key=lambda event: (event.user, event.time_us, event.key)):
            self._told.setdefault(event.user, []).append(event)
        self._kinds = kinds
        named = sorted({event.item for told in self._told.values() for event in told})
        row_M = source.find(named)
        self.ids = [name for name, row in zip(named, row_M.tolist(), strict=True) if row >= 0]
        self.vectors_CD = source.rows(row_M[row_M >= 0]).astype(np.float32)
        self._row_of = {item: row for row, item in enumerate(self.ids)}
        self._vector_of = dict(zip(self.ids, self.vectors_CD, strict=True))
        self._width = catalogue_width(self.vectors_CD) if self.ids else 1.0

    def between(self, start_us: int, end_us: int, *, only: frozenset[str] | None = None) -> Choices:
        """From one moment on, before another; of many choices some, evenly drawn out of each user's.

        Args:
            start_us: first moment.
            end_us: the first one beyond.
            only: items without which nothing else took place.
        """
        told_of = {
            user: [event for event in told if event.time_us < end_us and (only is None or event.item in only)]
            for user, told in self._told.items()
        }
        moments = [
            (user, moment)
            for user, told in told_of.items()
            for moment in thinned(self._moments(told, start_us), MOST_OF_USER)
        ]
        made = [self._choice(told_of[user], user, *moment) for user, moment in thinned(moments, MOST_CHOICES)]
        users = {choice.user for choice in made if choice}
        touched = {
            user: frozenset(self._row_of[event.item] for event in told if event.item in self._row_of)
            for user, told in told_of.items()
            if user in users
        }
        return Choices(made=tuple(choice for choice in made if choice), touched=touched, words_C=self.ids)

    def _moments(self, told: Sequence[Event], start_us: int) -> list[tuple[int, str]]:
        """Time and item of what the user chose and had not chosen before."""
        found, liked = [], set[str]()
        for event in told:
            if event.item not in liked and self._kinds.get(event.kind, 0.0) >= ENGAGED:
                liked.add(event.item)
                if event.time_us >= start_us and event.item in self._row_of:
                    found.append((event.time_us, event.item))
        return found

    def _choice(self, told: Sequence[Event], user: str, time_us: int, item: str) -> Choice | None:
        """None where nothing was liked before."""
        history = history_of(user, [event for event in told if event.time_us < time_us], self._kinds)
        interests = find_interests(history, self._vector_of, width=self._width)[:MOST_INTERESTS]
        rows = tuple(self._row_of[interest.item] for interest in interests)
        return Choice(user=user, interests=rows, item=self._row_of[item]) if rows else None
