"""Wishes that become calls of tools, out of metadata: what `align --calls` teaches a model, and judges it by."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator, Sequence

import pyarrow as pa

from pinembed.assistant.answer import title_line
from pinembed.assistant.script_maker import scripts_of
from pinembed.assistant.scripts import ScriptedTurn
from pinembed.assistant.tools import frame_of, wish_text
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.assistant.words import plain
from pinembed.nouns.item import Item
from pinembed.reports.table import title_in
from pinembed.trimmed.prompts import PromptWriter
from pinembed.trimmed.questions import Dialogue
from pinembed.trimmed.tool_calls import written_call

SHOWN = 5
CONVERSATIONS = 50
"""Made at once, until there are wishes enough."""


class CallMaker:
    """Draws wishes about some items, each with the list that is shown and the call that it should become.

    Args:
        items: of one split.
        every: items of the whole catalogue, whose columns and values the tools name.
        writer: of the checkpoint, in whose form the calls are.
        held_out: in the wordings that judge.
        by_heart: without tools and columns before the wish.

    Raises:
        ModelError: the chat template writes no calls of tools.
    """

    def __init__(
        self,
        items: Sequence[Item],
        every: Sequence[Item],
        writer: PromptWriter,
        *,
        held_out: bool = False,
        by_heart: bool = False,
    ) -> None:
        self._vocabulary = Vocabulary.read(ItemColumns(every))
        self._rows = [dict(item.fields) for item in items]
        self._titles = [title_line(title_in(item.fields, item.id)) for item in items]
        self._writer, self._held_out = writer, held_out
        self._specials = writer.tokenizer.all_special_tokens
        self._frame = frame_of(self._vocabulary, self._specials, by_heart=by_heart)

    def draw(self, seed: str, count: int) -> list[Dialogue]:
        """So many of them; none where no column says what could be asked for."""
        if not self._vocabulary.attributes:
            return []
        rng = random.Random(seed)
        return [self._dialogue(rng, turn) for turn in itertools.islice(self._turns(rng), count)]

    def _turns(self, rng: random.Random) -> Iterator[ScriptedTurn]:
        while True:
            made = scripts_of(
                self._rows,
                self._vocabulary,
                self._vocabulary.attributes,
                conversations=CONVERSATIONS,
                seed=rng.randrange(2**32),
            )
            yield from (turn for turn in made if turn.held_out == self._held_out)

    def _dialogue(self, rng: random.Random, turn: ScriptedTurn) -> Dialogue:
        act, is_first = dataclasses.replace(turn.expect, question=""), turn.say.turn == 1
        titles = [] if is_first else rng.sample(self._titles, min(SHOWN, len(self._titles)))
        return Dialogue(
            rows=(),
            question=wish_text(plain(turn.say.say, self._specials), [plain(one, self._specials) for one in titles]),
            answer=written_call(self._writer, act.to_json()),
            frame=self._frame,
        )


class ItemColumns:
    """The metadata of items as a vocabulary reads those of a table."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._table = pa.Table.from_pylist([dict(item.fields) for item in items])

    @property
    def schema(self) -> pa.Schema:
        return self._table.schema

    def count_rows(self) -> int:
        return int(self._table.num_rows)

    def batches(self, columns: Sequence[str], rows: int) -> Iterator[pa.RecordBatch]:
        """Their columns, so many rows at a time."""
        yield from self._table.select(list(columns)).to_batches(max_chunksize=rows)
