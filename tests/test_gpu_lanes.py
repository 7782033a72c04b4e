"""The GPU's copies and kernels, with a recorder in the place of torch.cuda: what starts when, and what is awaited."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from pinembed.encoder.backends import with_torch
from pinembed.encoder.backends.base import Pixels
from pinembed.encoder.backends.cuda_streams import CudaLanes
from pinembed.encoder.backends.tower import ImageTower, load_tower
from pinembed.encoder.backends.with_torch import TorchBackend, native_precisions
from pinembed.encoder.locate import locate_encoder

BATCH = 4


class RecordedCuda:
    """Stands for torch.cuda: streams and events that write down what happens to them."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.current = "own"
        self._streams = 0
        self._events = 0

    def Stream(self, device: torch.device) -> RecordedStream:
        self._streams += 1
        return RecordedStream(self, ("copies", "kernels")[self._streams - 1])

    def current_stream(self, device: torch.device) -> RecordedStream:
        return RecordedStream(self, "own")

    @contextmanager
    def stream(self, stream: RecordedStream) -> Iterator[None]:
        before, self.current = self.current, stream.name
        yield
        self.current = before

    def Event(self) -> RecordedEvent:
        self._events += 1
        return RecordedEvent(self, self._events)


class RecordedStream:
    def __init__(self, cuda: RecordedCuda, name: str) -> None:
        self.cuda, self.name = cuda, name

    def wait_stream(self, other: RecordedStream) -> None:
        self.cuda.log.append(f"{self.name} waits for {other.name}")


class RecordedEvent:
    def __init__(self, cuda: RecordedCuda, number: int) -> None:
        self.cuda, self.number, self.arrived = cuda, number, False

    def record(self, stream: RecordedStream) -> None:
        self.cuda.log.append(f"event {self.number} on {stream.name}")

    def query(self) -> bool:
        return self.arrived

    def synchronize(self) -> None:
        self.cuda.log.append(f"await {self.number}")
        self.arrived = True


@pytest.fixture
def cuda() -> RecordedCuda:
    return RecordedCuda()


@pytest.fixture(scope="module")
def tower(tiny_encoder: Path) -> ImageTower:
    return load_tower(locate_encoder(str(tiny_encoder)))


@pytest.fixture(scope="module")
def pixels(tower: ImageTower) -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (10, 3, tower.image_px, tower.image_px), np.uint8)


@pytest.fixture
def lanes(cuda: RecordedCuda, monkeypatch: pytest.MonkeyPatch) -> CudaLanes:
    """Lanes of the CPU that write down the pinning and the tower's work as well."""

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        cuda.log.append(f"pin {len(tensor)} in {cuda.current}")
        return tensor.clone()

    honest = ImageTower.forward

    def forward(self: ImageTower, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        cuda.log.append(f"compute in {cuda.current}")
        return honest(self, pixels_BCHW)

    monkeypatch.setattr(ImageTower, "forward", forward)
    return CudaLanes(torch.device("cpu"), cuda=cuda, pin=pin)


def test_kernels_wait_for_the_weights_and_for_their_own_batch(
    cuda: RecordedCuda, lanes: CudaLanes, tower: ImageTower, pixels: Pixels
) -> None:
    TorchBackend(tower, BATCH, lanes=lanes).embed(pixels[:BATCH])

    assert cuda.log == [
        "kernels waits for own",
        "pin 4 in copies",
        "kernels waits for copies",
        "compute in kernels",
        "pin 4 in kernels",
        "event 1 on kernels",
        "await 1",
    ]


def test_next_batch_is_copied_and_started_before_the_first_result_is_awaited(
    cuda: RecordedCuda, lanes: CudaLanes, tower: ImageTower, pixels: Pixels
) -> None:
    backend = TorchBackend(tower, BATCH, lanes=lanes)

    first, second = backend.submit(pixels[:4]), backend.submit(pixels[4:8])
    was_done = first.done()
    first.result()

    assert not was_done
    assert (first.done(), second.done()) == (True, False)
    assert cuda.log.index("event 2 on kernels") < cuda.log.index("await 1")
    assert "await 2" not in cuda.log


def test_vectors_are_those_of_the_plain_way_for_any_number_of_images(
    lanes: CudaLanes, tower: ImageTower, pixels: Pixels
) -> None:
    expected = TorchBackend(tower, BATCH).embed(pixels)

    vectors = TorchBackend(tower, BATCH, lanes=lanes).embed(pixels)

    np.testing.assert_array_equal(vectors, expected)


def test_gpu_memory_that_runs_out_in_the_kernels_halves_the_batch(
    lanes: CudaLanes, tower: ImageTower, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = TorchBackend(tower, 2).embed(pixels)
    honest, sizes = ImageTower.forward, []

    def forward(self: ImageTower, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        sizes.append(len(pixels_BCHW))
        if len(pixels_BCHW) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(self, pixels_BCHW)

    monkeypatch.setattr(ImageTower, "forward", forward)
    backend = TorchBackend(tower, 8, lanes=lanes)

    vectors = backend.submit(pixels).result()
    backend.submit(pixels[:2]).result()

    assert sizes == [8, 4, 2, 2, 2, 2, 2, 2]
    np.testing.assert_array_equal(vectors, expected)


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
