"""Backends: they agree with torch in fp32, the fastest that does is taken, and the choice is remembered."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pinembed.encoder.backends import choose, with_torch
from pinembed.encoder.backends.choose import BackendMeasure, choose_backend, measure_backends
from pinembed.encoder.backends.tower import Pixels, Vectors
from pinembed.encoder.backends.with_torch import TorchBackend
from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.errors import EncoderError, MissingExtraError, NonFiniteEmbeddingError
from pinembed.jobs.encode import encode
from tests.conftest import CliResult

BATCH = 4
Cli = Callable[..., CliResult]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(choose, "MEASURE_S", 0.02)
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> Encoder:
    return load_encoder(str(tiny_encoder))


@pytest.fixture(scope="module")
def pixels(encoder: Encoder) -> Pixels:
    side_px = encoder.preprocessing.image_px
    return np.random.default_rng(0).integers(0, 256, (6, 3, side_px, side_px), np.uint8)


def chosen(name: str, encoder: Encoder, pixels: Pixels, said: list[str] | None = None) -> str:
    say = [] if said is None else said
    return choose_backend(name, encoder, pixels, fingerprint="f", batch_size=BATCH, say=say.append).name


@pytest.mark.parametrize("name", ["torch fp32", "torch bf16", "openvino fp32", "onnx fp32"])
def test_backend_agrees_with_the_encoder_for_any_number_of_images(name: str, encoder: Encoder, pixels: Pixels) -> None:
    package = {"openvino fp32": "openvino", "onnx fp32": "onnxruntime"}.get(name, "torch")
    if importlib.util.find_spec(package) is None:  # importing it here would wake OpenVINO's telemetry
        pytest.skip(f"{package} is not installed")
    if name == "torch bf16":
        backend = TorchBackend(encoder, BATCH, torch.bfloat16)
    else:
        backend = choose._builders(encoder, BATCH)[name]()
    expected = encoder.embed_images(torch.from_numpy(pixels)).numpy()

    for count in (1, BATCH, 6):
        vectors = backend.embed(pixels[:count])
        assert vectors.shape == (count, encoder.dim)
        assert (vectors * expected[:count]).sum(axis=1).min() > 0.999


def test_vector_does_not_depend_on_the_batch_that_it_came_in(encoder: Encoder, pixels: Pixels) -> None:
    backend = TorchBackend(encoder, BATCH)

    together, alone = backend.embed(pixels[:BATCH]), [backend.embed(pixels[n : n + 1])[0] for n in range(BATCH)]

    np.testing.assert_array_equal(together, np.stack(alone))


def test_auto_takes_the_fastest_that_agrees(encoder: Encoder, pixels: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    measures = [
        BackendMeasure(backend="torch fp32", images_per_s=20, min_cosine=1.0),
        BackendMeasure(backend="torch bf16", images_per_s=80, min_cosine=0.9),
        BackendMeasure(backend="openvino bf16", images_per_s=50, min_cosine=0.9999),
    ]
    monkeypatch.setattr(choose, "measure_backends", lambda builders, pixels_BCHW: measures)
    monkeypatch.setattr(choose, "_builders", lambda encoder, batch: dict.fromkeys(BUILT, Named))
    said: list[str] = []

    assert chosen("auto", encoder, pixels, said) == "built"
    assert said[1] == "torch bf16: 80 images/s, cosine to fp32 torch 0.90000"
    assert choose._remembered().popitem()[1] == "openvino bf16"


BUILT = ("torch fp32", "torch bf16", "openvino fp32", "openvino bf16", "onnx fp32")


class Named:
    """A backend that only has a name."""

    name = "built"

    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        raise AssertionError("nobody asked for embeddings")


def test_auto_tries_onnx_only_where_openvino_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    builders = dict.fromkeys(BUILT, Named)

    with_it = choose._promising(builders)
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda name: None)

    assert with_it == ["torch fp32", "torch bf16", "openvino bf16"]
    assert choose._promising(builders) == ["torch fp32", "torch bf16", "openvino bf16", "onnx fp32"]


def test_choice_is_remembered_for_the_encoder_and_the_machine(
    encoder: Encoder, pixels: Pixels, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    first = chosen("torch", encoder, pixels)
    monkeypatch.setattr(choose, "measure_backends", lambda *args: pytest.fail("measured again"))

    assert chosen("torch", encoder, pixels) == first
    assert (cache / "pinembed/backends.json").is_file()


def test_memory_that_is_damaged_is_measured_anew(encoder: Encoder, pixels: Pixels, cache: Path) -> None:
    (cache / "pinembed").mkdir(parents=True)
    (cache / "pinembed/backends.json").write_text("[half")

    assert chosen("torch", encoder, pixels).startswith("torch")


def test_measure_tells_speed_and_agreement_and_leaves_out_what_does_not_work(encoder: Encoder, pixels: Pixels) -> None:
    def broken() -> TorchBackend:
        raise EncoderError("no", remedy="no")

    builders = {"torch fp32": lambda: TorchBackend(encoder, BATCH), "broken": broken}

    (measure,) = measure_backends(builders, pixels)

    assert measure.backend == "torch fp32"
    assert measure.images_per_s > 0
    assert measure.min_cosine == pytest.approx(1, abs=1e-5)


def test_named_backend_that_does_not_agree_is_refused(
    encoder: Encoder, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = [BackendMeasure(backend="torch fp32", images_per_s=20, min_cosine=1.0)]
    measures.append(BackendMeasure(backend="onnx fp32", images_per_s=80, min_cosine=0.97))
    monkeypatch.setattr(choose, "measure_backends", lambda builders, pixels_BCHW: measures)
    monkeypatch.setattr(choose, "_builders", lambda encoder, batch: dict.fromkeys(BUILT, Named))

    with pytest.raises(EncoderError, match=r"--backend onnx differ from torch in fp32: cosine 0\.9700, wanted 0\.999"):
        chosen("onnx", encoder, pixels)


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_named_backend_without_its_package_names_the_extra(
    encoder: Encoder, pixels: Pixels, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError, match=f"--backend {name} needs the package {package}") as caught:
        chosen(name, encoder, pixels)

    assert "pinembed[fast]" in caught.value.remedy


def test_gpu_memory_that_runs_out_halves_the_batch(
    encoder: Encoder, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchBackend(encoder, 6)
    honest, sizes = backend._tower.forward, []

    def forward(pixels_BCHW: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels_BCHW))
        if len(pixels_BCHW) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(pixels_BCHW)

    monkeypatch.setattr(backend._tower, "forward", forward)

    vectors = backend.embed(pixels)

    assert sizes[:2] == [6, 3]
    assert max(sizes[2:]) == 1
    np.testing.assert_allclose(vectors, TorchBackend(encoder, 6).embed(pixels), atol=1e-5)


def test_gpu_memory_too_small_for_one_image_is_a_sentence(
    encoder: Encoder, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchBackend(encoder, 2)
    monkeypatch.setattr(
        backend._tower, "forward", lambda pixels_BCHW: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA"))
    )

    with pytest.raises(EncoderError, match="The memory of cpu does not suffice for one image"):
        backend.embed(pixels)


def test_backend_that_gives_nan_says_where(encoder: Encoder, pixels: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(with_torch.ImageTower, "forward", lambda self, pixels_BCHW: torch.full((BATCH, 16), torch.nan))

    with pytest.raises(NonFiniteEmbeddingError, match="NaN or inf for 2 of 2 inputs"):
        TorchBackend(encoder, BATCH).embed(pixels[:2])


def test_small_run_uses_the_reference_and_measures_nothing(
    catalogue_folder: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "measure_backends", lambda *args: pytest.fail("measured"))

    report = encode(catalogue_folder, table=str(tmp_path / "db/t"), encoder=str(tiny_encoder), workers=1)

    assert report.backend == "torch fp32 cpu"
    assert report.stages.calibrate == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backend", "abacus"], "--backend abacus is unknown"),
        (["--backend", "onnx", "--device", "meta"], "--backend onnx computes on the CPU; this run's device is meta"),
    ],
)
def test_backend_that_cannot_be_is_refused(
    cli: Cli, catalogue_folder: Path, tmp_path: Path, tiny_encoder: Path, arguments: list[str], words: str
) -> None:
    result = cli("encode", catalogue_folder, "--table", tmp_path / "db/t", "--encoder", tiny_encoder, *arguments)

    assert result.exit_code == 2
    assert words in result.words
