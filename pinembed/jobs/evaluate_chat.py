"""The evaluate-chat job: scripted conversations over a table, and "this, but in COLOUR", as figures."""

from __future__ import annotations

from pinembed.assistant.composed import measure_composed
from pinembed.assistant.conversation import Assistant
from pinembed.assistant.lexicon import Lexicon
from pinembed.assistant.opening import TextTower, open_retriever
from pinembed.assistant.script_maker import make_scripts
from pinembed.assistant.script_measure import measure_scripts
from pinembed.assistant.scripts import by_conversation, read_scripts, write_scripts
from pinembed.assistant.vocabulary import Vocabulary
from pinembed.errors import UsageError
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_file
from pinembed.reports.assistant import EvaluateChatReport
from pinembed.settings.assistant import EvaluateChatSettings
from pinembed.table.embedding_table import EmbeddingTable


def evaluate_chat(settings: EvaluateChatSettings, *, progress: Progress = SILENT) -> EvaluateChatReport:
    """Measure how what is said becomes acts, and whether lists, references and citations are what was meant.

    Raises:
        DataError: the scripts cannot be read, or none can be made of the table.
        UsageError: a column that the table does not have, or an --out that is no place for a file.
        TableError, EncoderError, GenerationError: the table or its encoder cannot be read.
        OutputError: the scripts cannot be written.
    """
    if settings.out is not None:
        check_file(settings.out, option="--out", makes_folder=True)
    progress.start("read the catalogue")
    table = EmbeddingTable.open(settings.table, generation=settings.generation)
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
    assistant = Assistant(retriever, Lexicon(vocabulary), k=settings.k)
    figures = measure_scripts(assistant, turns, name="rules")
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
    return EvaluateChatReport(
        table=str(table.address),
        conversations=len(by_conversation(turns)),
        turns=len(turns),
        figures=figures,
        composed=tuple(composed),
        scripts=settings.out,
    )


def _attributes(settings: EvaluateChatSettings, vocabulary: Vocabulary) -> tuple[str, ...]:
    known = [name for name in vocabulary.spoken if name != vocabulary.kind]
    if unknown := [name for name in settings.fields if name not in known]:
        raise UsageError(
            f"--fields names {unknown[0]}, which is no column of short values that repeat; those of table "
            f"{settings.table} are {', '.join(known) or 'none'}.",
            remedy="Name some of these, separated by commas.",
        )
    return settings.fields or vocabulary.attributes
