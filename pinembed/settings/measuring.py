"""What the benches, `doctor` and `demo` are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pinembed.errors import UsageError
from pinembed.settings.option import (
    PUT,
    REFUSED,
    Argument,
    BatchSizeOption,
    DeviceOption,
    EncoderOption,
    Option,
    OverwriteOption,
    PythonOnly,
    described,
    refuse_unknown,
)

SMALLEST_PX = 64


@described
@dataclass(frozen=True, kw_only=True)
class BenchEncodeSettings:
    """Images and an encoder to measure on this machine."""

    images: Annotated[Path, Argument("Folder of images.")]
    encoder: EncoderOption
    count: Annotated[int, Option("Images to read, spread over the folder.", flags=("--images",), min=16)] = 1000
    price_per_hour: Annotated[
        float | None,
        Option("Of this machine, in US dollars; tells what a million to a billion images take and cost.", min=0),
    ] = None
    device: DeviceOption = "auto"
    batch_size: BatchSizeOption = None


@described
@dataclass(frozen=True, kw_only=True)
class BenchVlmSettings:
    """The requests to time with the vision tower and with stored embeddings, and the model that answers them.

    Raises:
        UsageError: neither or both of model and shape, or an unknown dtype.
    """

    model: Annotated[Path | None, Argument("Folder of a checkpoint with its tower, as `trim` takes it.")] = None
    shape: Annotated[str | None, Option("2B, 4B or 8B with drawn weights, in the place of MODEL.")] = None
    images: Annotated[
        tuple[int, ...],
        Option(
            "Numbers of images in a prompt, separated by commas.",
            min=1,
            comma_separated=True,
            shown_default="1,2,4,8,16, as far as --minutes and memory reach",
        ),
    ] = ()
    image_px: Annotated[int, Option("Side of the square images, in pixels.", min=SMALLEST_PX)] = 1024
    dim: Annotated[int, Option("Floats of a stored embedding.", min=1)] = 512
    tokens: Annotated[int, Option("Soft tokens an item.", min=1)] = 4
    answer_tokens: Annotated[int, Option("Tokens of every answer.", min=1)] = 8
    price_per_hour: Annotated[float, Option("Of this machine, in US dollars; makes the cost column.", min=0)] = 1.0
    repeats: Annotated[
        int | None,
        Option("Of every measurement; the fastest counts.", min=1, shown_default="as many as fit into 10 s, 5 at most"),
    ] = None
    minutes: Annotated[
        float | None,
        Option(
            "Leave numbers of images out that would take longer than this in all.",
            min=0,
            shown_default="15, or no limit with --images",
        ),
    ] = None
    dtype: Annotated[str, Option("bfloat16, float16 or float32.")] = "bfloat16"
    plot: Annotated[Path | None, Option("PNG of the times over the number of images.", at_address=PUT)] = None
    device: DeviceOption = "auto"

    def __post_init__(self) -> None:
        if (self.model is None) == (self.shape is None):
            raise UsageError(
                f"{'Both a MODEL and' if self.model else 'Neither a MODEL nor'} a --shape came; wanted one of them.",
                remedy="Give a checkpoint folder, or --shape 2B for drawn weights.",
            )
        refuse_unknown("--dtype", self.dtype, ("bfloat16", "float16", "float32"))


@described
@dataclass(frozen=True, kw_only=True)
class DoctorSettings:
    """What to look at on this machine."""

    disk: Annotated[
        Path | None, PythonOnly("Folder on the file system whose free space counts; None takes the working folder.")
    ] = None


@described
@dataclass(frozen=True, kw_only=True)
class DemoSettings:
    """Where the demo works, and on what."""

    out: Annotated[Path, Option("Folder for everything that the demo makes.", at_address=REFUSED)] = Path("demo")
    data: Annotated[Path | None, Option("Catalogue with the sample shop's columns.", shown_default="sample_images")] = (
        None
    )
    overwrite: OverwriteOption = False
