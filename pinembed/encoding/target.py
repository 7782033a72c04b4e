"""Where one run of encode stores its embeddings, and of which encoder and size they are."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pinembed.encoder.backends.choose import quantisation_of
from pinembed.encoder.locate import EncoderFiles, encoder_spec, keep_dims, locate_encoder
from pinembed.errors import UsageError
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.settings.encoding import EncodeSettings
from pinembed.stores.address import is_address
from pinembed.table.address import TableAddress
from pinembed.table.schema import FP16
from pinembed.table.side_tables import Tables


@dataclass(frozen=True, kw_only=True)
class EncodeTarget:
    """What follows from the settings, the encoder's files and the table, which may not be there yet.

    Attributes:
        address: of the table.
        files: the encoder, with as many floats as are kept.
        spec: its identity.
        dtype: of a stored float, `fp16` or `fp32`.
    """

    address: TableAddress
    files: EncoderFiles
    spec: EncoderSpec
    dtype: str

    @property
    def reference(self) -> str:
        """How `search` finds the encoder again, from whatever folder it is started in."""
        if is_address(self.files.reference):
            return self.files.reference
        return str(self.files.folder.resolve()) if self.files.folder is not None else self.files.reference


def choose_target(settings: EncodeSettings, tables: Tables) -> EncodeTarget:
    """What was asked for; else what the table has; else all floats in fp16.

    Whether the table is this encoder's is not decided here.

    Raises:
        EncoderError: no such encoder.
        UsageError: more dims than there are, or another dtype than the table's.
    """
    address, table, files = tables.address, tables.embeddings, locate_encoder(settings.encoder)
    dims, dtype = settings.dims, settings.dtype
    spec = dataclasses.replace(encoder_spec(files), quantisation=quantisation_of(settings.backend))
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
    stored = dtype or (FP16 if table is None else table.dtype)
    return EncodeTarget(address=address, files=files, spec=spec, dtype=stored)
