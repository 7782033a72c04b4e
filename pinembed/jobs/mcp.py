"""The mcp job: a catalogue as tools of other assistants, over standard input and output."""

from __future__ import annotations

from pinembed.assistant.opening import open_retriever
from pinembed.assistant.shop_tools import ShopTools
from pinembed.errors import MissingExtraError
from pinembed.nouns.progress import SILENT
from pinembed.settings.assistant import McpSettings
from pinembed.table.embedding_table import EmbeddingTable


def open_tools(settings: McpSettings) -> ShopTools:
    """The tools of a table; its encoder is loaded with the first words that are searched for.

    Raises:
        UsageError: a group column that the table does not have.
        TableError, GenerationError: the table cannot be read.
    """
    table = EmbeddingTable.open(settings.table, generation=settings.generation)
    retriever = open_retriever(
        table, encoder=settings.encoder, group=settings.group, users=None, device=settings.device, progress=SILENT
    )
    currency = settings.currency or retriever.vocabulary.currency
    return ShopTools(retriever, group=settings.group, currency=currency)


def mcp(settings: McpSettings) -> None:
    """Serve a catalogue until the other side ends; what is written to standard output is the protocol alone.

    Raises:
        MissingExtraError: the extra `mcp` is missing.
        UsageError, TableError, GenerationError: as for `open_tools`.
    """
    try:
        from pinembed.assistant.shop_server import shop_server
    except ModuleNotFoundError as error:
        raise MissingExtraError("Serving a catalogue to assistants", extra="mcp", package=str(error.name)) from error
    shop_server(open_tools(settings)).run("stdio")
