"""What every backend does, in words that need no torch.

Shape legend: B batch, C channels (3), H = W = image_px, D embedding floats.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pinembed.errors import NonFiniteEmbeddingError

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]
PIECE_IMAGES = 8  # a CPU thread computes this many at once as fast for each as it would 32


class Pending(Protocol):
    """A batch that is being computed; a `concurrent.futures.Future` is one."""

    def done(self) -> bool:
        """Whether `result` would answer at once."""

    def result(self) -> Vectors:
        """(B, D) float32 of norm 1; waits for it.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
        """


class ImageBackend(Protocol):
    """Computes embeddings of preprocessed images.

    Attributes:
        name: what computes and in which precision, such as `openvino bf16`.
    """

    name: str

    def submit(self, pixels_BCHW: Pixels) -> Pending:
        """Begin to compute (B, 3, H, W) uint8, of any B; the next batch may be submitted before this one is done."""

    def embed(self, pixels_BCHW: Pixels) -> Vectors:
        """(B, 3, H, W) uint8 to (B, D) float32 of norm 1, of any B.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
        """
        return self.submit(pixels_BCHW).result()


def micro_batches(pixels_BCHW: Pixels, piece_images: int) -> list[Pixels]:
    """Consecutive pieces of one size; the last may be shorter."""
    return [pixels_BCHW[start : start + piece_images] for start in range(0, len(pixels_BCHW), piece_images)]


def of_fixed_size(pixels_BCHW: Pixels, batch_size: int) -> Pixels:
    """A short batch filled up with its last image: the kernels, and so the last bits, are always the same."""
    lacking = batch_size - len(pixels_BCHW)
    return np.concatenate([pixels_BCHW, np.repeat(pixels_BCHW[-1:], lacking, axis=0)]) if lacking > 0 else pixels_BCHW


def unit_vectors(features_BD: NDArray[np.float32]) -> Vectors:
    """Each row divided by its L2 norm.

    Raises:
        NonFiniteEmbeddingError: a row holds NaN or inf; names its indices in the batch.
    """
    refuse_non_finite(np.asarray(np.isfinite(features_BD).all(axis=1)))
    norms_B = np.linalg.norm(features_BD, axis=1, keepdims=True)
    return np.asarray(features_BD / np.maximum(norms_B, 1e-12), dtype=np.float32)


def refuse_non_finite(finite_B: NDArray[np.bool_]) -> None:
    """Stop where a row of features is not finite.

    Raises:
        NonFiniteEmbeddingError: a row holds NaN or inf; names its indices in the batch.
    """
    if not finite_B.all():
        indices = np.flatnonzero(~finite_B)
        raise NonFiniteEmbeddingError(
            f"The encoder gave NaN or inf for {len(indices)} of {len(finite_B)} inputs, places {indices[:8].tolist()}.",
            remedy="The weights are damaged or the precision is too low; evaluate the encoder in fp32.",
        )
