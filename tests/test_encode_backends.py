"""Backends: they agree with torch in fp32, the fastest that does is taken, and the choice is remembered."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pinembed.encoder.backends import choose, with_torch
from pinembed.encoder.backends import probe as probe_process
from pinembed.encoder.backends.base import Pixels, Vectors
from pinembed.encoder.backends.choose import KEPT_MODELS, BackendChoice, check_backend, model_folder
from pinembed.encoder.backends.probe import (
    REFERENCE,
    Probe,
    Unsupported,
    candidates_for,
    convert,
    open_converted,
    run_probe,
)
from pinembed.encoder.backends.with_torch import ImageTower, TorchBackend, load_tower, native_precisions
from pinembed.encoder.encoder import Encoder, load_encoder
from pinembed.encoder.locate import EncoderFiles, encoder_spec, locate_encoder
from pinembed.encoding import run_backend as backend_of_run
from pinembed.errors import EncoderError, MissingExtraError, NonFiniteEmbeddingError
from pinembed.jobs.encode import encode
from pinembed.machine import recall, usable_cores
from pinembed.nouns.progress import Stop
from pinembed.reports.bench import BackendSpeed
from pinembed.settings.encoding import EncodeSettings
from tests.conftest import CliResult

BATCH = 4
ANSWERS_OF = probe_process.answers_of
Cli = Callable[..., CliResult]
Measured = Callable[[list[BackendSpeed]], None]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, and trials in this process, where they begin at once."""
    monkeypatch.setenv("PINEMBED_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choose, "MEASURE_S", 0.02)
    monkeypatch.setattr(probe_process, "answers_of", lambda probe, stop=None: run_probe(probe))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> Encoder:
    return load_encoder(str(tiny_encoder))


@pytest.fixture(scope="module")
def tower(tiny_encoder: Path) -> ImageTower:
    return load_tower(locate_encoder(str(tiny_encoder)))


@pytest.fixture(scope="module")
def pixels(encoder: Encoder) -> Pixels:
    side_px = encoder.preprocessing.image_px
    return np.random.default_rng(0).integers(0, 256, (6, 3, side_px, side_px), np.uint8)


@pytest.fixture
def choice(tiny_encoder: Path) -> BackendChoice:
    files = locate_encoder(str(tiny_encoder))
    return BackendChoice(wanted="auto", files=files, fingerprint="f", device="cpu", batch_size=BATCH, cores=2)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Measured:
    """Take these measurements for the machine's."""

    def take(speeds: list[BackendSpeed]) -> None:
        monkeypatch.setattr(BackendChoice, "measure", lambda *args: iter(speeds))

    return take


def speed(backend: str, images_per_s: float, min_cosine: float = 1.0) -> BackendSpeed:
    return BackendSpeed(backend=backend, images_per_s=images_per_s, min_cosine=min_cosine)


def wanting(choice: BackendChoice, name: str) -> BackendChoice:
    return dataclasses.replace(choice, wanted=name)


@pytest.mark.parametrize(
    ("name", "least"),
    [("torch fp32", 0.99999), ("torch bf16", 0.999), ("openvino fp32", 0.99999), ("onnx fp32", 0.99999)],
)
def test_backend_agrees_with_the_encoder_for_any_number_of_images(
    name: str, least: float, encoder: Encoder, tower: ImageTower, pixels: Pixels, choice: BackendChoice
) -> None:
    kind, precision = name.split()
    package = {"openvino": "openvino", "onnx": "onnxruntime"}.get(kind, "torch")
    if importlib.util.find_spec(package) is None:  # importing it here would wake OpenVINO's telemetry
        pytest.skip(f"{package} is not installed")
    if kind == "torch":
        backend = TorchBackend(tower, BATCH, precision)
    else:
        convert(name, tower, folder=choice.folder, batch_size=BATCH)
        backend = open_converted(name, choice.folder, 2)
    expected = encoder.embed_images(torch.from_numpy(pixels)).numpy()

    waiting = [(count, backend.submit(pixels[:count])) for count in (1, BATCH, 6)]

    assert backend.name.startswith(name)
    for count, pending in waiting:
        vectors = pending.result()
        assert vectors.shape == (count, encoder.dim)
        assert (vectors * expected[:count]).sum(axis=1).min() > least


def test_image_tower_alone_has_the_weights_of_the_encoder(encoder: Encoder, tower: ImageTower) -> None:
    whole = encoder.model.visual.state_dict()

    assert {name: tensor.shape for name, tensor in tower.visual.state_dict().items()} == {
        name: tensor.shape for name, tensor in whole.items()
    }
    assert all(torch.equal(tensor, whole[name]) for name, tensor in tower.visual.state_dict().items())


def test_vector_does_not_depend_on_the_batch_that_it_came_in(tower: ImageTower, pixels: Pixels) -> None:
    backend = TorchBackend(tower, BATCH)

    together, alone = backend.embed(pixels[:BATCH]), [backend.embed(pixels[n : n + 1])[0] for n in range(BATCH)]

    np.testing.assert_array_equal(together, np.stack(alone))


def test_auto_takes_the_fastest_that_agrees(choice: BackendChoice, pixels: Pixels, measured: Measured) -> None:
    measured([speed("torch fp32", 20), speed("torch bf16", 80, 0.9), speed("torch fp16", 50, 0.9999)])

    assert choice.choose(pixels, print) == "torch fp16"
    assert list(recall("backends").values()) == ["torch fp16"]


def test_auto_prefers_what_needs_no_torch_within_the_noise(
    choice: BackendChoice, pixels: Pixels, measured: Measured
) -> None:
    measured([speed("torch fp32", 20), speed("torch bf16", 80), speed("openvino bf16", 76)])

    assert choice.choose(pixels, print) == "openvino bf16"


def test_auto_never_takes_int8(choice: BackendChoice, pixels: Pixels, measured: Measured) -> None:
    measured([speed("torch fp32", 20), speed("onnx int8", 100)])

    assert choice.choose(pixels, print) == "torch fp32"


def test_auto_tries_onnx_only_where_openvino_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_process, "is_installed", lambda kind: True)
    with_it = candidates_for("auto", ("fp32", "bf16"), "cpu")
    monkeypatch.setattr(probe_process, "is_installed", lambda kind: kind == "onnx")

    assert with_it == ["torch fp32", "torch bf16", "openvino bf16"]
    assert candidates_for("auto", ("fp32", "bf16"), "cpu") == ["torch fp32", "torch bf16", "onnx fp32"]
    assert candidates_for("auto", ("fp32", "fp16"), "cuda") == ["torch fp32", "torch fp16"]


