"""The encoder in memory.

Shape legend: B batch, C channels (3), H = W = image_px, T context length, D embedding floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.encoder.backends.base import refuse_non_finite
from pinembed.encoder.files import bring_by_hand
from pinembed.encoder.folding import Folding
from pinembed.encoder.locate import (
    EncoderFiles,
    encoder_spec,
    import_open_clip,
    keep_dims,
    locate_encoder,
    preprocessing_of,
)
from pinembed.encoder.towers import Tower, as_local_dir, build_model, encode_texts, explained, standardisation
from pinembed.errors import EncoderError, InstallationError, MissingExtraError
from pinembed.machine import keep_freed_memory
from pinembed.nouns.encoder_spec import EncoderSpec, Preprocessing

Tokenizer = Callable[[Sequence[str]], Tensor]


class Encoder:
    """Image tower, text tower and preprocessing of one open_clip model, in evaluation mode.

    Attributes:
        model: the open_clip model; training code may change it in place.
        tokenizer: texts to token ids (B, T).
        preprocessing: image to pixels.
        files: where it came from.
        dim: D, floats of one embedding: all that the towers give, or the first ones.
    """

    def __init__(self, model: nn.Module, tokenizer: Tokenizer, files: EncoderFiles, device: torch.device) -> None:
        self.model = model.to(device).eval()
        if device.type == "cpu":  # with convolutions, together five times the speed; nothing changes for others
            keep_freed_memory()
            self.model = cast(Any, self.model).to(memory_format=torch.channels_last)
        self.tokenizer = tokenizer
        self.files = files
        self.preprocessing: Preprocessing = preprocessing_of(files)
        self.device = device
        self.dim = files.dim
        self._folding = Folding(getattr(self.model, "visual", nn.Identity()))  # text towers come alone, too
        self._scale_C, self._shift_C = standardisation(self.preprocessing, device)

    @property
    def spec(self) -> EncoderSpec:
        """Identity as stored on disk; hashes the weights file, so keep it.

        Raises:
            EncoderError: the encoder has random weights and no file.
        """
        return encoder_spec(self.files)

    @property
    def size_bytes(self) -> int:
        """Of the weights in memory, which is what their file takes."""
        return sum(tensor.nbytes for tensor in self.model.state_dict().values())

    @property
    def dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    def standardise(self, pixels_BCHW: Tensor) -> Tensor:
        """uint8 pixels 0..255 to the tower's input: (x / 255 - mean) / std, on the encoder's device and dtype."""
        pixels_BCHW = pixels_BCHW.to(self.device, non_blocking=True).float()
        return (pixels_BCHW * self._scale_C - self._shift_C).to(self.dtype)

    def encode_image(self, input_BCHW: Tensor) -> Any:
        """What the model's own `encode_image` gives, in less time."""
        return self._folding.run(cast(Any, self.model).encode_image, input_BCHW)

    @torch.inference_mode()
    def embed_images(self, pixels_BCHW: Tensor) -> Tensor:
        """Embed one batch of preprocessed images.

        Args:
            pixels_BCHW: uint8, from `images.preprocess`; H = W = image_px.

        Returns:
            (B, D) float32 on the CPU, each row of L2 norm 1.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf; names its indices in the batch.
        Source: Radford et al. 2021, arXiv:2103.00020, figure 3.
        """
        features_BD = self._pooled(self.encode_image(self.standardise(pixels_BCHW)))
        return unit_rows(features_BD[:, : self.dim].float()).cpu()

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Embed texts of any number.

        Returns:
            (N, D) float32 on the CPU, each row of L2 norm 1.

        Raises:
            NonFiniteEmbeddingError: a row holds NaN or inf.
        """
        batches = [torch.empty(0, self.dim)]
        for start in range(0, len(texts), batch_size):
            tokens_BT = self.tokenizer(list(texts[start : start + batch_size])).to(self.device)
            features_BD = self._pooled(encode_texts(self.model, tokens_BT))
            batches.append(unit_rows(features_BD[:, : self.dim].float()).cpu())
        return torch.cat(batches)

    def check_towers(self) -> None:
        """Embed a grey picture and a word, before work is spent on an encoder that cannot.

        Raises:
            EncoderError: a tower fails, or gives anything but one vector an input.
        """
        side_px = self.preprocessing.image_px
        with explained(self.files):
            self.embed_images(torch.full((1, 3, side_px, side_px), 127, dtype=torch.uint8))
            self.embed_texts(["a"])

    def _pooled(self, features: object) -> Tensor:
        """Refuse tokens that no pooling made one vector of."""
        if isinstance(features, Tensor) and features.ndim == 2 and features.shape[1] == self.files.tower_dim:
            return features
        shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise EncoderError(
            f"A tower of {self.files.reference} gives {shape}; wanted one vector of {self.files.tower_dim} floats for "
            "each input.",
            remedy="Give an encoder whose towers pool and project to embed_dim floats: see pool_type, proj_type and "
            "output_tokens in its model_cfg.",
        )


def unit_rows(features_BD: Tensor) -> Tensor:
    """Each row divided by its L2 norm.

    Raises:
        NonFiniteEmbeddingError: a row holds NaN or inf; names its indices in the batch.
    """
    refuse_non_finite(torch.isfinite(features_BD).all(dim=1).cpu().numpy())
    return F.normalize(features_BD, dim=1)


def load_encoder(
    reference: str,
    *,
    random_init: bool = False,
    seed: int = 0,
    dims: int | None = None,
    device: str | torch.device = "cpu",
) -> Encoder:
    """Load an encoder in fp32 evaluation mode.

    Args:
        reference: folder, `NAME/PRETRAINED`, `hf-hub:OWNER/REPO`, or an architecture with random_init.
        random_init: random weights, drawn from `seed`.
        seed: of the random weights; unused otherwise.
        dims: floats to keep of each embedding, the first ones; None keeps all.
        device: torch device.

    Raises:
        EncoderError: not found, unreadable, or weights that do not fit the configuration.
        UsageError: a bare architecture without random_init, or more dims than there are.
        InstallationError: open_clip does not load.
    """
    files = keep_dims(locate_encoder(reference, random_init=random_init), dims)
    return build_encoder(files, seed=seed, device=device)


def build_encoder(
    files: EncoderFiles, *, tower: Tower | None = None, seed: int = 0, device: str | torch.device = "cpu"
) -> Encoder:
    """The encoder that these files describe; errors as for `load_encoder`.

    Where a tower is named, it alone is built, in a part of the time and memory.
    """
    model = build_model(files, tower=tower, seed=seed)
    tokenizer = _no_tokenizer if tower == "image" else load_tokenizer(files)
    return Encoder(model, tokenizer, files, torch.device(device))


def _no_tokenizer(texts: Sequence[str]) -> Tensor:
    raise RuntimeError("this encoder was built without its text tower")


def load_tokenizer(files: EncoderFiles) -> Tokenizer:
    """open_clip's own, or Hugging Face's with the files that the encoder's identity covers.

    Raises:
        EncoderError: its files are missing.
        MissingExtraError: it needs transformers.
    """
    repo = files.model_cfg.get("text_cfg", {}).get("hf_tokenizer_name")
    if repo and find_spec("transformers") is None:
        raise MissingExtraError(f"The tokenizer of {files.reference}", extra="vlm", package="transformers")
    with explained(files):
        try:
            with as_local_dir(files) as local_dir:
                return cast(Tokenizer, import_open_clip().get_tokenizer(f"local-dir:{local_dir}"))
        except (OSError, ImportError, ValueError) as error:
            if lacking := _lacks_sentencepiece(files):
                raise InstallationError(
                    f"The tokenizer of {files.reference}, {lacking}, needs the package sentencepiece.",
                    remedy="Run: pip install sentencepiece; or bring the tokenizer's tokenizer.json into the folder.",
                ) from error
            if not repo or not isinstance(error, OSError):
                raise
            lacks = repo if files.folder is None else f"{repo} ({files.folder} lacks the tokenizer's)"
            raise EncoderError(
                f"The tokenizer of {files.reference}, {repo}, is not in the local cache and cannot be fetched.",
                remedy=bring_by_hand(lacks),
            ) from error


def _lacks_sentencepiece(files: EncoderFiles) -> str:
    """Name of a tokenizer's file that only a package which is not installed can read; empty for none."""
    names = {path.name for path in files.tokenizer}
    if "tokenizer.json" in names or find_spec("sentencepiece") is not None:
        return ""
    return next((path.name for path in files.tokenizer if path.suffix in {".model", ".spm"}), "")
