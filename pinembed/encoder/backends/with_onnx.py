"""Embeddings by ONNX Runtime on the CPU, in fp32 or int8, from an exported model and without torch."""

from __future__ import annotations

import logging
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pinembed.encoder.backends.base import ImageBackend, Pixels, Vectors, micro_batches, of_fixed_size, unit_vectors
from pinembed.errors import EncoderError, MissingExtraError

if TYPE_CHECKING:
    from pinembed.encoder.backends.with_torch import ImageTower


class OnnxBackend(ImageBackend):
    """An exported image tower, computed piece by piece by one thread for each core.

    Args:
        path: what `convert_to_onnx` wrote.
        precision: `fp32` or `int8`.
        threads: pieces that are computed at the same time.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        EncoderError: ONNX Runtime cannot load the model.
    """

    def __init__(self, path: Path, precision: str, threads: int) -> None:
        onnxruntime = _import_onnxruntime(precision)

        self.name = f"onnx {precision}"
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1  # threads that wait for each other lose most where decoding takes a core
        try:
            self._session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        except _load_errors() as error:
            raise EncoderError(
                f"ONNX Runtime cannot load {path}: {str(error).strip().splitlines()[0]}", remedy="Use --backend torch."
            ) from error
        self._input = self._session.get_inputs()[0]
        self._pieces = ThreadPoolExecutor(threads, thread_name_prefix="pinembed-onnx")
        self._batches = ThreadPoolExecutor(1, thread_name_prefix="pinembed-onnx-batch")

    def submit(self, pixels_BCHW: Pixels) -> Future[Vectors]:
        running = [
            self._pieces.submit(self._features, piece) for piece in micro_batches(pixels_BCHW, self._input.shape[0])
        ]
        return self._batches.submit(
            lambda: unit_vectors(np.concatenate([features_BD.result() for features_BD in running]))
        )

    def _features(self, piece_BCHW: Pixels) -> Vectors:
        filled_BCHW = of_fixed_size(piece_BCHW, self._input.shape[0])
        (features_BD,) = self._session.run(None, {self._input.name: filled_BCHW})
        return np.asarray(features_BD[: len(piece_BCHW)])


def convert_to_onnx(tower: ImageTower, *, piece_images: int, precision: str, path: Path) -> None:
    """Write an image tower as an .onnx, its weights inside; needs torch.

    With `int8`, the matrices of weights become 8-bit numbers, and activations are quantised as they come.

    Raises:
        MissingExtraError: onnxruntime or the exporter is not installed.
        EncoderError: the tower cannot be exported.
    """
    import torch

    from pinembed.encoder.backends.with_torch import plain_attention

    _import_onnxruntime(precision, exporting=True)
    example_BCHW = torch.zeros((piece_images, 3, tower.image_px, tower.image_px), dtype=torch.uint8)
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with plain_attention(), tempfile.TemporaryDirectory(dir=path.parent) as made:
            exported = path if precision == "fp32" else Path(made) / "fp32.onnx"
            program: Any = torch.onnx.export(tower, (example_BCHW,), dynamo=True, verbose=False)
            program.save(exported, external_data=False)
            if precision == "int8":
                _quantise(exported, path)
    except (RuntimeError, TypeError, ValueError, torch.onnx.OnnxExporterError) as error:
        raise EncoderError(
            f"The image tower cannot be exported to ONNX: {str(error).strip().splitlines()[0]}",
            remedy="Use --backend torch.",
        ) from error
    finally:
        logging.disable(previous)


def _quantise(exported: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        exported, path, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"]
    )


def _load_errors() -> tuple[type[Exception], ...]:
    """ONNX Runtime's own errors, which have no common class but Exception."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile", "NotImplemented")
    return (RuntimeError, ValueError, state.RuntimeException, *(getattr(state, name) for name in names))


def _import_onnxruntime(precision: str, *, exporting: bool = False) -> Any:
    feature = "--backend onnx" if precision == "fp32" else f"--backend onnx-{precision}"
    try:
        import onnxruntime

        if exporting:
            import onnxscript  # noqa: F401  (torch's exporter imports it)
    except ImportError as error:
        raise MissingExtraError(feature, extra="fast", package=str(error.name)) from error
    return onnxruntime