def test_measure_tells_speed_and_agreement_as_they_come(choice: BackendChoice, pixels: Pixels) -> None:
    said: list[str] = []

    first = next(wanting(choice, "torch").measure(pixels, said.append))

    assert (first.backend, first.images_per_s > 0) == ("torch fp32", True)
    assert first.min_cosine == pytest.approx(1, abs=1e-5)
    assert said[0].endswith("images/s, cosine to fp32 torch 1.00000")


def test_choice_is_remembered_and_its_converted_model_opens_without_torch(
    choice: BackendChoice, pixels: Pixels, measured: Measured
) -> None:
    pytest.importorskip("onnxruntime")
    convert("onnx fp32", load_tower(choice.files), folder=choice.folder, batch_size=BATCH)
    measured([speed("torch fp32", 20), speed("onnx fp32", 60)])
    choice.choose(pixels, print)

    again = dataclasses.replace(choice)

    assert again.known() == "onnx fp32"
    assert again.open("onnx fp32").name == "onnx fp32"
    for file in again.folder.iterdir():
        file.unlink()
    assert again.known() is None


def test_choice_does_not_hold_for_another_encoder(choice: BackendChoice, pixels: Pixels, measured: Measured) -> None:
    measured([speed("torch fp32", 20)])
    choice.choose(pixels, print)

    assert (choice.known(), dataclasses.replace(choice, fingerprint="g").known()) == ("torch fp32", None)


def test_memory_that_is_damaged_is_measured_anew(choice: BackendChoice, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "backends.json").write_text("[half")

    assert choice.known() is None


def test_converted_models_of_the_encoders_used_last_are_kept(
    choice: BackendChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose, "open_converted", lambda name, folder, cores: folder)
    encoders = [dataclasses.replace(choice, fingerprint=f"{number}") for number in range(KEPT_MODELS + 2)]

    folders = [encoder.open("onnx fp32") for encoder in encoders]

    assert [folder.is_dir() for folder in folders] == [False, False, *[True] * KEPT_MODELS]  # type: ignore[attr-defined]


