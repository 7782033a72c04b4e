"""Stage A: both towers' last layers, fitted on what the base makes of the training split.

Shape legend: N images, M phrasings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.encoder.short_texts import encode_texts
from pinembed.jobs.finetune.examples import BATCH_SIZE, Examples, tower_inputs
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress
from pinembed.training.heads import fit_heads, head_features, image_head, text_head

MOST_IMAGES, PHRASINGS = 2000, 4


def fitted_heads(
    encoder: Encoder, train: Examples, captioner: Captioner, *, seed: int, progress: Progress
) -> dict[str, Tensor]:
    """Weights of the heads under their names in the model, which is left as it was.

    Of many images some are taken by chance. Empty where a tower does not end in a linear layer.
    """
    image, text = image_head(encoder.model), text_head(encoder.model)
    if image is None or text is None:
        return {}
    rng = np.random.default_rng((seed, 0))
    places = np.sort(rng.permutation(len(train.labelled))[:MOST_IMAGES])
    items = [train.labelled.items[place] for place in places]
    said: dict[str, int] = {}
    phrasings_of_N = [_phrasings(captioner, item, said, rng) for item in items]
    encoder.model.eval()
    model = cast(Any, encoder.model)
    pixels = tower_inputs(encoder, train, places.tolist(), stage="features for the heads", progress=progress)
    image_NF = head_features(image, model.encode_image, pixels)
    text_MF = head_features(
        text, lambda tokens_MT: encode_texts(encoder.model, tokens_MT), _tokens(encoder, list(said))
    )
    if image_NF is None or text_MF is None:
        return {}
    learned = {id(parameter) for head in (image, text) for parameter in head.parameters}
    held = {name: parameter for name, parameter in encoder.model.named_parameters() if id(parameter) in learned}
    before = {name: parameter.detach().clone() for name, parameter in held.items()}
    fit_heads(
        image,
        text,
        image_NF=image_NF,
        text_MF=text_MF,
        phrasings_of_N=phrasings_of_N,
        group_N=train.labelled.group_of_N[places],
        text_N=train.labelled.text_of_N[places],
        scale=model.logit_scale.detach().exp().clamp(max=100),
        seed=seed,
    )
    fitted = {name: parameter.detach().clone() for name, parameter in held.items()}
    encoder.model.load_state_dict(before, strict=False)
    return fitted


def _phrasings(captioner: Captioner, item: Item, said: dict[str, int], rng: np.random.Generator) -> NDArray[np.int64]:
    texts = [captioner.name(item, rng)] * PHRASINGS + [captioner.sample(item, rng) for _ in range(PHRASINGS)]
    return np.array([said.setdefault(text, len(said)) for text in texts], dtype=np.int64)


def _tokens(encoder: Encoder, texts: list[str]) -> Iterator[Tensor]:
    for start in range(0, len(texts), BATCH_SIZE):
        yield encoder.tokenizer(texts[start : start + BATCH_SIZE]).to(encoder.device)
