"""EncoderSpec: the identity of an encoder. Its fingerprint is stored with every table and source."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from pinembed.nouns.fusion import Fusion


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """How an RGB image becomes the image tower's input; field for field open_clip's preprocess_cfg.

    Attributes:
        image_px: side of the square input.
        mean: per channel, on the 0..1 scale.
        std: per channel, on the 0..1 scale.
        interpolation: `bicubic` or `bilinear`.
        resize_mode: `shortest` (resize the short side, centre crop), `longest` (pad) or `squash`.
        fill_color: grey level 0..255 of the padding under `longest`.
    """

    image_px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSpec:
    """Everything that decides what vector an item gets.

    Attributes:
        architecture: for people: the folder's name, `NAME/PRETRAINED` or `hf-hub:...`. Not part of the fingerprint.
        config_sha256: sha256 of the canonical JSON of open_clip's model_cfg.
        weights_sha256: sha256 of the weights file.
        dim: D, floats of one embedding: all that the towers give, or the first ones, brought to norm 1 again.
        preprocessing: image file to pixels.
        normalise: embeddings have L2 norm 1.
        fusion: metadata that is part of an item's vector; None where the image alone makes it.
        quantisation: `int8` where a tower in 8-bit numbers makes the vectors; empty where they are those of fp32.
    """

    architecture: str
    config_sha256: str
    weights_sha256: str
    dim: int
    preprocessing: Preprocessing
    normalise: bool = True
    fusion: Fusion | None = None
    quantisation: str = ""

    @property
    def fingerprint(self) -> str:
        """16 hex digits that differ whenever two encoders' vectors may differ."""
        identity = self.to_json()
        del identity["architecture"]
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; what is not there has no entry, so that older specs stay the same."""
        plain = dataclasses.asdict(self)
        if self.fusion is None:
            del plain["fusion"]
        if not self.quantisation:
            del plain["quantisation"]
        return plain

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> EncoderSpec:
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, unknown or of no use; readers turn it into their own
                error.
        """
        preprocessing = dict(stored["preprocessing"])
        for channelwise in ("mean", "std"):
            preprocessing[channelwise] = tuple(preprocessing[channelwise])
        fusion = Fusion.from_json(stored["fusion"]) if "fusion" in stored else None
        return cls(**{**stored, "preprocessing": Preprocessing(**preprocessing), "fusion": fusion})
