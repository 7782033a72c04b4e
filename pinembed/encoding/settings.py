"""What the user asked one run of encode for, checked, and how the run stores embeddings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pinembed.catalogue.inputs import InputChoice
from pinembed.encoder.locate import EncoderFiles, encoder_spec, keep_dims
from pinembed.errors import UsageError
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.table.address import TableAddress
from pinembed.table.embedding_table import EmbeddingTable, table_exists
from pinembed.table.schema import DTYPES, FP16

COMMIT_ROWS = 4096
COMMIT_S = 20.0
IMAGE_LIMIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """What `encode` was given; its docstring describes each.

    Raises:
        UsageError: a value that cannot be meant.
    """

    address: TableAddress
    files: EncoderFiles
    spec: EncoderSpec
    dtype: str
    choice: InputChoice
    retry_failed: bool
    max_failure_rate: float
    prune: bool
    force: bool
    backend: str
    device: str
    batch_size: int | None
    workers: int
    image_limit_s: float
    reduced_decode: bool
    commit_rows: int
    commit_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.max_failure_rate <= 1:
            raise UsageError(
                f"--max-failure-rate {self.max_failure_rate} is no share; wanted a number from 0 to 1.",
                remedy="0.05 ends the run with exit code 3 when more than 5 % of the images failed.",
            )

    @property
    def reference(self) -> str:
        """How `search` finds the encoder again, from whatever folder it is started in."""
        return str(self.files.folder.resolve()) if self.files.folder is not None else self.files.reference


@dataclass(frozen=True, kw_only=True)
class Storage:
    """What a row's vector will be.

    Attributes:
        files: the encoder, with as many floats as are kept.
        spec: its identity.
        dtype: of a stored float, `fp16` or `fp32`.
    """

    files: EncoderFiles
    spec: EncoderSpec
    dtype: str


def choose_storage(
    address: TableAddress, files: EncoderFiles, *, quantisation: str, dims: int | None, dtype: str | None
) -> Storage:
    """What was asked for; else what the table has; else all floats in fp16.

    Whether the table is this encoder's is not decided here.

    Args:
        address: of the table, which may not be there yet.
        files: the encoder.
        quantisation: as in EncoderSpec.
        dims: floats to keep of an embedding.
        dtype: of a stored float.

    Raises:
        UsageError: more dims than there are, an unknown dtype, or another one than the table's.
        TableError: the table cannot be opened.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"--dtype {dtype} is unknown; wanted {' or '.join(DTYPES)}.", remedy="Give one of them.")
    spec = dataclasses.replace(encoder_spec(files), quantisation=quantisation)
    table = EmbeddingTable.open(str(address)) if table_exists(address) else None
    if table is not None and dtype not in (None, table.dtype):
        raise UsageError(
            f"Table {address} stores {table.dtype} floats; --dtype {dtype} asks for others.",
            remedy="Leave --dtype out for those of the table, or give another --table.",
        )
    if table is not None and dims is None:
        kept = dataclasses.replace(spec, dim=table.spec.dim)
        dims = table.spec.dim if kept.fingerprint == table.spec.fingerprint else None
    files = keep_dims(files, dims)
    spec = dataclasses.replace(spec, dim=files.dim)
    return Storage(files=files, spec=spec, dtype=dtype or (FP16 if table is None else table.dtype))
