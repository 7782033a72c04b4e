"""The projector: shapes, scale, elastic K, storage, and the encoder it belongs to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pinembed.errors import EncoderMismatchError, ModelError, UsageError
from pinembed.trimmed.projector import (
    CONFIG_NAME,
    PROJECTOR_NAME,
    Projector,
    load_projector,
    new_projector,
    projector_sha256,
    save_projector,
)

D, K, H = 6, 4, 32


@pytest.fixture
def projector() -> Projector:
    token_embeddings_VH = 0.02 * torch.randn(50, H, generator=torch.Generator().manual_seed(0))
    return new_projector(
        dim=D, tokens=K, token_embeddings_VH=token_embeddings_VH, encoder_fingerprint="abc", seed=0
    ).eval()


@pytest.fixture
def embeddings_ND() -> torch.Tensor:
    return torch.randn(5, D, generator=torch.Generator().manual_seed(1))


def test_projector_makes_k_tokens_of_the_model_width(projector: Projector, embeddings_ND: torch.Tensor) -> None:
    assert projector(embeddings_ND).shape == (5, K, H)


def test_projector_output_is_as_loud_as_the_token_embeddings(projector: Projector, embeddings_ND: torch.Tensor) -> None:
    rms_NK = projector(embeddings_ND).square().mean(dim=-1).sqrt()
    assert projector.config.output_rms == pytest.approx(0.02, rel=0.1)
    assert torch.allclose(rms_NK, torch.full_like(rms_NK, projector.config.output_rms), rtol=1e-2)


def test_projector_first_tokens_do_not_depend_on_how_many_are_asked_for(
    projector: Projector, embeddings_ND: torch.Tensor
) -> None:
    assert torch.allclose(projector(embeddings_ND, 2), projector(embeddings_ND)[:, :2], atol=1e-6)


@pytest.mark.parametrize("tokens", [0, K + 1])
def test_projector_refuses_tokens_that_it_does_not_have(
    projector: Projector, embeddings_ND: torch.Tensor, tokens: int
) -> None:
    with pytest.raises(UsageError, match=f"{tokens} tokens an item were asked for; the projector has 1 to {K}"):
        projector(embeddings_ND, tokens)


def test_projector_refuses_embeddings_of_another_size(projector: Projector) -> None:
    with pytest.raises(EncoderMismatchError, match=r"shape \(5, 7\); the projector takes \(N, 6\)"):
        projector(torch.zeros(5, 7))


def test_projector_refuses_a_source_of_another_encoder(projector: Projector) -> None:
    projector.check_source("abc", origin="shop-source")
    with pytest.raises(EncoderMismatchError, match="shop-source holds embeddings of the encoder xyz"):
        projector.check_source("xyz", origin="shop-source")


def test_projector_standardises_with_the_training_items(projector: Projector) -> None:
    embeddings_ND = 5 + torch.randn(200, D)
    projector.fit_input(embeddings_ND)
    standard_ND = (embeddings_ND - projector.mean_D) / projector.std_D
    assert torch.allclose(standard_ND.mean(dim=0), torch.zeros(D), atol=1e-4)
    assert torch.allclose(standard_ND.std(dim=0, correction=0), torch.ones(D), atol=1e-4)


def test_projector_with_a_constant_feature_stays_finite(projector: Projector) -> None:
    embeddings_ND = torch.ones(3, D)
    projector.fit_input(embeddings_ND)
    assert torch.isfinite(projector(embeddings_ND)).all()


def test_projector_comes_back_from_its_files(projector: Projector, embeddings_ND: torch.Tensor, tmp_path: Path) -> None:
    projector.fit_input(embeddings_ND)
    save_projector(projector, tmp_path)
    loaded = load_projector(tmp_path)
    assert loaded is not None
    assert loaded.config == projector.config
    assert torch.equal(loaded(embeddings_ND), projector(embeddings_ND))


def test_projector_hash_follows_its_weights(projector: Projector, tmp_path: Path) -> None:
    save_projector(projector, tmp_path)
    before = projector_sha256(tmp_path)
    projector.fit_input(torch.randn(9, D))
    save_projector(projector, tmp_path)
    assert projector_sha256(tmp_path) != before


def test_projector_is_none_where_there_is_no_file(tmp_path: Path) -> None:
    assert load_projector(tmp_path) is None


def test_projector_with_one_file_missing_is_refused(projector: Projector, tmp_path: Path) -> None:
    save_projector(projector, tmp_path)
    (tmp_path / CONFIG_NAME).unlink()
    with pytest.raises(ModelError, match=r"projector_config\.json is missing"):
        load_projector(tmp_path)


def test_projector_with_truncated_weights_is_refused(projector: Projector, tmp_path: Path) -> None:
    save_projector(projector, tmp_path)
    path = tmp_path / PROJECTOR_NAME
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ModelError, match="holds a damaged projector"):
        load_projector(tmp_path)


def test_projector_whose_config_was_edited_is_refused(projector: Projector, tmp_path: Path) -> None:
    save_projector(projector, tmp_path)
    config = json.loads((tmp_path / CONFIG_NAME).read_text(encoding="utf-8"))
    (tmp_path / CONFIG_NAME).write_text(json.dumps({**config, "tokens": 9}), encoding="utf-8")
    with pytest.raises(ModelError, match="holds a damaged projector"):
        load_projector(tmp_path)


def test_projector_with_nan_weights_is_refused(projector: Projector, tmp_path: Path) -> None:
    save_projector(projector, tmp_path)
    weights = load_file(tmp_path / PROJECTOR_NAME)
    weights["hidden.weight"][0, 0] = float("nan")
    save_file(weights, tmp_path / PROJECTOR_NAME)
    with pytest.raises(ModelError, match="holds NaN or inf"):
        load_projector(tmp_path)


def test_projector_of_another_format_is_refused(projector: Projector, tmp_path: Path) -> None:
    save_projector(projector, tmp_path)
    config = json.loads((tmp_path / CONFIG_NAME).read_text(encoding="utf-8"))
    (tmp_path / CONFIG_NAME).write_text(json.dumps({**config, "format": 2}), encoding="utf-8")
    with pytest.raises(ModelError, match="another format than 1"):
        load_projector(tmp_path)
