"""Blended items: embeddings between those of training items, with the values that a linear probe reads from them.

A small catalogue is learned by heart: every red item is also a mug. Between its items lie as many points as are wanted,
in which the values go together in all ways, and the probe, which can learn nothing by heart that is not linear, names
them. What the model learns from them is the probe's way to read.

Shape legend: N training items, B blends, D floats of one embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.nn import functional as F

from pinembed.jobs.align.material import Rows
from pinembed.nouns.item import Item
from pinembed.trimmed.probe import Probe

BLENDS = 8_000


def blend(train: Rows, probes: Mapping[str, Probe], *, seed: int) -> Rows:
    """BLENDS points between two training items each, brought back to norm 1.

    Args:
        train: the items.
        probes: of the fields.
        seed: of the draws.
    """
    seeded = torch.Generator().manual_seed(seed)
    pair_B2 = torch.randint(len(train.items), (BLENDS, 2), generator=seeded)
    share_B1 = torch.rand(BLENDS, 1, generator=seeded)
    blend_BD = torch.lerp(train.embeddings_ND[pair_B2[:, 0]], train.embeddings_ND[pair_B2[:, 1]], share_B1)
    blend_BD = F.normalize(blend_BD, dim=1)
    values = {field: probe.read(blend_BD) for field, probe in probes.items()}
    return Rows(items=tuple(_item(number, values) for number in range(BLENDS)), embeddings_ND=blend_BD)


def with_blends(train: Rows, blends: Rows) -> Rows:
    """The training items, then the blends."""
    return Rows(
        items=(*train.items, *blends.items), embeddings_ND=torch.cat([train.embeddings_ND, blends.embeddings_ND])
    )


def _item(number: int, values: Mapping[str, list[str]]) -> Item:
    name = f"blend-{number}"
    return Item(
        id=name, file_name=name, path=Path(name), fields={field: said[number] for field, said in values.items()}
    )
