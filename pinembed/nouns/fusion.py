"""Fusion: how an item's one vector is made of its image and of texts from its metadata. Part of the EncoderSpec."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
