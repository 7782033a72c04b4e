"""Embeddings by OpenVINO on the CPU, in fp32 or bf16, from a converted model and without torch."""

from __future__ import annotations

import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pinembed.encoder.backends.base import ImageBackend, Pixels, Vectors, micro_batches, of_fixed_size, unit_vectors
from pinembed.errors import EncoderError, MissingExtraError

if TYPE_CHECKING:
    from pinembed.encoder.backends.with_torch import ImageTower

HINTS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoBackend(ImageBackend):
    """A converted image tower, with one stream of one thread for each core.

    Streams do not wait for each other, as the threads of one computation do: where decoding takes a core for a moment,
    only that core's piece is late.

    Args:
        path: what `convert_to_openvino` wrote.
        precision: `fp32` or `bf16`.
        streams: pieces that are computed at the same time.

    Raises:
        MissingExtraError: openvino is not installed.
        EncoderError: OpenVINO cannot load the model.
    """

    def __init__(self, path: Path, precision: str, streams: int) -> None:
        openvino = _import_openvino()
        self.name = f"openvino {precision}"
        hints = {
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "PERFORMANCE_HINT": "THROUGHPUT",
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": str(streams),
            "ENABLE_CPU_PINNING": "NO",  # the decoders need the cores too, and the kernel knows which one is free
        }
        try:
            self._compiled: Any = openvino.Core().compile_model(str(path), "CPU", hints)
        except (RuntimeError, TypeError, ValueError) as error:
            raise EncoderError(
                f"OpenVINO cannot load {path}: {str(error).strip().splitlines()[0]}", remedy="Use --backend torch."
            ) from error
        self._piece_images = int(self._compiled.inputs[0].shape[0])
        self._idle: deque[Any] = deque()

    def submit(self, pixels_BCHW: Pixels) -> OpenVinoPending:
        running = []
        for piece_BCHW in micro_batches(pixels_BCHW, self._piece_images):
            request = self._idle.popleft() if self._idle else self._compiled.create_infer_request()
            request.start_async({0: of_fixed_size(piece_BCHW, self._piece_images)})
            running.append((request, len(piece_BCHW)))
        return OpenVinoPending(running, self._idle)


class OpenVinoPending:
    """See Pending; a request for each piece, with how many images it really holds, goes back to the idle ones."""

    def __init__(self, running: list[tuple[Any, int]], idle: deque[Any]) -> None:
        self._running = running
        self._idle = idle

    def done(self) -> bool:
        return all(request.wait_for(0) for request, _ in self._running)

    def result(self) -> Vectors:
        pieces = []
        for request, images in self._running:
            request.wait()
            pieces.append(np.array(request.get_output_tensor(0).data[:images], dtype=np.float32))
            self._idle.append(request)
        return unit_vectors(np.concatenate(pieces))


def convert_to_openvino(tower: ImageTower, *, piece_images: int, precision: str, path: Path) -> None:
    """Write an image tower as path, an .xml, and its weights beside it as .bin; needs torch.

    Raises:
        MissingExtraError: openvino is not installed.
        EncoderError: OpenVINO cannot convert the tower.
    """
    import torch

    from pinembed.encoder.backends.with_torch import plain_attention

    openvino = _import_openvino()
    shape = (piece_images, 3, tower.image_px, tower.image_px)
    try:
        with plain_attention():
            example_BCHW = torch.zeros(shape, dtype=torch.uint8)
            traced: Any = torch.jit.trace(tower, example_BCHW, check_trace=False)  # type: ignore[no-untyped-call]
            model = openvino.convert_model(traced, example_input=example_BCHW, input=[shape])
        # fp16 keeps all bits of a bf16 weight's mantissa, and takes half the memory; the agreement is measured anyway
        openvino.save_model(model, str(path), compress_to_fp16=precision == "bf16")
    except (RuntimeError, TypeError, ValueError) as error:
        raise EncoderError(
            f"OpenVINO cannot convert the image tower: {str(error).strip().splitlines()[0]}",
            remedy="Use --backend torch.",
        ) from error


def _import_openvino() -> Any:
    """OpenVINO without its telemetry, which would fork this process and call home at every conversion."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("--backend openvino", extra="fast", package="openvino") from error
    return openvino