def test_what_lost_leaves_no_converted_model(choice: BackendChoice, pixels: Pixels, measured: Measured) -> None:
    for name in ("openvino-bf16.xml", "openvino-bf16.bin"):
        (choice.folder / name).touch()
    measured([speed("torch fp32", 90), speed("openvino bf16", 20)])

    choice.choose(pixels, print)

    assert list(choice.folder.iterdir()) == []


def test_named_backend_that_does_not_agree_is_refused(
    choice: BackendChoice, pixels: Pixels, measured: Measured
) -> None:
    measured([speed("torch fp32", 20), speed("onnx fp32", 80, 0.97)])

    with pytest.raises(EncoderError, match=r"--backend onnx differ from torch in fp32: cosine 0\.9700, wanted 0\.999"):
        wanting(choice, "onnx").choose(pixels, print)


@pytest.mark.parametrize(("name", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_named_backend_without_its_package_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(MissingExtraError, match=f"--backend {name} needs the package {package}") as caught:
        check_backend(name, "cpu")

    assert "pinembed[fast]" in caught.value.remedy


def test_backend_that_cannot_take_the_encoder_is_left_out_by_auto_and_explained_where_named(
    choice: BackendChoice, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(probe: Probe, stop: Stop | None = None) -> Iterator[object]:
        yield from (answer for answer in run_probe(probe) if isinstance(answer, BackendSpeed))
        yield Unsupported(name="openvino bf16", message="No such operation.", remedy="Use --backend torch.")

    monkeypatch.setattr(probe_process, "answers_of", answers)
    monkeypatch.setattr(probe_process, "candidates_for", lambda *args: [])
    said: list[str] = []

    assert choice.choose(pixels, said.append) == "torch fp32"
    assert said[-1] == "openvino bf16 is left out: No such operation."
    with pytest.raises(EncoderError, match="No such operation"):
        wanting(choice, "openvino").choose(pixels, print)


def probe_of(files: EncoderFiles, folder: Path, *, wanted: str = "torch") -> Probe:
    pixels_BCHW = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), np.uint8)
    return Probe(
        files=files,
        device="cpu",
        wanted=wanted,
        batch_size=4,
        pixels_BCHW=pixels_BCHW,
        folder=folder,
        cores=1,
        measure_s=0.01,
    )


def test_probe_process_answers_and_names_its_crash(choice: BackendChoice, tmp_path: Path) -> None:
    damaged = dataclasses.replace(choice.files, weights=tmp_path / "damaged.safetensors", folder=None)
    (tmp_path / "damaged.safetensors").write_bytes(b"half a model")

    (refused,) = ANSWERS_OF(probe_of(damaged, tmp_path))
    speeds = list(ANSWERS_OF(probe_of(choice.files, tmp_path)))
    (crashed,) = ANSWERS_OF(probe_of(choice.files, tmp_path), worker="import tests.troubled_probe")
    stop = Stop()
    stop.signum = 15

    assert isinstance(refused, Unsupported)
    assert "open_clip cannot load" in refused.message
    assert speeds[0].backend == "torch fp32"  # type: ignore[union-attr]
    assert isinstance(crashed, Unsupported)
    assert crashed.message == "The process that measures the backends ended with SIGSEGV."
    assert list(ANSWERS_OF(probe_of(choice.files, tmp_path), stop)) == []


def test_converter_that_crashes_costs_its_backend_and_not_what_was_measured(
    choice: BackendChoice, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(probe: Probe, stop: Stop | None = None) -> Iterator[object]:
        yield speed("torch fp32", 20)
        yield from ANSWERS_OF(probe, stop, worker="import tests.troubled_probe")

    monkeypatch.setattr(probe_process, "answers_of", answers)
    said: list[str] = []

    assert choice.choose(pixels, said.append) == "torch fp32"
    assert said[-1].startswith("what was not measured yet is left out: The process that measures the backends ended")


def test_gpu_memory_that_runs_out_halves_the_batch_for_good(
    tower: ImageTower, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchBackend(tower, 6)
    expected = backend.embed(pixels)
    honest, sizes = backend._tower.forward, []

    def forward(pixels_BCHW: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels_BCHW))
        if len(pixels_BCHW) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(pixels_BCHW)

    monkeypatch.setattr(backend._tower, "forward", forward)

    vectors = [backend.embed(pixels), backend.embed(pixels)]

    assert sizes == [6, 3, *[1] * 6, *[1] * 6]
    np.testing.assert_allclose(vectors[0], expected, atol=1e-5)


def test_gpu_memory_too_small_for_one_image_is_a_sentence(
    tower: ImageTower, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = TorchBackend(tower, 2)
    monkeypatch.setattr(
        backend._tower, "forward", lambda pixels_BCHW: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA"))
    )

    with pytest.raises(EncoderError, match="The memory of cpu does not suffice for one image"):
        backend.embed(pixels)


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, ("fp32", "bf16")), (False, ("fp32", "fp16"))])
def test_gpu_without_native_bf16_is_tried_in_fp16(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: tuple[str, ...]
) -> None:
    asked = []
    monkeypatch.setattr(
        with_torch.torch.cuda, "is_bf16_supported", lambda **options: (asked.append(options), has_bf16)[1]
    )

    assert native_precisions(torch.device("cuda")) == expected
    assert asked == [{"including_emulation": False}]


