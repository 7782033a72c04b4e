"""EncoderSpec: an encoder's identity, its fusion included; two fingerprints never mix."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pinembed.stored import list_of, shown, typed_record_of

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
    def from_json(cls, stored: Any) -> Fusion:
        """The inverse of `dataclasses.asdict`.

        Raises:
            ValueError: what is stored is no fusion; readers turn it into their own error.
        """
        whole = typed_record_of(cls, stored, "the fusion")
        fields = [typed_record_of(FusedField, field, "a fused field") for field in list_of(whole.fields, "fields")]
        weights = {IMAGE: whole.image, **{field.name: field.weight for field in fields}}
        if len(weights) != 1 + len(fields):
            raise ValueError(f"two fields have one name, or one is called {IMAGE}")
        return make_fusion(weights, {field.name: field.template for field in fields})


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
    def from_json(cls, stored: Any) -> EncoderSpec:
        """The inverse of `to_json`.

        Raises:
            ValueError: a field is missing, unknown or of no use; readers turn it into their own error.
        """
        spec = typed_record_of(cls, stored, "the encoder")
        pixels = typed_record_of(Preprocessing, spec.preprocessing, "preprocessing")
        mean, std = (_channels(getattr(pixels, name), name) for name in ("mean", "std"))
        fusion = None if spec.fusion is None else Fusion.from_json(spec.fusion)
        return dataclasses.replace(spec, preprocessing=dataclasses.replace(pixels, mean=mean, std=std), fusion=fusion)


def _channels(stored: Any, name: str) -> tuple[float, float, float]:
    if not isinstance(stored, list | tuple) or [type(value) in {int, float} for value in stored] != [True] * 3:
        raise ValueError(f"{name} of preprocessing is {shown(stored)}; wanted three numbers")
    red, green, blue = stored
    return red, green, blue
