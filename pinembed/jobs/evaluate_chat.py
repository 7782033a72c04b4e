"""The evaluate-chat job: scripted conversations over a table, and "this, but in COLOUR", as figures."""

from __future__ import annotations

from collections.abc import Sequence

from pinembed.assistant.answer_measure import measure_answers
from pinembed.assistant.composed import measure_composed
from pinembed.assistant.conversation import Assistant
from pinembed.assistant.figures_plot import draw_figures
from pinembed.assistant.lexicon import Lexicon
from pinembed.assistant.model_voice import TRIED_TURNS, ModelVoice
from pinembed.assistant.opening import TextTower, open_retriever
from pinembed.assistant.script_maker import make_scripts
from pinembed.assistant.script_measure import count_calls, measure_scripts
from pinembed.assistant.scripts import by_conversation, read_scripts, write_scripts
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.errors import UsageError
from pinembed.evaluation.plot import check_plot
from pinembed.generation.reading import pinned
from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_file
from pinembed.reports.assistant import AnswerFigures, ChatFigures, EvaluateChatReport
from pinembed.settings.assistant import EvaluateChatSettings
from pinembed.source.embedding_source import EmbeddingSource
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.trimmed.model import TrimmedModel


def evaluate_chat(settings: EvaluateChatSettings, *, progress: Progress = SILENT) -> EvaluateChatReport:
    """Measure how what is said becomes acts, and whether lists, references and citations are what was meant.

    Raises:
        DataError: the scripts cannot be read, or none can be made of the table.
        UsageError: a column that the table does not have, or an --out that is no place for a file.
        TableError, EncoderError, GenerationError: the table or its encoder cannot be read.
        ModelError, SourceError, EncoderMismatchError: as for `ask`, where there is a model.
        MissingExtraError: the extra `vlm`, or for the plot `report`, is missing.
        OutputError: the scripts or the plot cannot be written.
    """
    check_file(settings.out, option="--out", makes_folder=True)
    check_plot(settings.plot, has_something=True)
    given = () if settings.model is None or settings.source is None else (settings.model, settings.source)
    with pinned(settings.table, *given, generation=settings.generation) as (where, *model_and_source):
        return _measured(settings, where, model_and_source, progress)


def _measured(
    settings: EvaluateChatSettings, where: str, model_and_source: Sequence[str], progress: Progress
) -> EvaluateChatReport:
    progress.start("read the catalogue")
    table = EmbeddingTable.open(where)
    retriever = open_retriever(
        table, encoder=settings.encoder, group=settings.group, users=None, device=settings.device, progress=progress
    )
    vocabulary = retriever.vocabulary
    attributes = _attributes(settings, vocabulary)
    if settings.scripts is not None:
        turns = read_scripts(settings.scripts, vocabulary)
    else:
        turns = make_scripts(table, vocabulary, attributes, conversations=settings.conversations, seed=settings.seed)
    if settings.out is not None:
        write_scripts(settings.out, turns)
    progress.start("conversations")
    lexicon = Lexicon(vocabulary)
    figures: tuple[ChatFigures, ...] = measure_scripts(Assistant(retriever, lexicon, k=settings.k), turns, name="rules")
    calls, answers = None, tuple[AnswerFigures, ...]()
    if model_and_source:
        progress.start("the model's conversations")
        model = TrimmedModel.load(model_and_source[0], device=choose_device(settings.device))
        source = EmbeddingSource.open(model_and_source[1])
        voice = ModelVoice(model, source, vocabulary, max_new_tokens=1)
        assistant = Assistant(retriever, lexicon, k=settings.k, planner=voice.plan)
        calls = count_calls(assistant, turns[:TRIED_TURNS])
        if calls.right:
            figures += measure_scripts(assistant, turns, name="model")
        answers = measure_answers(
            table,
            lexicon,
            model,
            source,
            _answered(vocabulary, attributes),
            conversations=settings.conversations,
            split=settings.split,
            seed=settings.seed,
        )
    columns = attributes if settings.queries else ()
    embed_texts = TextTower(table, settings.encoder, settings.device, progress)
    composed = []
    for column in columns:
        progress.start(f"this, but in another {column}")
        found = measure_composed(
            table,
            vocabulary,
            embed_texts,
            column=column,
            attributes=attributes,
            queries=settings.queries,
            split=settings.split,
            seed=settings.seed,
        )
        composed.append(found)
    progress.finish()
    report = EvaluateChatReport(
        table=str(table.address),
        conversations=len(by_conversation(turns)),
        turns=len(turns),
        figures=figures,
        composed=tuple(composed),
        answers=answers,
        calls=calls,
        scripts=settings.out,
        plot=settings.plot,
    )
    if settings.plot is not None:
        draw_figures(report, settings.plot)
    return report


def _answered(vocabulary: Vocabulary, attributes: Sequence[str]) -> tuple[str, ...]:
    """The columns that the model is asked about: the kind and those of --fields, or the usual ones."""
    return tuple(filter(None, (vocabulary.kind, *attributes)))


def _attributes(settings: EvaluateChatSettings, vocabulary: Vocabulary) -> tuple[str, ...]:
    known = [name for name in vocabulary.spoken if name != vocabulary.kind]
    if unknown := [name for name in settings.fields if name not in known]:
        raise UsageError(
            f"--fields names {unknown[0]}, which is no column of short values that repeat; those of table "
            f"{settings.table} are {', '.join(known) or 'none'}.",
            remedy="Name some of these, separated by commas.",
        )
    return settings.fields or vocabulary.attributes