def test_lower_precision_leaves_the_tower_as_it_is(tower: ImageTower) -> None:
    lowered = tower.in_precision(torch.bfloat16)

    assert {tensor.dtype for tensor in lowered.visual.parameters()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in tower.visual.parameters()} == {torch.float32}
    assert lowered.preprocessing == tower.preprocessing


def test_backend_that_gives_nan_says_where(tower: ImageTower, pixels: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageTower, "forward", lambda self, pixels_BCHW: torch.full((BATCH, 16), torch.nan))

    with pytest.raises(NonFiniteEmbeddingError, match="NaN or inf for 2 of 2 inputs"):
        TorchBackend(tower, BATCH).embed(pixels[:2])


@pytest.fixture
def encode_shop(catalogue_folder: Path, tmp_path: Path, tiny_encoder: Path) -> Callable[..., object]:
    return lambda: encode(
        EncodeSettings(images=catalogue_folder, table=str(tmp_path / "db/t"), encoder=str(tiny_encoder), workers=1)
    )


def test_small_run_uses_the_reference_and_measures_nothing(
    encode_shop: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackendChoice, "measure", lambda *args: pytest.fail("measured"))

    report = encode_shop()

    assert report.backend == "torch fp32 cpu"  # type: ignore[attr-defined]
    assert report.stages.calibrate == 0  # type: ignore[attr-defined]


def test_small_run_uses_what_a_large_one_chose(
    encode_shop: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Remembered:
        name = "remembered"

        def submit(self, pixels_BCHW: Pixels) -> Remembered:
            self.count = len(pixels_BCHW)
            return self

        def done(self) -> bool:
            return True

        def result(self) -> Vectors:
            return np.eye(self.count, 16, dtype=np.float32)

    monkeypatch.setattr(BackendChoice, "known", lambda self: "onnx fp32")
    monkeypatch.setattr(BackendChoice, "open", lambda self, name: Remembered())

    assert encode_shop().backend == "remembered"  # type: ignore[attr-defined]


TELLING_WHAT_IT_LOADED = """
import sys
from pathlib import Path
from pinembed.jobs.encode import encode
from pinembed.settings.encoding import EncodeSettings
images, table, encoder = sys.argv[1:]
settings = EncodeSettings(images=Path(images), table=table, encoder=encoder, device="cpu", workers=1)
report = encode(settings)
print(report.backend, report.counts.added, sorted({"torch", "lancedb", "onnxruntime", "openvino"} & sys.modules.keys()))
"""


def test_run_whose_choice_is_known_never_loads_torch_and_one_with_nothing_to_do_no_encoder_at_all(
    catalogue_folder: Path, tmp_path: Path, tiny_encoder: Path
) -> None:
    pytest.importorskip("onnxruntime")
    files = locate_encoder(str(tiny_encoder))
    fingerprint = encoder_spec(files).fingerprint
    choice = BackendChoice(
        wanted="auto", files=files, fingerprint=fingerprint, device="cpu", batch_size=32, cores=usable_cores()
    )
    convert("onnx fp32", load_tower(files), folder=choice.folder, batch_size=32)
    choice.settle([speed("torch fp32", 20), speed("onnx fp32", 60)])

    arguments = [str(catalogue_folder), str(tmp_path / "db/t"), str(tiny_encoder)]
    command = [sys.executable, "-c", TELLING_WHAT_IT_LOADED, *arguments]
    first, again = (subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2))

    assert first == "onnx fp32 24 ['onnxruntime']\n"
    assert again == " 0 []\n"


