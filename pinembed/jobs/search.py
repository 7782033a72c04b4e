"""The search job: a text, a picture or an item to the rows nearest to it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from pinembed.encoder.locate import encoder_spec, keep_dims, locate_encoder
from pinembed.errors import EncoderMismatchError, UsageError
from pinembed.images.contact_sheet import SheetCell, draw_sheet
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_file
from pinembed.reports.table import SearchReport, SearchResult
from pinembed.settings.encoding import SearchSettings
from pinembed.table.embedding_table import SCORE, EmbeddingTable
from pinembed.table.schema import OWN_COLUMNS


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
    if settings.sheet is not None:
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
    results = tuple(_result(rank, row) for rank, row in enumerate(rows, start=1))
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
    reference = settings.encoder or table.reference
    if not reference:
        raise UsageError(
            f"Table {table.address} does not say where its encoder lies.", remedy="Give it with --encoder."
        )
    files = locate_encoder(reference)
    # a query by the fp32 towers is near enough to vectors of the same encoder in int8
    stored = table.spec
    spec = dataclasses.replace(encoder_spec(files), quantisation=stored.quantisation, dim=stored.dim)
    if settings.encoder is not None:
        table.check_encoder(spec)
    elif spec.fingerprint != stored.fingerprint:
        raise EncoderMismatchError(
            f"Table {table.address} was made with {reference} as it was then ({stored.fingerprint}); "
            f"what lies there now is another encoder ({spec.fingerprint}).",
            remedy="Give the encoder that made the table with --encoder.",
        )
    progress.start("load encoder")

    import torch

    from pinembed.encoder.context import Context
    from pinembed.encoder.encoder import build_encoder
    from pinembed.encoder.towers import Tower
    from pinembed.images.loading import load_pixels
    from pinembed.machine import choose_device

    # only the tower that the query needs: the other one is the larger part of the time and memory of a search
    tower: Tower = "image" if settings.text is None else "text"
    loaded = build_encoder(keep_dims(files, stored.dim), tower=tower, device=choose_device(settings.device))
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


def _result(rank: int, row: dict[str, object]) -> SearchResult:
    return SearchResult(
        rank=rank,
        score=float(str(row[SCORE])),
        id=str(row["id"]),
        file_name=str(row["file_name"]),
        folder=str(row["folder"]),
        fields={name: value for name, value in row.items() if name not in OWN_COLUMNS and name != SCORE},
    )
