"""What `encode`, `inspect` and `search` are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pinembed.errors import UsageError
from pinembed.settings.option import (
    ENGINE,
    INPUTS,
    PUT,
    RUN,
    SPEED,
    STORAGE,
    STREAMED,
    Argument,
    BatchSizeOption,
    DeviceOption,
    EncoderOption,
    GenerationOption,
    Option,
    PythonOnly,
    ReadTableOption,
    TableOption,
    described,
    refuse_unknown,
)

IMAGE_LIMIT_S = 60.0
StoredDtype = Literal["fp16", "fp32"]
EngineName = Literal["local", "ray"]
BACKENDS = ("auto", "torch", "openvino", "onnx", "onnx-int8")
COLUMN_TYPES = ("text", "int", "float", "bool", "date", "timestamp")
OTHER_NAMES = {
    **dict.fromkeys(("string", "str"), "text"),
    **dict.fromkeys(("integer", "int64"), "int"),
    **dict.fromkeys(("double", "number", "float64"), "float"),
    **dict.fromkeys(("boolean",), "bool"),
    **dict.fromkeys(("datetime",), "timestamp"),
}
ALWAYS_TEXT = ("file_name", "id", "split")


@described
@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """Images, and the table that they come into.

    Raises:
        UsageError: a value that cannot be meant.
    """

    images: Annotated[
        Path,
        Argument(
            "Folder of images, with or without metadata.csv, .jsonl or .parquet; or a WebDataset .tar, or a "
            ".parquet file with a column of image bytes; or a folder of tars or Parquet files. Also s3://, gs:// or "
            "az://, a prefix, an object, or shards in braces: s3://shop/train-{000..099}.tar.",
            at_address=STREAMED,
        ),
    ]
    table: TableOption
    encoder: EncoderOption
    dims: Annotated[
        int | None,
        Option(
            "Floats to keep of each embedding, the first ones. By default as many as the table has; a new one "
            "keeps all. `evaluate --storage-formats` tells what fewer cost.",
            min=1,
            panel=STORAGE,
        ),
    ] = None
    dtype: Annotated[
        StoredDtype | None,
        Option("Of a stored float. By default as in the table; fp16 in a new one.", panel=STORAGE),
    ] = None
    metadata: Annotated[
        Path | None,
        Option("Metadata file elsewhere; its file_name column is relative to IMAGES.", panel=INPUTS),
    ] = None
    files_from: Annotated[
        Path | None,
        Option(
            "Take only the files that this list names, one a line, relative to IMAGES; - reads standard input. "
            "With it --prune removes only rows whose files are no longer there.",
            panel=INPUTS,
        ),
    ] = None
    null_separated: Annotated[
        bool,
        Option(
            "Names in --files-from end in NUL, as `find -print0` writes them.", flags=("--null", "-0"), panel=INPUTS
        ),
    ] = False
    id_prefix: Annotated[
        str,
        Option(
            "Put before every id, so that folders with equal file names or keys can share a table.",
            panel=INPUTS,
        ),
    ] = ""
    moved_from: Annotated[
        Path | None,
        Option(
            "Folder that IMAGES was before, and that is gone for good: its rows are those of IMAGES now. A folder that "
            "only moved needs no word, its files are known by their content. IMAGES itself says that it is on another "
            "disk for good.",
            panel=INPUTS,
            at_address=STREAMED,
        ),
    ] = None
    columns: Annotated[
        tuple[str, ...],
        Option(
            "Type of a metadata column, so that it is stated and not guessed from the first values: text, int, float, "
            "bool, date or timestamp; may be given several times. A value that does not fit is left out and told.",
            flags=("--column",),
            metavar="NAME=TYPE",
            panel=INPUTS,
        ),
    ] = ()
    image_column: Annotated[
        str | None, Option("Column of the images in Parquet, where several hold bytes.", panel=INPUTS)
    ] = None
    retry_failed: Annotated[bool, Option("Read images again that failed before and did not change.", panel=RUN)] = False
    max_failure_rate: Annotated[
        float,
        Option(
            "Share of failed images, 0 to 1, above which the run ends with exit code 3; what was good is stored.",
            min=0,
            max=1,
            panel=RUN,
        ),
    ] = 0.5
    prune: Annotated[bool, Option("Remove the rows whose files are gone.", panel=RUN)] = False
    force: Annotated[bool, Option("Let --prune remove more than a fifth of the rows.", panel=RUN)] = False
    dry_run: Annotated[bool, Option("Show what would be done and do nothing.", panel=RUN)] = False
    backend: Annotated[
        str,
        Option(
            "auto, torch, openvino, onnx or onnx-int8. auto measures them on 300 images or more "
            "and takes the fastest whose embeddings agree with torch in fp32; the choice, and the model as converted "
            "for it, are kept in the cache folder for the encoder and the machine. onnx-int8 makes vectors with other "
            "neighbours, says how many of the right ones they find, and needs a table of its own.",
            panel=SPEED,
        ),
    ] = "auto"
    reduced_decode: Annotated[
        bool,
        Option(
            "Decode JPEGs at a half, a quarter or an eighth of their size where that is still twice what the "
            "encoder needs: up to twice as fast for 12 megapixels, and pixels differ by 0.2 of 255 on average. Rows "
            "that are stored keep their vectors; `inspect` shows which runs had it.",
            panel=SPEED,
        ),
    ] = False
    measure: Annotated[
        bool,
        Option(
            "Measure what `audit` needs while the pictures are decoded anyway; without, `audit` reads them itself.",
            panel=RUN,
        ),
    ] = False
    device: DeviceOption = "auto"
    batch_size: BatchSizeOption = None
    engine: Annotated[
        EngineName,
        Option(
            "local encodes in this process. ray encodes in shards on a Ray cluster, whose machines see images, encoder "
            "and table under the same paths; it needs the extra ray.",
            panel=ENGINE,
        ),
    ] = "local"
    address: Annotated[
        str | None,
        Option(
            "Of the Ray cluster: HOST:PORT or auto. By default RAY_ADDRESS, or without it a cluster of this machine "
            "alone, which ends with the run.",
            panel=ENGINE,
        ),
    ] = None
    engine_workers: Annotated[
        int | None,
        Option(
            "Processes of the cluster that encode.",
            flags=("--workers",),
            min=1,
            shown_default="as many as its cores or GPUs allow",
            panel=ENGINE,
        ),
    ] = None
    threads_per_worker: Annotated[
        int | None,
        Option("Threads that each of them decodes and computes with.", min=1, shown_default="1", panel=ENGINE),
    ] = None
    shard_images: Annotated[
        int | None,
        Option(
            "Images of a shard, which is one fragment of the table and what the death of a worker costs at most. By "
            "default about five minutes of work with ray; local has no shards then, and commits every 20 seconds.",
            min=1,
            panel=ENGINE,
        ),
    ] = None
    plan_images: Annotated[
        int,
        Option(
            "Images to plan at a time, each of which takes some 150 bytes of memory and its metadata. Where there are "
            "more, they come in parts, one encoded before the next is planned; those of --files-from come in one.",
            min=1,
            panel=RUN,
        ),
    ] = 20_000_000
    workers: Annotated[int | None, PythonOnly("Processes that decode; None takes one for each CPU core.")] = None
    image_limit_s: Annotated[float, PythonOnly("Time limit for reading and decoding one image.")] = IMAGE_LIMIT_S
    commit_rows: Annotated[int, PythonOnly("Commit after this many rows, or after commit_s.")] = 4096
    commit_s: Annotated[float, PythonOnly("Commit after this many seconds, or after commit_rows.")] = 20.0

    def __post_init__(self) -> None:
        refuse_unknown("--backend", self.backend, BACKENDS)
        _ = self.column_types
        self._check_engine()

    def _check_engine(self) -> None:
        of_ray = {
            "--address": self.address,
            "--workers": self.engine_workers,
            "--threads-per-worker": self.threads_per_worker,
        }
        given = [flag for flag, value in of_ray.items() if value is not None]
        if self.engine == "local" and given:
            raise UsageError(
                f"{', '.join(given)} is of --engine ray; this run's engine is local.",
                remedy="Add --engine ray, or leave it out.",
            )

    @property
    def is_in_shards(self) -> bool:
        """Whether images are encoded in shards with receipts."""
        return self.engine != "local" or self.shard_images is not None

    @property
    def column_types(self) -> dict[str, str]:
        """One of COLUMN_TYPES by metadata column.

        Raises:
            UsageError: no such type, no name, or one that has a type anyway.
        """
        types: dict[str, str] = {}
        for statement in self.columns:
            name, _, kind = statement.rpartition("=")
            kind = OTHER_NAMES.get(kind.lower(), kind.lower())
            if not name or kind not in COLUMN_TYPES:
                raise UsageError(
                    f"--column {statement} states no type; wanted NAME=TYPE with {', '.join(COLUMN_TYPES)}.",
                    remedy="For example: --column price=float",
                )
            if name in ALWAYS_TEXT or types.get(name, kind) != kind:
                reason = "is text always" if name in ALWAYS_TEXT else f"was {types[name]} in a statement before"
                raise UsageError(f"--column {statement}: {name} {reason}.", remedy="Leave the statement out.")
            types[name] = kind
        return types


@described
@dataclass(frozen=True, kw_only=True)
class InspectSettings:
    """A table to look at."""

    table: ReadTableOption
    generation: GenerationOption = None


@described
@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """A table, and one text, picture or item to look for in it.

    Raises:
        UsageError: none of the three, or several.
    """

    text: Annotated[str | None, Argument("Words to search for.")] = None
    table: ReadTableOption
    generation: GenerationOption = None
    image: Annotated[Path | None, Option("Picture to search for, an image file.")] = None
    item: Annotated[str | None, Option("Id of a row; finds the items like it.")] = None
    encoder: Annotated[str | None, Option("Encoder of the table; by default the one that it was made with.")] = None
    k: Annotated[int, Option("Number of results.", flags=("-k",), min=1)] = 10
    where: Annotated[str | None, Option("SQL condition, such as \"color = 'red' and price < 20\".")] = None
    sheet: Annotated[Path | None, Option("Draw the results as a contact sheet, a PNG.", at_address=PUT)] = None
    device: DeviceOption = "cpu"

    def __post_init__(self) -> None:
        given = [kind for kind in ("text", "image", "item") if getattr(self, kind) is not None]
        if len(given) != 1 or self.text == "":
            raise UsageError(
                f"search needs one of TEXT, --image and --item; found {', '.join(given) or 'none'}.",
                remedy='Run: pinembed search --table TABLE "words to search for"',
            )