def test_converted_model_that_is_damaged_is_measured_and_made_again(
    cli: Cli, catalogue_folder: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(probe_process, "candidates_for", lambda *args: ["torch fp32"])
    monkeypatch.setattr(choose, "recall", lambda memory: {"here": "onnx fp32"})
    monkeypatch.setattr(BackendChoice, "key", "here")
    converted = model_folder(encoder_spec(locate_encoder(str(tiny_encoder))).fingerprint, 32)
    converted.mkdir(parents=True)
    (converted / "onnx-fp32.onnx").write_bytes(b"half a model")

    result = cli("encode", catalogue_folder, "--table", tmp_path / "db/t", "--encoder", tiny_encoder)

    assert result.exit_code == 0
    assert "onnx fp32 cannot be opened any more (ONNX Runtime cannot load" in result.words
    assert "images/s on torch fp32" in result.words


def test_large_run_measures_on_its_own_images(
    encode_shop: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_of_run, "CALIBRATE_FROM_IMAGES", 10)
    monkeypatch.setattr(probe_process, "candidates_for", lambda *args: ["torch fp32"])
    shapes = []
    choose_on = BackendChoice.choose
    monkeypatch.setattr(
        BackendChoice,
        "choose",
        lambda self, pixels_BCHW, *rest: (shapes.append(pixels_BCHW.shape), choose_on(self, pixels_BCHW, *rest))[1],
    )

    report = encode_shop()

    assert (report.backend, report.counts.added) == ("torch fp32 cpu", 24)  # type: ignore[attr-defined]
    assert shapes[0][1:] == (3, 32, 32)


@pytest.mark.parametrize(("images", "tries_another"), [(24, False), (10**9, True)])
def test_what_a_loaded_torch_has_soon_done_is_not_measured_any_further(
    choice: BackendChoice, pixels: Pixels, monkeypatch: pytest.MonkeyPatch, images: int, tries_another: bool
) -> None:
    tried = []
    monkeypatch.setattr(probe_process, "candidates_for", lambda *args: [REFERENCE, "torch bf16"])
    monkeypatch.setattr(
        probe_process, "_opened", lambda name, tower, probe: (tried.append(name), TorchBackend(tower, BATCH))[1]
    )
    run = dataclasses.replace(choice, images=images)

    chosen = run.choose(pixels, print)

    assert tried == (["torch bf16"] if tries_another else [])
    assert (chosen == REFERENCE) >= (not tries_another)
    assert bool(recall("backends")) == tries_another  # a larger run measures all


def test_int8_vectors_do_not_depend_on_their_batch_and_never_mix_with_fp32_ones(
    cli: Cli, catalogue_folder: Path, tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(probe_process, "FEWEST_FOR_RECALL", 20)
    one, other = tmp_path / "db/int8", tmp_path / "db/fp32"
    asked = ("--encoder", tiny_encoder, "--backend", "onnx-int8")

    made = cli("encode", catalogue_folder, "--table", one, *asked)
    cli("encode", catalogue_folder, "--table", other, "--encoder", tiny_encoder)
    mixed = cli("encode", catalogue_folder, "--table", one, "--encoder", tiny_encoder)
    mixed_too = cli("encode", catalogue_folder, "--table", other, *asked)
    found = cli("search", "--table", one, "red circle", "--json")

    assert "onnx int8" in made.words
    assert "% of the 10 nearest neighbours" in made.words
    assert mixed.exit_code == mixed_too.exit_code == 1
    assert "holds int8 embeddings" in mixed.words
    assert "Give --backend onnx-int8, or another --table." in mixed.words
    assert "holds fp32 embeddings" in mixed_too.words
    assert (found.exit_code, len(found.json["results"])) == (0, 10)
    backend = open_converted("onnx int8", next((cache / "converted").iterdir()), 2)
    pixels = np.random.default_rng(1).integers(0, 256, (4, 3, 32, 32), np.uint8)
    np.testing.assert_array_equal(backend.embed(pixels)[2:3], backend.embed(pixels[2:3]))


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
