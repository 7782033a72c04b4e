"""EncodeSettings: what the user asked one run of encode for, checked."""

from __future__ import annotations

from dataclasses import dataclass

from pinembed.encoder.locate import EncoderFiles
from pinembed.errors import UsageError
from pinembed.jobs.encode.inputs import InputChoice
from pinembed.nouns.encoder_spec import EncoderSpec
from pinembed.table.address import TableAddress


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
