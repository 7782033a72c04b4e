"""The search job: a text, a picture or an item to the rows nearest to it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pinembed.images.contact_sheet import SheetCell, draw_sheet
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_file
from pinembed.reports.table import SearchReport
from pinembed.settings.encoding import SearchSettings
from pinembed.table.embedding_table import EmbeddingTable
from pinembed.table.queries import query_encoder, result_of


def search(settings: SearchSettings, *, progress: Progress = SILENT) -> SearchReport:
    """Find the rows nearest to one text, one image file or one item of the table.

    Raises:
        UsageError: a condition that the table does not understand, or a place for the sheet that is none for a file.
        OutputError: the sheet cannot be written.
        TableError: no such table.
        EncoderMismatchError: the encoder is not the table's.
        ImageError: the image cannot be read.
        UnknownItemError: no such item.
    """
    queries = {"text": settings.text, "image": settings.image, "item": settings.item}
    kind, query = next((kind, str(value)) for kind, value in queries.items() if value is not None)
    check_file(settings.sheet, option="--sheet", makes_folder=True)
    opened = EmbeddingTable.open(settings.table, generation=settings.generation)
    if settings.item is not None:
        query_D: Sequence[float] = opened.vector_of(settings.item)
    else:
        query_D = _embedded(opened, settings, progress)
    started_s = time.perf_counter()
    found = opened.nearest(query_D, settings.k + (settings.item is not None), where=settings.where)
    seconds = time.perf_counter() - started_s
    rows = [row for row in found.to_pylist() if row["id"] != settings.item][: settings.k]
    results = tuple(result_of(row, rank) for rank, row in enumerate(rows, start=1))
    if settings.sheet is not None:
        cells = [SheetCell(path=hit.path, title=hit.title, score=hit.score) for hit in results]
        draw_sheet(cells, heading=query, path=settings.sheet)
    return SearchReport(
        table=str(opened.address),
        query=query,
        kind=kind,
        rows=opened.count_rows(),
        seconds=seconds,
        results=results,
        sheet=settings.sheet,
    )


def _embedded(table: EmbeddingTable, settings: SearchSettings, progress: Progress) -> Sequence[float]:
    """The query as a vector of the table's own encoder."""
    progress.start("load encoder")

    import torch

    from pinembed.encoder.context import Context
    from pinembed.images.loading import load_pixels

    loaded = query_encoder(
        table,
        tower="image" if settings.text is None else "text",
        reference=settings.encoder,
        device=settings.device,
    )
    if settings.text is not None:
        context = Context(loaded.tokenizer)
        if not context.fits(settings.text):
            tokens = context.count(settings.text)
            progress.say(f"The query is {tokens} tokens long; the encoder reads the first {context.places}.")
        vector_1D = loaded.embed_texts([settings.text])
    else:
        assert settings.image is not None  # of text and image, one was given
        pixels_CHW = load_pixels(settings.image, loaded.preprocessing)
        vector_1D = loaded.embed_images(torch.from_numpy(pixels_CHW)[None])
    progress.finish()
    return [float(value) for value in vector_1D[0]]
