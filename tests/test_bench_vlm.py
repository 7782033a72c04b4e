"""Bench vlm: what is counted, what is refused. How long it takes is not for a test."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pinembed.errors import ModelError, StoppedError, UsageError
from pinembed.jobs import bench_vlm as bench_vlm_run
from pinembed.jobs.bench_vlm import bench_vlm
from pinembed.settings.measuring import BenchVlmSettings
from pinembed.trimmed.families import FAMILIES
from pinembed.trimmed.measure import (
    SHAPES,
    Bench,
    Timing,
    VisionShape,
    free_bytes,
    prefill_flops,
    random_model,
    shape_config,
)
from pinembed.trimmed.model import load_parts
from pinembed.trimmed.projector import new_projector
from pinembed.trimmed.trim import trimmed_config
from tests.conftest import CliResult

PARAMETERS = {"2B": (2.1e9, 0.19), "4B": (4.4e9, 0.09), "8B": (8.8e9, 0.07)}


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_has_the_published_size_and_loses_its_tower(shape: str) -> None:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    config = shape_config(shape)
    with torch.device("meta"):
        full = Qwen3VLForConditionalGeneration(config)
        trimmed = Qwen3VLForConditionalGeneration(Qwen3VLConfig(**trimmed_config(config.to_dict(), FAMILIES[0])))
    total = sum(parameter.numel() for parameter in full.parameters())
    tower = sum(parameter.numel() for parameter in full.model.visual.parameters())
    size, share = PARAMETERS[shape]

    assert total == pytest.approx(size, rel=0.03)
    assert tower / total == pytest.approx(share, abs=0.01)
    left = sum(parameter.numel() for parameter in trimmed.parameters())
    assert 0 < left - (total - tower) < 100_000
    assert VisionShape.of(config.vision_config.to_dict()).tokens(1024) == 1024


def test_bench_compares_the_two_models_for_every_number_of_images(tiny_qwen3vl: Path, tmp_path: Path) -> None:
    report = bench_vlm(
        BenchVlmSettings(
            model=tiny_qwen3vl,
            images=(2, 1),
            image_px=128,
            dim=8,
            tokens=3,
            price_per_hour=2.0,
            plot=tmp_path / "p.png",
        )
    )

    assert [comparison.full.images for comparison in report.comparisons] == [1, 2]
    for comparison in report.comparisons:
        images = comparison.full.images
        assert comparison.full.prompt_tokens == images * (16 + 2) + 32
        assert comparison.trimmed.prompt_tokens == images * (3 + 2) + 32
        assert comparison.full.flops > comparison.trimmed.flops
        assert 0 < comparison.full.first_token_s <= comparison.full.request_s
        assert comparison.full.usd_per_million == pytest.approx(1e6 * comparison.full.request_s / 3600 * 2)
    assert report.image_tokens == 16
    assert not report.random_weights
    assert report.item_bytes == 16
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_bench_leaves_out_what_would_take_too_long_and_names_it(
    cli: Callable[..., CliResult], tiny_qwen3vl: Path
) -> None:
    result = cli("bench", "vlm", tiny_qwen3vl, "--minutes", "0", "--image-px", "64", "--dim", "8", "--repeats", "2")

    assert result.exit_code == 0
    assert "2 images are left out: they would take about" in result.words
    assert "Not measured: 2, 4, 8, 16 images." in result.words


def test_bench_leaves_out_what_does_not_fit_into_memory_and_names_it(
    cli: Callable[..., CliResult], tiny_qwen3vl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(bench: Bench, images: int) -> Timing:
        return dataclasses.replace(measure(bench, images), peak_bytes=images * 1_000_000_000)

    measure = Bench.full
    monkeypatch.setattr(Bench, "full", hungry)
    monkeypatch.setattr(bench_vlm_run, "free_bytes", lambda device: 3_000_000_000)

    result = cli("bench", "vlm", tiny_qwen3vl, "--images", "1,2,4", "--image-px", "64", "--dim", "8", "--repeats", "1")

    assert result.exit_code == 0
    assert "4 images are left out: they would take about 4.0 GB beside the weights, 3.0 GB are free" in result.words
    assert "Not measured: 4 images." in result.words


def test_free_memory_is_what_the_system_says() -> None:
    free = free_bytes(torch.device("cpu"))
    assert free is None or 0 < free < 1 << 50


def test_bench_that_is_stopped_reports_what_it_measured(
    tiny_qwen3vl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Bench.full

    def full(bench: Bench, images: int) -> Timing:
        if images > 1:
            raise StoppedError(2)
        return measure(bench, images)

    monkeypatch.setattr(Bench, "full", full)

    report = bench_vlm(BenchVlmSettings(model=tiny_qwen3vl, images=(1, 2), image_px=64, dim=8, plot=tmp_path / "p.png"))

    assert [comparison.full.images for comparison in report.comparisons] == [1]
    assert report.left_out == (2,)
    assert (tmp_path / "p.png").is_file()


def test_bench_that_is_stopped_before_its_first_measurement_has_nothing_to_report(
    tiny_qwen3vl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(bench: Bench, images: int) -> Timing:
        raise StoppedError(15)

    monkeypatch.setattr(Bench, "full", stopped)
    with pytest.raises(StoppedError):
        bench_vlm(BenchVlmSettings(model=tiny_qwen3vl, images=(64, 65), image_px=64, dim=8))


def test_bench_measures_as_often_as_it_is_told(tiny_qwen3vl: Path) -> None:
    [comparison] = bench_vlm(
        BenchVlmSettings(model=tiny_qwen3vl, images=(1,), image_px=64, dim=8, repeats=2)
    ).comparisons

    assert (comparison.full.runs, comparison.trimmed.runs) == (2, 2)
    assert comparison.full.requests_per_s == pytest.approx(1 / comparison.full.request_s)
    assert comparison.full.prefill_share == pytest.approx(1 - comparison.full.vision_s / comparison.full.first_token_s)


def test_bench_counts_what_the_flop_counter_of_torch_counts(tiny_qwen3vl: Path) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model, _ = load_parts(tiny_qwen3vl, dtype="float32")
    model.set_attn_implementation("eager")
    projector = new_projector(
        dim=8, tokens=3, token_embeddings_VH=model.get_input_embeddings().weight, encoder_fingerprint="", seed=0
    )
    bench = Bench(model, projector, image_px=128, answer_tokens=1)
    text = model.config.text_config
    with FlopCounterMode(display=False) as counter:
        timing = bench.full(2)
    dropped_by_the_mask = (
        2 * timing.prompt_tokens**2 * text.num_attention_heads * text.head_dim * text.num_hidden_layers
    )

    assert bench.flops(2, full=True) + dropped_by_the_mask == counter.get_total_flops()
    tower = VisionShape.of(model.config.vision_config.to_dict()).flops(128)
    assert bench.flops(2, full=True) == 2 * tower + prefill_flops(text.to_dict(), timing.prompt_tokens)


def test_random_model_has_finite_tied_weights_and_rotary_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    from pinembed.trimmed import measure as shapes

    monkeypatch.setitem(
        shapes.TEXT,
        "2B",
        {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 8},
    )
    monkeypatch.setitem(shapes.VISION, "2B", {**shapes.SMALL_TOWER, "depth": 6, "hidden_size": 64})

    model = random_model("2B", device=torch.device("cpu"), dtype=torch.bfloat16)

    assert all(bool(torch.isfinite(parameter).all()) for parameter in model.parameters())
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert float(model.model.language_model.rotary_emb.inv_freq[0]) == 1.0
    assert float(model.model.visual.rotary_pos_emb.inv_freq[0]) == 1.0


def test_bench_command_prints_a_table(cli: Callable[..., CliResult], tiny_qwen3vl: Path) -> None:
    result = cli("bench", "vlm", tiny_qwen3vl, "--images", "1", "--image-px", "64", "--dim", "8")
    assert result.exit_code == 0
    assert "first token" in result.stdout
    assert "x sooner" in result.stdout


def test_bench_command_gives_one_object(cli: Callable[..., CliResult], tiny_qwen3vl: Path) -> None:
    result = cli("bench", "vlm", tiny_qwen3vl, "--images", "1", "--image-px", "64", "--dim", "8", "--json")
    assert result.json["comparisons"][0]["full"]["images"] == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--images", "1,two"], "--images 1,two is no list of numbers"),
        (["--images", "0"], "--images is 0; wanted at least 1"),
        (["--image-px", "8"], "--image-px is 8; wanted at least 64"),
        (["--dtype", "int3"], "--dtype int3 is unknown; wanted bfloat16"),
        (["--shape", "2B"], "Both a MODEL and a --shape came"),
    ],
)
def test_bench_refuses_what_cannot_be_meant(
    cli: Callable[..., CliResult], tiny_qwen3vl: Path, options: list[str], told: str
) -> None:
    result = cli("bench", "vlm", tiny_qwen3vl, *options)
    assert result.exit_code == 2
    assert told in result.words


def test_bench_refuses_an_unknown_shape() -> None:
    with pytest.raises(UsageError, match="--shape 3B is not one of 2B, 4B, 8B"):
        bench_vlm(BenchVlmSettings(shape="3B"))


def test_bench_refuses_a_trimmed_model(trimmed_qwen3vl: Path) -> None:
    with pytest.raises(ModelError, match="has no vision tower"):
        bench_vlm(BenchVlmSettings(model=trimmed_qwen3vl))
