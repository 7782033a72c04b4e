"""TableReport: what a table holds, as `pinembed inspect` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pinembed.nouns.encode_report import FailedImage
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.nouns.run_record import RunRecord


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """What a table holds.

    Attributes:
        table: DATABASE/NAME.
        rows: items with an embedding.
        encoder: the identity of the encoder that made them.
        dtype: of a stored float, `fp16` or `fp32`.
        fingerprint: of that encoder.
        reference: how the encoder was named when the table was made.
        columns: Arrow types by column.
        folders: rows by IMAGES folder.
        generations: version of the table by tag.
        version: of the table now.
        last_commit: time of the last commit, ISO 8601 in UTC.
        fragments: pieces that the rows lie in.
        size_bytes: of the rows' files.
        indices: names of the indices.
        failures: number of images without an embedding by reason.
        failed_images: some of them.
        locked_by: who writes to it now; empty when nobody does.
        runs: the last runs of encode, the newest first.
    """

    table: str
    rows: int
    encoder: EncoderSpec
    dtype: str
    fingerprint: str
    reference: str
    columns: Mapping[str, str]
    folders: Mapping[str, int]
    generations: Mapping[str, int]
    version: int
    last_commit: str
    fragments: int
    size_bytes: int
    indices: tuple[str, ...]
    failures: Mapping[str, int]
    failed_images: tuple[FailedImage, ...]
    locked_by: str
    runs: tuple[RunRecord, ...]
