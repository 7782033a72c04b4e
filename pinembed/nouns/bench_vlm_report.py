"""What a request costs with the vision tower and without it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RequestCost:
    """One kind of request, measured.

    Attributes:
        images: in the prompt.
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
class Comparison:
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
        device: torch device.
        dtype: of the weights.
        threads: of the CPU.
        image_px: side of the square images.
        image_tokens: that one of them takes in the full model.
        soft_tokens: that one item takes in the trimmed model.
        answer_tokens: of every answer.
        price_per_hour: of the machine, in US dollars.
        language_bytes: weights of the language model.
        vision_bytes: weights of the tower.
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
    comparisons: tuple[Comparison, ...]
    left_out: tuple[int, ...]
    plot: str | None
