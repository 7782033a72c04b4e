"""Blends: points between training items, named by a linear probe, beside the items of a small catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pinembed.errors import UsageError
from pinembed.jobs.align.blends import BLENDS, blend, with_blends
from pinembed.jobs.align.material import Rows
from pinembed.jobs.align.recipe import FROM_SCRATCH, PRETRAINED, Wishes, blended_share
from pinembed.nouns.item import Item
from pinembed.trimmed.probe import Probe, fit_probe
from pinembed.trimmed.questions import QuestionMaker


@pytest.fixture(scope="module")
def train() -> Rows:
    """Two fields that are one direction each and always go together: who is red is round."""
    generator = torch.Generator().manual_seed(0)
    sides = torch.tensor([1.0, -1.0]).repeat(30)
    rows_ND = 0.2 * torch.randn(60, 8, generator=generator)
    rows_ND[:, 0] += sides
    rows_ND[:, 1] += sides
    rows_ND = torch.nn.functional.normalize(rows_ND, dim=1)
    items = tuple(
        Item(
            id=f"i{row}",
            file_name=f"{row}.png",
            path=Path(f"{row}.png"),
            fields={"color": "red" if side > 0 else "blue", "shape": "round" if side > 0 else "square"},
        )
        for row, side in enumerate(sides.tolist())
    )
    return Rows(items=items, embeddings_ND=rows_ND)


@pytest.fixture(scope="module")
def probes(train: Rows) -> dict[str, Probe]:
    def one(field: str) -> Probe:
        values = [str(item.fields[field]) for item in train.items]
        return fit_probe(train.embeddings_ND, values, train.embeddings_ND, values)

    return {field: one(field) for field in ("color", "shape")}


def wishes(blended: float | None) -> Wishes:
    return Wishes(
        epochs=None,
        batch_size=None,
        lr=None,
        language_lr=None,
        train_language_model=None,
        lora=None,
        noise=None,
        blended=blended,
        minutes=None,
        seed=0,
    )


def test_blends_have_norm_one_and_the_values_that_the_probe_reads(train: Rows, probes: dict[str, Probe]) -> None:
    made = blend(train, probes, seed=0)
    assert len(made.items) == len(made.embeddings_ND) == BLENDS
    torch.testing.assert_close(made.embeddings_ND.norm(dim=1), torch.ones(BLENDS))
    for field, probe in probes.items():
        assert [item.fields[field] for item in made.items] == probe.read(made.embeddings_ND)
        assert len({item.fields[field] for item in made.items}) == 2


def test_blends_are_the_same_for_a_seed_and_others_for_another(train: Rows, probes: dict[str, Probe]) -> None:
    first, same, other = (blend(train, probes, seed=seed).embeddings_ND for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_an_epoch_takes_blends_in_the_place_of_its_share_of_the_items(train: Rows, probes: dict[str, Probe]) -> None:
    both = with_blends(train, blend(train, probes, seed=0))
    maker = QuestionMaker(both.items, ["color", "shape"], blends=BLENDS, blended=0.75)
    for number in (0, 1):
        asked = {dialogue.rows[0] for dialogue in maker.epoch(number)}
        assert len(asked) == 60
        assert sum(row < 60 for row in asked) == 15
    assert maker.epoch(0) != maker.epoch(1)
    assert maker.epoch(1) == maker.epoch(1)


def test_blends_come_by_default_to_small_catalogues_of_a_model_that_learns_from_nothing() -> None:
    assert blended_share(wishes(None), FROM_SCRATCH, items=999) > 0
    assert blended_share(wishes(None), FROM_SCRATCH, items=1000) == 0
    assert blended_share(wishes(None), PRETRAINED, items=10) == 0
    assert blended_share(wishes(0.0), FROM_SCRATCH, items=10) == 0
    assert blended_share(wishes(0.5), PRETRAINED, items=5000) == 0.5
    with pytest.raises(UsageError, match=r"--blended 1\.5 is no share"):
        blended_share(wishes(1.5), FROM_SCRATCH, items=10)


def test_probe_leaves_out_what_has_no_value(train: Rows) -> None:
    values = [str(item.fields["color"]) for item in train.items]
    gaps = [value if row % 3 else "" for row, value in enumerate(values)]
    probe = fit_probe(train.embeddings_ND, gaps, train.embeddings_ND, gaps)
    assert probe.names == ("blue", "red")
    assert probe.accuracy(train.embeddings_ND, gaps) == 1.0
    assert probe.accuracy(train.embeddings_ND, [""] * 60) == 0.0
