"""Text towers without padding: the same features, or the whole context where padding is read."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pinembed.encoder.encoder import Encoder, build_encoder
from pinembed.encoder.locate import EncoderFiles
from pinembed.encoder.towers import encode_texts
from tests.conftest import TINY_ARCHITECTURE

TEXTS = ["a mug", "a floral coffee mug in mustard", ""]


def encoder_with(text: dict[str, Any], **model: Any) -> Encoder:
    cfg = TINY_ARCHITECTURE["model_cfg"]
    model_cfg = {**cfg, **model, "text_cfg": {**cfg["text_cfg"], **text}}
    files = EncoderFiles(
        reference="x", architecture="x", model_cfg=model_cfg, preprocess_cfg={}, weights=None, folder=None
    )
    return build_encoder(files)


def seen_lengths(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    tower: Any = getattr(encoder.model, "text", encoder.model)
    lengths = []
    original = tower.transformer.forward
    monkeypatch.setattr(
        tower.transformer, "forward", lambda x, **options: (lengths.append(x.shape[1]), original(x, **options))[1]
    )
    return lengths


@pytest.mark.parametrize("custom", [False, True], ids=["CLIP", "CustomTextCLIP"])
def test_causal_tower_sees_only_the_longest_text_and_gives_the_same(
    custom: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = encoder_with({}, custom_text=custom)
    tokens_BT = encoder.tokenizer(TEXTS)
    with torch.inference_mode():
        whole_BD = encoder.model.encode_text(tokens_BT)
        lengths = seen_lengths(encoder, monkeypatch)
        short_BD = encode_texts(encoder.model, tokens_BT)
        torch.testing.assert_close(short_BD, whole_BD, atol=1e-5, rtol=1e-5)
        assert sorted(lengths) == sorted((tokens_BT != 0).sum(1).tolist())[1:]  # the two shorter ones go together
        torch.testing.assert_close(encoder.model.encode_text(tokens_BT), whole_BD)  # and the tower is whole again
    assert encoder.model.state_dict().keys() == encoder_with({}, custom_text=custom).model.state_dict().keys()


def test_gradients_are_those_of_the_whole_context() -> None:
    encoder = encoder_with({})
    tokens_BT = encoder.tokenizer(TEXTS)
    gradients = []
    for encode in (encode_texts, lambda model, tokens_BT: model.encode_text(tokens_BT)):
        encode(encoder.model, tokens_BT).square().sum().backward()
        gradients.append(encoder.model.positional_embedding.grad.clone())
        encoder.model.zero_grad()
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("text", [{"no_causal_mask": True}, {"pool_type": "last"}, {"embed_cls": True}])
def test_tower_that_reads_padding_keeps_its_context(text: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_with(text, custom_text=True)
    lengths = seen_lengths(encoder, monkeypatch)
    with torch.inference_mode():
        encode_texts(encoder.model, encoder.tokenizer(TEXTS))
    assert lengths[0] >= 16
