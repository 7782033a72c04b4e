"""The chat job: turns of conversations over a catalogue, each answered with an act, a list and citations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pinembed.assistant.conversation import Assistant
from pinembed.assistant.lexicon import Lexicon
from pinembed.assistant.opening import open_retriever
from pinembed.assistant.says import Say
from pinembed.assistant.state import State
from pinembed.assistant.state_file import read_states, write_states
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.errors import DataError
from pinembed.generation.reading import pinned
from pinembed.images.contact_sheet import SheetCell, draw_sheet
from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_file
from pinembed.reports.assistant import ChatReport, Turn
from pinembed.settings.assistant import ChatSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.table.embedding_table import EmbeddingTable

if TYPE_CHECKING:
    from pinembed.assistant.model_voice import ModelVoice
    from pinembed.trimmed.model import TrimmedModel
    from pinembed.trimmed.served import ServedModel

STATE_EVERY_S = 1.0


def chat(
    settings: ChatSettings,
    *,
    says: Iterable[Say],
    progress: Progress = SILENT,
    on_turn: Callable[[Turn], None] = lambda turn: None,
    on_text: Callable[[str], None] | None = None,
) -> ChatReport:
    """Answer what is said, turn after turn, from the table's vectors and metadata; no image is opened.

    A turn whose number its conversation has passed, as after a run that was interrupted, is not answered again. The
    file of `settings.state` is written as turns come, at most once a second, and at the end.

    Args:
        settings: the catalogue.
        says: in the order in which they were said; conversations may be mixed.
        progress: is told while things are loaded.
        on_turn: called with every turn once it is answered.
        on_text: called before that with the pieces of an answer that the model takes part in, as they come; they are a
            beginning of the whole one, but where the model broke off.

    Raises:
        DataError: a turn is missing, or the file of states is none.
        UsageError: a group column that the table does not have.
        TableError, EncoderError, GenerationError: the table or its encoder cannot be read.
        ModelError, SourceError, EncoderMismatchError, MissingExtraError: as for `ask`, where there is a model.
        ServerError: as for `ServedModel.open`; what a server fails at later is a note of its turn.
        OutputError: the file of states cannot be written.
    """
    began_s = time.perf_counter()
    for path, option in ((settings.state, "--state"), (settings.sheet, "--sheet")):
        check_file(path, option=option, makes_folder=True)
    given = () if settings.model is None or settings.source is None else (settings.model, settings.source)
    references: tuple[str | Path, ...] = (settings.table, *given)
    with pinned(*references, generation=settings.generation) as (where, *model_and_source):
        progress.start("read the catalogue")
        table = EmbeddingTable.open(where)
        retriever = open_retriever(
            table,
            encoder=settings.encoder,
            group=settings.group,
            users=settings.users,
            device=settings.device,
            progress=progress,
        )
        vocabulary = retriever.vocabulary
        voice = (
            _voice(settings, *model_and_source, vocabulary=vocabulary, progress=progress) if model_and_source else None
        )
        progress.finish()
    assistant = Assistant(
        retriever,
        Lexicon(vocabulary),
        k=settings.k,
        planner=voice.plan if voice else None,
        speaker=voice.speak if voice else None,
        on_text=on_text,
    )
    loaded_s = time.perf_counter()
    states = _States(settings)
    turns: list[Turn] = []
    try:
        for say in says:
            state = states.of(say.conversation)
            if not _is_next(say, state):
                continue
            state, turn = assistant.turn(state, say.say)
            states.keep(state)
            turns.append(turn)
            on_turn(turn)
    finally:
        states.write()
    if settings.sheet is not None and turns:
        draw_turn(turns[-1], settings)
    return ChatReport(
        table=str(table.address), rows=vocabulary.rows, turns=tuple(turns), load_seconds=loaded_s - began_s
    )


def _voice(
    settings: ChatSettings, model: str, source: str, *, vocabulary: Vocabulary, progress: Progress
) -> ModelVoice:
    from pinembed.assistant.model_voice import ModelVoice

    voice = ModelVoice(
        _model(settings, model, progress),
        EmbeddingSource.open(source),
        vocabulary,
        max_new_tokens=settings.max_new_tokens,
    )
    if not voice.may_plan:
        progress.say("align taught the model no calls of tools, or too few came right; so the rules make the acts.")
    return voice


def _model(settings: ChatSettings, model: str, progress: Progress) -> TrimmedModel | ServedModel:
    """The model in this process, or the one that the server runs."""
    from pinembed.trimmed.model import TrimmedModel
    from pinembed.trimmed.served import ServedModel

    if settings.server is None:
        progress.start("load the model")
        return TrimmedModel.load(model, device=choose_device(settings.device))
    progress.start("ask the server")
    return ServedModel.open(settings.server, model=model, name=settings.served_name, wait_s=settings.wait_s)


def draw_turn(turn: Turn, settings: ChatSettings) -> None:
    """The list after a turn as a contact sheet; the one thing that opens images.

    Raises:
        OutputError: the file cannot be written.
    """
    assert settings.sheet is not None  # the callers looked
    cells = [SheetCell(path=hit.path, title=hit.title, score=hit.score) for hit in turn.shown]
    draw_sheet(cells, heading=turn.say, path=settings.sheet)


def _is_next(say: Say, state: State) -> bool:
    """Whether a turn is the next of its conversation; False for one that was answered before."""
    if say.turn is not None and say.turn > state.turns + 1:
        raise DataError(
            f"Turn {say.turn} of conversation {say.conversation!r} came, and turn {state.turns + 1} is due.",
            remedy="Give the turns in order, or without numbers.",
        )
    return say.turn is None or say.turn == state.turns + 1


class _States:
    """The conversations of a run, and their file."""

    def __init__(self, settings: ChatSettings) -> None:
        self._path, self._user = settings.state, settings.user or ""
        self._states = {} if self._path is None else read_states(self._path)
        self._written_s = time.monotonic()
        self._is_changed = False

    def of(self, conversation: str) -> State:
        return self._states.get(conversation) or State(conversation=conversation, user=self._user)

    def keep(self, state: State) -> None:
        self._states[state.conversation] = state
        self._is_changed = True
        if time.monotonic() - self._written_s >= STATE_EVERY_S:
            self.write()

    def write(self) -> None:
        if self._path is not None and self._is_changed:
            write_states(self._path, self._states)
            self._written_s, self._is_changed = time.monotonic(), False
