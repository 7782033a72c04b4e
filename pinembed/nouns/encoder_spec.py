"""EncoderSpec: an encoder's identity, its fusion included; two fingerprints never mix."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

BLANK = "{}"
IMAGE = "image"
DECIMALS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedField:
    """One metadata column's part of an item's vector.

    Attributes:
        name: of the column.
        weight: of the column's normalised text embedding; with the image's weight and the other columns' 1 in sum.
        template: phrasing; `{}` stands for the value in words.
    """

    name: str
    weight: float
    template: str = BLANK

    def text(self, words: str) -> str:
        """The text that is embedded for a value in words; empty where the value is missing."""
        return self.template.replace(BLANK, words) if words else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fusion:
    """Weights of the parts of an item's vector; make one with `make_fusion`, which brings them into one form.

    Attributes:
        image: weight of the normalised image embedding.
        fields: sorted by name.
    """

    image: float
    fields: tuple[FusedField, ...]

    def __str__(self) -> str:
        return ", ".join(f"{name} {weight:.4g}" for name, weight in self.weights.items())

    @property
    def names(self) -> tuple[str, ...]:
        """Of the fused columns."""
        return tuple(field.name for field in self.fields)

    @property
    def phrases(self) -> dict[str, Callable[[str], str]]:
        """By column, what makes a text of its value."""
        return {field.name: field.text for field in self.fields}

    @property
    def weights(self) -> dict[str, float]:
        """By column, the image's first."""
        return {IMAGE: self.image, **{field.name: field.weight for field in self.fields}}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Fusion:
        """The inverse of `dataclasses.asdict`.

        Raises:
            KeyError, TypeError, ValueError: what is stored is no fusion; readers turn it into their own error.
        """
        weights = {IMAGE: stored["image"], **{field["name"]: field["weight"] for field in stored["fields"]}}
        if len(weights) != 1 + len(stored["fields"]):
            raise ValueError(f"two fields have one name, or one is called {IMAGE}")
        unknown = {*stored} - {"image", "fields"} | {
            key for field in stored["fields"] for key in {*field} - {"name", "weight", "template"}
        }
        if unknown:
            raise ValueError(f"{', '.join(sorted(unknown))} is not known")
        return make_fusion(weights, {field["name"]: field.get("template", BLANK) for field in stored["fields"]})


def make_fusion(weights: Mapping[str, float], templates: Mapping[str, str] | None = None) -> Fusion:
    """Weights of any sum to a Fusion whose weights have the sum 1, so that equal fusions have one fingerprint.

    Args:
        weights: by column; that of the image under `image`.
        templates: phrasing by column; the bare value where there is none.

    Raises:
        ValueError: no weight for the image or none for a column, one that is not a positive number, or a template
            without a place for the value.
    """
    templates = templates or {}
    names = sorted(set(weights) - {IMAGE})
    if not names or IMAGE not in weights:
        raise ValueError(f"wanted a weight for {IMAGE} and one for at least one column")
    for name, weight in weights.items():
        if not isinstance(name, str) or not name:
            raise ValueError(f"{name!r} is no name of a column")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise ValueError(f"the weight of {name} is {weight!r}; wanted a positive number")
    for name, template in templates.items():
        if not isinstance(template, str) or template.count(BLANK) != 1:
            raise ValueError(f"the template of {name} is {template!r}; wanted one {BLANK} for the value")
    total = sum(weights.values())
    share = {name: round(weights[name] / total, DECIMALS) for name in names}
    image = round(1 - sum(share.values()), DECIMALS)  # the rest, so that stored weights are read as they were written
    if image <= 0 or not all(share.values()):
        raise ValueError(f"a weight below {10**-DECIMALS} of the sum does nothing")
    return Fusion(
        image=image,
        fields=tuple(FusedField(name=name, weight=share[name], template=templates.get(name, BLANK)) for name in names),
    )


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
        tokenizer_sha256: of the files of Hugging Face's tokenizer; empty where open_clip's own is used.
        quantisation: `int8` where a tower in 8-bit numbers makes the vectors; empty where they are those of fp32.
    """

    architecture: str
    config_sha256: str
    weights_sha256: str
    dim: int
    preprocessing: Preprocessing
    normalise: bool = True
    fusion: Fusion | None = None
    tokenizer_sha256: str = ""
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
        for name in ("tokenizer_sha256", "quantisation"):
            if not plain[name]:
                del plain[name]
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
