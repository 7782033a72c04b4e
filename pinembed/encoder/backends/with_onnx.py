"""Embeddings by ONNX Runtime on the CPU, in fp32."""

from __future__ import annotations

import logging

import numpy as np
import torch

from pinembed.encoder.backends.tower import ImageTower, Pixels, Vectors, normalised, of_fixed_size, plain_attention
from pinembed.encoder.encoder import Encoder
from pinembed.errors import EncoderError, MissingExtraError


class OnnxBackend:
    """The image tower exported to ONNX for one batch size and run by ONNX Runtime.

    Args:
        encoder: loaded, on the CPU.
        batch_size: images at once.

    Raises:
        MissingExtraError: onnxruntime or the exporter is not installed.
        EncoderError: the tower cannot be exported.
    """

    def __init__(self, encoder: Encoder, batch_size: int) -> None:
        try:
            import onnxruntime
            import onnxscript  # noqa: F401  (torch's exporter imports it)
        except ImportError as error:
            raise MissingExtraError("--backend onnx", extra="fast", package=str(error.name)) from error
        self.name = "onnx fp32"
        self._batch_size = batch_size
        try:
            content = _exported(encoder, batch_size)
            self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        except (RuntimeError, TypeError, ValueError, torch.onnx.OnnxExporterError) as error:
            raise EncoderError(
                f"{encoder.files.reference} cannot be exported to ONNX: {str(error).strip().splitlines()[0]}",
                remedy="Use --backend torch.",
            ) from error
        self._input = self._session.get_inputs()[0].name

    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        """See ImageBackend."""
        pieces = []
        for start in range(0, len(pixels_BCHW), self._batch_size):
            piece_BCHW = pixels_BCHW[start : start + self._batch_size]
            (features_BD,) = self._session.run(None, {self._input: of_fixed_size(piece_BCHW, self._batch_size)})
            pieces.append(features_BD[: len(piece_BCHW)])
        return normalised(torch.from_numpy(np.concatenate(pieces)))


def _exported(encoder: Encoder, batch_size: int) -> bytes:
    side_px = encoder.preprocessing.image_px
    example_BCHW = torch.zeros((batch_size, 3, side_px, side_px), dtype=torch.uint8)
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with plain_attention():
            program = torch.onnx.export(ImageTower(encoder), (example_BCHW,), dynamo=True, verbose=False)
    finally:
        logging.disable(previous)
    assert program is not None  # without a file name torch returns it
    return bytes(program.model_proto.SerializeToString())
