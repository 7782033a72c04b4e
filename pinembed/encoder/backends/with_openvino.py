"""Embeddings by OpenVINO on the CPU, in fp32 or bf16."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

from pinembed.encoder.backends.tower import ImageTower, Pixels, Vectors, normalised, of_fixed_size, plain_attention
from pinembed.encoder.encoder import Encoder
from pinembed.errors import EncoderError, MissingExtraError


class OpenVinoBackend:
    """The image tower compiled by OpenVINO for one batch size.

    Args:
        encoder: loaded, on the CPU.
        batch_size: images at once.
        precision: `f32` or `bf16`.

    Raises:
        MissingExtraError: openvino is not installed.
        EncoderError: OpenVINO cannot convert the tower.
    """

    def __init__(self, encoder: Encoder, batch_size: int, precision: str) -> None:
        openvino = _import_openvino()
        self.name = f"openvino {precision.replace('f32', 'fp32')}"
        self._batch_size = batch_size
        side_px = encoder.preprocessing.image_px
        shape = (batch_size, 3, side_px, side_px)
        hints = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
        try:
            with plain_attention():
                example_BCHW = torch.zeros(shape, dtype=torch.uint8)
                traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                    ImageTower(encoder), example_BCHW, check_trace=False
                )
                model = openvino.convert_model(traced, example_input=example_BCHW, input=[shape])
            self._compiled: Any = openvino.Core().compile_model(model, "CPU", hints)
        except (RuntimeError, TypeError, ValueError) as error:
            raise EncoderError(
                f"OpenVINO cannot convert {encoder.files.reference}: {str(error).strip().splitlines()[0]}",
                remedy="Use --backend torch.",
            ) from error

    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        """See ImageBackend."""
        pieces = []
        for start in range(0, len(pixels_BCHW), self._batch_size):
            piece_BCHW = pixels_BCHW[start : start + self._batch_size]
            features_BD = self._compiled(of_fixed_size(piece_BCHW, self._batch_size))[0]
            pieces.append(np.array(features_BD[: len(piece_BCHW)], dtype=np.float32))
        return normalised(torch.from_numpy(np.concatenate(pieces)))


def _import_openvino() -> Any:
    """OpenVINO without its telemetry, which would fork this process and call home at every conversion."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("--backend openvino", extra="fast", package="openvino") from error
    return openvino
