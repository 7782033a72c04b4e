"""Bench vlm: the same questions to a full Qwen3-VL and to the trimmed one, side by side on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pinembed.encoder.device import choose_device
from pinembed.errors import MissingExtraError, ModelError, UsageError
from pinembed.nouns.bench_vlm_report import BenchVlmReport, Comparison, RequestCost
from pinembed.nouns.progress import SILENT, Progress
from pinembed.trimmed.checkpoint import read_checkpoint
from pinembed.trimmed.measure import Bench, Timing, random_model
from pinembed.trimmed.model import load_parts
from pinembed.trimmed.projector import new_projector

FLOAT_BYTES = 2  # a stored embedding is fp16
MILLION = 1_000_000
WARM_UP_PX = 64


def bench_vlm(
    *,
    model: Path | None = None,
    shape: str | None = None,
    images: Sequence[int] = (1, 2, 4, 8),
    image_px: int = 1024,
    dim: int = 512,
    tokens: int = 4,
    answer_tokens: int = 8,
    price_per_hour: float = 1.0,
    repeats: int = 1,
    dtype: str = "bfloat16",
    device: str = "auto",
    plot: Path | None = None,
    progress: Progress = SILENT,
) -> BenchVlmReport:
    """Time to the first token, tokens, operations, memory and cost, with the vision tower and with stored embeddings.

    Both requests use the same language model, so one set of weights is in memory. Loading and decoding of images is
    not counted; the full model would pay for that too.

    Args:
        model: folder of a Qwen3-VL checkpoint with its tower; or give `shape`.
        shape: `2B`, `4B` or `8B`, with drawn weights.
        images: numbers of images in a prompt.
        image_px: side of the square images.
        dim: D of the stored embeddings.
        tokens: K, soft tokens of one item.
        answer_tokens: of every answer, the first one included.
        price_per_hour: of this machine, in US dollars.
        repeats: of every measurement; the fastest counts.
        dtype: of the weights, `bfloat16`, `float16` or `float32`.
        device: `auto`, `cpu`, `cuda` ...
        plot: PNG to write.
        progress: told each measurement.

    Raises:
        UsageError: neither or both of model and shape, or numbers that cannot be meant.
        ModelError: no Qwen3-VL checkpoint, or a trimmed one.
        MissingExtraError: the extra `vlm`, or for the plot `report`, is missing.
    """
    _check(model, shape, images, image_px, (dim, tokens, answer_tokens, repeats), price_per_hour, dtype)
    chosen = choose_device(device)
    progress.start("making the model" if shape else "loading the model")
    loaded = _load(model, shape, dtype, chosen)
    projector = new_projector(
        dim=dim, tokens=tokens, token_embeddings_VH=loaded.get_input_embeddings().weight, encoder_fingerprint="", seed=0
    ).to(chosen, loaded.dtype)
    small = Bench(loaded, projector, image_px=WARM_UP_PX, answer_tokens=2)
    small.full(1), small.trimmed(1)
    bench = Bench(loaded, projector, image_px=image_px, answer_tokens=answer_tokens)
    progress.start("measuring", len(images), "prompts")
    comparisons = []
    for count in sorted(set(images)):
        full = min((bench.full(count) for _ in range(repeats)), key=lambda timing: timing.request_s)
        trimmed = min((bench.trimmed(count) for _ in range(max(repeats, 3))), key=lambda timing: timing.request_s)
        comparisons.append(
            Comparison(
                full=_cost(count, full, bench.flops(count, full=True), price_per_hour),
                trimmed=_cost(count, trimmed, bench.flops(count, full=False), price_per_hour),
            )
        )
        progress.advance()
        progress.say(
            f"{count} image(s): first token after {full.first_token_s:.2f} s with the tower, "
            f"{trimmed.first_token_s:.2f} s without"
        )
    progress.finish()
    vision = sum(parameter.numel() for parameter in loaded.model.visual.parameters())
    total = sum(parameter.numel() for parameter in loaded.parameters())
    item_size = torch.empty((), dtype=loaded.dtype).element_size()
    report = BenchVlmReport(
        model=shape or str(model),
        random_weights=shape is not None,
        device=str(chosen),
        dtype=str(loaded.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        image_px=image_px,
        image_tokens=bench.image_tokens,
        soft_tokens=tokens,
        answer_tokens=answer_tokens,
        price_per_hour=price_per_hour,
        language_bytes=(total - vision) * item_size,
        vision_bytes=vision * item_size,
        item_bytes=FLOAT_BYTES * dim,
        comparisons=tuple(comparisons),
        plot=None if plot is None else str(plot),
    )
    if plot is not None:
        draw(report, plot)
    return report


def draw(report: BenchVlmReport, path: Path) -> None:
    """Time to the first token over the number of images, both models, on a logarithmic scale.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("--plot", extra="report", package="matplotlib") from error
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    images = [comparison.full.images for comparison in report.comparisons]
    full = [comparison.full for comparison in report.comparisons]
    trimmed = [comparison.trimmed for comparison in report.comparisons]
    axes.plot(images, [cost.first_token_s for cost in full], marker="o", label="full: tower and prefill")
    axes.plot(images, [cost.first_token_s - cost.vision_s for cost in full], ":", label="full: prefill alone")
    axes.plot(images, [cost.first_token_s for cost in trimmed], marker="o", label="trimmed: stored embeddings")
    for comparison in report.comparisons:
        axes.annotate(
            f"{comparison.first_token_ratio:.0f} x",
            (comparison.trimmed.images, comparison.trimmed.first_token_s),
            textcoords="offset points",
            xytext=(0, 8),
            ha="center",
        )
    axes.set(
        title=f"{report.model}, {report.dtype} on {report.device}, {report.image_px} px images",
        xlabel="images in the prompt",
        ylabel="seconds to the first token",
        yscale="log",
        xticks=images,
    )
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _check(
    model: Path | None,
    shape: str | None,
    images: Sequence[int],
    image_px: int,
    counts: tuple[int, ...],
    price_per_hour: float,
    dtype: str,
) -> None:
    if (model is None) == (shape is None):
        raise UsageError(
            f"{'Both a MODEL and' if model else 'Neither a MODEL nor'} a --shape came; wanted one of them.",
            remedy="Give a checkpoint folder, or --shape 2B for drawn weights.",
        )
    if not images or min(images) < 1 or min(counts) < 1 or image_px < WARM_UP_PX or price_per_hour < 0:
        raise UsageError(
            f"Numbers of images, tokens and repeats must be at least 1, images at least {WARM_UP_PX} px, "
            "the price not below 0.",
            remedy="For example: --images 1,2,4,8 --image-px 1024",
        )
    if dtype not in {"bfloat16", "float16", "float32"}:
        raise UsageError(f"--dtype {dtype} is not bfloat16, float16 or float32.", remedy="Give one of these.")


def _load(model: Path | None, shape: str | None, dtype: str, device: torch.device) -> Any:
    if shape is not None:
        return random_model(shape, device=device, dtype=getattr(torch, dtype))
    assert model is not None
    if read_checkpoint(model).is_trimmed:
        raise ModelError(
            f"{model} has no vision tower; the full model is what the trimmed one is compared with.",
            remedy="Give the checkpoint that it was trimmed from.",
        )
    return load_parts(model, dtype=dtype)[0].to(device)


def _cost(images: int, timing: Timing, flops: int, price_per_hour: float) -> RequestCost:
    return RequestCost(
        images=images,
        prompt_tokens=timing.prompt_tokens,
        vision_s=timing.vision_s,
        first_token_s=timing.first_token_s,
        request_s=timing.request_s,
        flops=flops,
        peak_bytes=timing.peak_bytes,
        usd_per_million=MILLION * timing.request_s / 3600 * price_per_hour,
    )
