"""What `bench encode` and `bench vlm` return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pinembed.stored import fields_of


@dataclass(frozen=True, kw_only=True, slots=True)
class BackendSpeed:
    """One backend on the user's own images.

    Attributes:
        backend: its name and precision.
        images_per_s: with nothing else to do, the next batch always at hand.
        min_cosine: least agreement with torch in fp32 over the images measured.
        neighbour_recall: share of the 10 nearest neighbours by torch in fp32 that it finds too, among the images
            measured; None where they were too few.
    """

    backend: str
    images_per_s: float
    min_cosine: float
    neighbour_recall: float | None = None


CATALOGUES = (10**6, 10**7, 10**8, 10**9)


@dataclass(frozen=True, kw_only=True, slots=True)
class CatalogueCost:
    """What encoding a catalogue costs at the measured rate, machines of this kind added as one likes.

    Attributes:
        images: of the catalogue.
        machine_hours: of this machine; ten of them take a tenth of the time.
        usd: at the price that was given, without requests to a store and without what moves the bytes.
        table_bytes: its vectors and columns as they were measured, before metadata columns.
    """

    images: int
    machine_hours: float
    usd: float
    table_bytes: int


@dataclass(frozen=True, kw_only=True)
class BenchEncodeReport:
    """Result of `pinembed bench encode`.

    Attributes:
        cores: CPU cores that decode, and on a CPU also encode.
        decode_images_per_s: reading, decoding and preprocessing alone, on all cores.
        backends: every installed backend, the reference first.
        backend: the fastest that agrees with the reference.
        limit_images_per_s: what decoding and that backend together allow on these cores.
        images_per_s: from files to committed rows.
        stored_images: how many of the images could be read and were stored.
        price_per_hour: of the machine, in US dollars; None where nobody asked what it costs.
        row_bytes: of the table for each image, as it lies on the disk.
    """

    encoder: str
    device: str
    cores: int
    images: int
    size_bytes: int
    decode_images_per_s: float
    backends: tuple[BackendSpeed, ...]
    backend: str
    limit_images_per_s: float
    images_per_s: float
    stored_images: int
    price_per_hour: float | None = None
    row_bytes: float = 0.0

    @property
    def costs(self) -> tuple[CatalogueCost, ...]:
        """From a million to a billion images; empty where no price was given or nothing was stored."""
        if self.price_per_hour is None or not self.images_per_s:
            return ()
        hours = [images / self.images_per_s / 3600 for images in CATALOGUES]
        return tuple(
            CatalogueCost(
                images=images,
                machine_hours=taken,
                usd=taken * self.price_per_hour,
                table_bytes=round(images * self.row_bytes),
            )
            for images, taken in zip(CATALOGUES, hours, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """The report's JSON object, with what follows from the price."""
        return fields_of(self) | {"costs": self.costs}

    @property
    def share_of_limit(self) -> float:
        """What of the limit is reached."""
        return self.images_per_s / self.limit_images_per_s if self.limit_images_per_s else 0.0


@dataclass(frozen=True, kw_only=True)
class RequestCost:
    """One kind of request, measured.

    Attributes:
        prompt_tokens: T, image tokens or soft tokens included.
        runs: how often it was measured; the times are those of the fastest run.
        vision_s: of the tower, or of the projector in the trimmed model.
        first_token_s: tower or projector, and prefill, to the first token.
        request_s: the same and the rest of the answer.
        flops: to the first token, counted.
        peak_bytes: most memory during the request above what was held before it; None where the system does not tell.
        usd_per_million: requests, one after the other, at the price that was given.
    """

    images: int
    prompt_tokens: int
    runs: int
    vision_s: float
    first_token_s: float
    request_s: float
    flops: int
    peak_bytes: int | None
    usd_per_million: float

    @property
    def prefill_s(self) -> float:
        """Of the language model's pass over the prompt."""
        return self.first_token_s - self.vision_s

    @property
    def prefill_share(self) -> float:
        """Of the time to the first token: what stays where the tower falls away and the prompt's length does not."""
        return self.prefill_s / self.first_token_s

    @property
    def requests_per_s(self) -> float:
        """One after the other."""
        return 1 / self.request_s


@dataclass(frozen=True, kw_only=True)
class RequestComparison:
    """The same request to both models."""

    full: RequestCost
    trimmed: RequestCost

    @property
    def first_token_ratio(self) -> float:
        """How many times sooner the trimmed model's first token comes."""
        return self.full.first_token_s / self.trimmed.first_token_s

    @property
    def flops_ratio(self) -> float:
        return self.full.flops / self.trimmed.flops


@dataclass(frozen=True, kw_only=True)
class BenchVlmReport:
    """Result of `pinembed bench vlm`.

    Attributes:
        model: folder, or the shape's name.
        random_weights: the weights were drawn, not loaded; time does not depend on them.
        image_tokens: that one of them takes in the full model.
        soft_tokens: that one item takes in the trimmed model.
        price_per_hour: of the machine, in US dollars.
        item_bytes: of one stored embedding.
        comparisons: by number of images.
        left_out: numbers of images that were not measured, for want of time or because the run was stopped.
        plot: PNG that was written, None for none.
    """

    model: str
    random_weights: bool
    device: str
    dtype: str
    threads: int
    image_px: int
    image_tokens: int
    soft_tokens: int
    answer_tokens: int
    price_per_hour: float
    language_bytes: int
    vision_bytes: int
    item_bytes: int
    comparisons: tuple[RequestComparison, ...]
    left_out: tuple[int, ...]
    plot: str | None
