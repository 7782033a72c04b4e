"""The bench vlm job: the same question with pixels through the vision tower and with stored embeddings."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from pinembed.errors import ModelError, StoppedError
from pinembed.evaluation.plot import figure_class, save_plot
from pinembed.machine import choose_device
from pinembed.nouns.progress import SILENT, Progress
from pinembed.outfolder import check_file
from pinembed.reports.bench import BenchVlmReport, RequestComparison, RequestCost
from pinembed.settings.measuring import SMALLEST_PX, BenchVlmSettings
from pinembed.trimmed.checkpoint import read_checkpoint
from pinembed.trimmed.measure import Bench, Timing, free_bytes, random_model
from pinembed.trimmed.model import load_parts
from pinembed.trimmed.projector import new_projector


def draw(report: BenchVlmReport, path: Path) -> None:
    """Time to the first token over the number of images, both models, and what the full model spends it on."""
    figure = figure_class("--plot")(figsize=(10, 4), layout="constrained")
    axes, share_axes = figure.subplots(1, 2, width_ratios=(2, 1))
    images = [comparison.full.images for comparison in report.comparisons]
    full = [comparison.full for comparison in report.comparisons]
    trimmed = [comparison.trimmed for comparison in report.comparisons]
    axes.plot(images, [cost.first_token_s for cost in full], marker="o", label="full: tower and prefill")
    axes.plot(images, [cost.prefill_s for cost in full], ":", label="full: prefill alone")
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
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks(images, [str(count) for count in images], minor=False)
    axes.legend(fontsize=8)
    indices = range(len(images))
    prefill = [cost.prefill_share for cost in full]
    tower = [1 - share for share in prefill]
    share_axes.bar(indices, tower, label="tower")
    share_axes.bar(indices, prefill, bottom=tower, label="prefill")
    share_axes.set_xticks(indices, [str(count) for count in images])
    share_axes.set(title="full model: share of the time", xlabel="images in the prompt", ylim=(0, 1))
    share_axes.legend(fontsize=8, loc="lower right")
    save_plot(figure, path)


FLOAT_BYTES = 2  # a stored embedding is fp16
MILLION = 1_000_000
IMAGES = (1, 2, 4, 8, 16)
MINUTES = 15.0  # two cores measure the 2B's shape with 1 to 16 images of 1,024 px in that time
MOST_RUNS, REPEAT_S = 5, 10.0


def bench_vlm(settings: BenchVlmSettings, *, progress: Progress = SILENT) -> BenchVlmReport:
    """Time to the first token, tokens, operations, memory and cost, with the vision tower and with stored embeddings.

    Both requests use the same language model, so one set of weights is in memory. Loading and decoding of images is
    not counted; the full model would pay for that too. Each measurement is told as it comes; a stopped run reports
    those that it made.

    Raises:
        UsageError: an unknown shape, or a place for the plot that is none for a file.
        OutputError: the plot cannot be written.
        ModelError: no checkpoint of a known family, or a trimmed one.
        StoppedError: a signal before anything was measured.
        MissingExtraError: the extra `vlm`, or for the plot `report`, is missing.
    """
    counts = sorted(set(settings.images or IMAGES))
    if settings.plot is not None:
        check_file(settings.plot, option="--plot")  # before minutes of measuring
        figure_class("--plot")
    limit_s = 60 * (settings.minutes if settings.minutes is not None else math.inf if settings.images else MINUTES)
    began = time.perf_counter()
    chosen = choose_device(settings.device)
    progress.start("making the model" if settings.shape else "loading the model")
    loaded = _load(settings, chosen)
    projector = new_projector(
        dim=settings.dim,
        tokens=settings.tokens,
        token_embeddings_VH=loaded.get_input_embeddings().weight,
        encoder_fingerprint="",
        seed=0,
    ).to(chosen, loaded.dtype)
    small = Bench(loaded, projector, image_px=SMALLEST_PX, answer_tokens=2)
    small.full(1), small.trimmed(1)
    bench = Bench(loaded, projector, image_px=settings.image_px, answer_tokens=settings.answer_tokens)
    run = _Run(bench, settings, deadline=began + limit_s, progress=progress)
    progress.start("measuring", len(counts), "prompts")
    comparisons = run.measure(counts)
    progress.finish()
    vision = sum(parameter.numel() for parameter in loaded.model.visual.parameters())
    total = sum(parameter.numel() for parameter in loaded.parameters())
    item_size = torch.empty((), dtype=loaded.dtype).element_size()
    report = BenchVlmReport(
        model=settings.shape or str(settings.model),
        random_weights=settings.shape is not None,
        device=str(chosen),
        dtype=str(loaded.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        image_px=settings.image_px,
        image_tokens=bench.image_tokens,
        soft_tokens=settings.tokens,
        answer_tokens=settings.answer_tokens,
        price_per_hour=settings.price_per_hour,
        language_bytes=(total - vision) * item_size,
        vision_bytes=vision * item_size,
        item_bytes=FLOAT_BYTES * settings.dim,
        comparisons=tuple(comparisons),
        left_out=tuple(count for count in counts if count not in {made.full.images for made in comparisons}),
        plot=None if settings.plot is None else str(settings.plot),
    )
    if settings.plot is not None:
        draw(report, settings.plot)
    return report


class _Run:
    """The measurements, from few images to many, until a deadline on time.perf_counter's clock."""

    def __init__(self, bench: Bench, settings: BenchVlmSettings, *, deadline: float, progress: Progress) -> None:
        self._bench = bench
        self._settings = settings
        self._deadline = deadline
        self._progress = progress
        self._s_per_flop = 0.0
        self._bytes_per_image = 0.0

    def measure(self, counts: Sequence[int]) -> list[RequestComparison]:
        """Those for which there is time and memory, the first one in any case.

        Raises:
            StoppedError: a signal before the first was through.
        """
        made: list[RequestComparison] = []
        for count in counts:
            lack = self._lack(count) if made else None
            if lack is not None:
                self._progress.say(f"{count} images are left out: {lack}")
                continue
            try:
                made.append(self._compare(count))
            except StoppedError:
                if not made:
                    raise
                break
            self._progress.advance()
        return made

    def _compare(self, count: int) -> RequestComparison:
        trimmed = self._cost(count, full=False)
        self._progress.say(f"{count} image(s) without the tower: first token after {trimmed.first_token_s:.2f} s")
        full = self._cost(count, full=True)
        self._s_per_flop = full.request_s / full.flops
        self._bytes_per_image = (full.peak_bytes or 0) / count
        made = RequestComparison(full=full, trimmed=trimmed)
        self._progress.say(
            f"{count} image(s) with the tower: {full.first_token_s:.2f} s, "
            f"{full.prefill_share:.0%} of it the language model; {made.first_token_ratio:.1f} x sooner without"
        )
        return made

    def _lack(self, count: int) -> str | None:
        """What there is not enough of, by the number of images that was measured last; None where it will do."""
        left_s = self._deadline - time.perf_counter()
        wanted_s = self._bench.flops(count, full=True) * self._s_per_flop
        if wanted_s > left_s:
            return f"they would take about {wanted_s:.0f} s, {max(left_s, 0):.0f} s are left"
        free, wanted = free_bytes(self._bench.device), count * self._bytes_per_image
        if free is not None and wanted > free:
            return f"they would take about {wanted / 1e9:.1f} GB beside the weights, {free / 1e9:.1f} GB are free"
        return None

    def _cost(self, count: int, *, full: bool) -> RequestCost:
        """The fastest of the runs: as often as was asked for, or until REPEAT_S are over."""
        timings: list[Timing] = []
        began = time.perf_counter()
        while not self._is_enough(len(timings), time.perf_counter() - began):
            timings.append(self._bench.full(count) if full else self._bench.trimmed(count))
        fastest = min(timings, key=lambda timing: timing.first_token_s)
        return RequestCost(
            images=count,
            prompt_tokens=fastest.prompt_tokens,
            runs=len(timings),
            vision_s=fastest.vision_s,
            first_token_s=fastest.first_token_s,
            request_s=fastest.request_s,
            flops=self._bench.flops(count, full=full),
            peak_bytes=fastest.peak_bytes,
            usd_per_million=MILLION * fastest.request_s / 3600 * self._settings.price_per_hour,
        )

    def _is_enough(self, runs: int, spent_s: float) -> bool:
        if self._settings.repeats is not None:
            return runs >= self._settings.repeats
        return runs >= MOST_RUNS or (runs > 0 and spent_s * (runs + 1) / runs > REPEAT_S)


def _load(settings: BenchVlmSettings, device: torch.device) -> Any:
    model, dtype = settings.model, settings.dtype
    if settings.shape is not None:
        return random_model(settings.shape, device=device, dtype=getattr(torch, dtype))
    assert model is not None
    if read_checkpoint(model).is_trimmed:
        raise ModelError(
            f"{model} has no vision tower; the full model is what the trimmed one is compared with.",
            remedy="Give the checkpoint that it was trimmed from.",
        )
    return load_parts(model, dtype=dtype)[0].to(device)
