"""Linear warm start: the last linear layer of each tower, fitted on features that are computed once, in seconds.

Shape legend: N images, M phrasings, B batch, F feature floats before the projection, D embedding floats.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.catalogue.captions import Captioner
from pinembed.encoder.encoder import Encoder
from pinembed.encoder.towers import encode_texts
from pinembed.metrics.relevance import positives
from pinembed.nouns.item import Item
from pinembed.nouns.progress import Progress
from pinembed.training.datasets import BATCH_SIZE, Learnable, tower_inputs
from pinembed.training.loader import epoch_batches
from pinembed.training.losses import image_image_loss, image_text_loss
from pinembed.training.optimiser import cosine_share, set_rate

FEWEST_STEPS, MOST_STEPS, FIT_BATCH = 20, 300, 256
RELATIVE_RATE = 0.05
"""Peak rate as a share of the root mean square of a projection's weights, so that it fits projections of all sizes."""
IMAGE_IMAGE_WEIGHT = 0.5
TOLERANCE = 1e-3
TEXT_PROJECTION = "text_projection"


@dataclass(frozen=True)
class Projection:
    """A tower's last linear layer: `x @ P` with a bare parameter, or a linear layer."""

    owner: nn.Module
    name: str

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        held = getattr(self.owner, self.name)
        return tuple(held.parameters()) if isinstance(held, nn.Linear) else (held,)

    @property
    def weight_FD(self) -> Tensor:
        held = getattr(self.owner, self.name)
        return cast(Tensor, held.weight.T if isinstance(held, nn.Linear) else held).detach()

    @property
    def bias_D(self) -> Tensor | None:
        held = getattr(self.owner, self.name)
        bias = held.bias if isinstance(held, nn.Linear) else None
        return None if bias is None else cast(Tensor, bias).detach()

    @torch.no_grad()
    def store(self, weight_FD: Tensor, bias_D: Tensor | None) -> None:
        """Put fitted numbers in place."""
        self.weight_FD.copy_(weight_FD)
        if bias_D is not None and self.bias_D is not None:
            self.bias_D.copy_(bias_D)

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Inside, the tower gives what the projection would be given, however often and in whatever order it is used.

        open_clip's own towers leave out a projection that is None; others call it.
        """
        held = getattr(self.owner, self.name)
        is_called = isinstance(held, nn.Linear) and self.name != TEXT_PROJECTION
        setattr(self.owner, self.name, nn.Identity() if is_called else None)
        try:
            yield
        finally:
            setattr(self.owner, self.name, held)


def image_projection(model: nn.Module) -> Projection | None:
    """The image tower's, where it ends in a linear layer."""
    visual = cast(Any, model).visual
    if _is_projection(getattr(visual, "proj", None)):
        return Projection(visual, "proj")
    projection = getattr(visual, "head", None)
    return (
        Projection(cast(nn.Module, projection), "proj") if _is_projection(getattr(projection, "proj", None)) else None
    )


def text_projection(model: nn.Module) -> Projection | None:
    """The text tower's, where it ends in a linear layer."""
    owner = getattr(model, "text", model)
    for name in (TEXT_PROJECTION, "proj"):
        if _is_projection(getattr(owner, name, None)):
            return Projection(owner, name)
    return None


@torch.no_grad()
def projection_inputs(
    projection: Projection, encode: Callable[[Tensor], Tensor], batches: Iterator[Tensor]
) -> Tensor | None:
    """Inputs of a projection for all batches; None where the tower goes on after the projection."""
    rows = []
    for index, batch in enumerate(batches):
        with projection.left_out():
            features_BF = encode(batch).float()
        if index == 0 and not _explains(projection, features_BF, encode(batch).float()):
            return None
        rows.append(features_BF)
    return torch.cat(rows)


def fit_projections(
    image: Projection,
    text: Projection,
    *,
    image_NF: Tensor,
    text_MF: Tensor,
    phrasings_of_N: Sequence[NDArray[np.int64]],
    group_N: Tensor,
    text_N: Tensor,
    scale: Tensor,
    seed: int,
) -> None:
    """Train both projections on features, and put them into their towers.

    Args:
        image: of the image tower.
        text: of the text tower.
        image_NF: features of the images.
        text_MF: features of the phrasings.
        phrasings_of_N: indices in text_MF of the texts of each image.
        group_N: codes; equal codes are positives of each other.
        text_N: codes of equal texts; -1 for none.
        scale: inverse temperature.
        seed: of the batches.
    Source: Kumar et al. 2022, Fine-tuning can distort pretrained features, arXiv:2202.10054.
    """
    rng = np.random.default_rng((seed, 0))
    learned = [
        None if held is None else held.clone().requires_grad_()
        for projection in (image, text)
        for held in (projection.weight_FD, projection.bias_D)
    ]
    sizes = (image.weight_FD, image.weight_FD, text.weight_FD, text.weight_FD)
    peaks = [RELATIVE_RATE * float(size.square().mean().sqrt()) for size in sizes]
    groups = [{"params": [held], "peak": peak} for held, peak in zip(learned, peaks, strict=True) if held is not None]
    optimiser = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.98), weight_decay=0.01)
    image_weight, image_bias, text_weight, text_bias = learned
    steps = min(max(len(image_NF), FEWEST_STEPS), MOST_STEPS)
    for step, indices in zip(range(steps), _batches(group_N, rng), strict=False):
        set_rate(optimiser, cosine_share(step, steps, steps // 20))
        drawn = torch.from_numpy(np.array([rng.choice(phrasings_of_N[index]) for index in indices]))
        image_BD = _unit(image_NF[indices], cast(Tensor, image_weight), image_bias)
        text_BD = _unit(text_MF[drawn], cast(Tensor, text_weight), text_bias)
        group_B, text_B = group_N[indices], text_N[indices]
        positive_BB = positives(group_B, text_B, group_B, text_B).to(image_BD.device)
        loss = image_text_loss(image_BD, text_BD, positive_BB, scale)
        loss = loss + IMAGE_IMAGE_WEIGHT * image_image_loss(image_BD, positive_BB, scale)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    image.store(cast(Tensor, image_weight), image_bias)
    text.store(cast(Tensor, text_weight), text_bias)


def _batches(group_N: Tensor, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    size = min(FIT_BATCH, len(group_N))
    while True:
        yield from epoch_batches(group_N.tolist(), batch_size=size, samples_per_group=2, rng=rng)


def _unit(features_BF: Tensor, weight_FD: Tensor, bias_D: Tensor | None) -> Tensor:
    embedding_BD = features_BF @ weight_FD
    return F.normalize(embedding_BD if bias_D is None else embedding_BD + bias_D, dim=1)


@torch.no_grad()
def _explains(projection: Projection, features_BF: Tensor, embedding_BD: Tensor) -> bool:
    if features_BF.ndim != 2 or features_BF.shape[1] != projection.weight_FD.shape[0]:
        return False
    found_BD = _unit(features_BF, projection.weight_FD.float(), projection.bias_D)
    return bool(torch.allclose(found_BD, F.normalize(embedding_BD, dim=1), atol=TOLERANCE))


def _is_projection(held: object) -> bool:
    return isinstance(held, nn.Linear) or (isinstance(held, nn.Parameter) and held.ndim == 2)


MOST_IMAGES, PHRASINGS = 2000, 4


def fitted_projections(
    encoder: Encoder, train: Learnable, captioner: Captioner, *, seed: int, progress: Progress
) -> dict[str, Tensor]:
    """Fitted weights of the projections under their names in the model, which is left as it was.

    Of many images a random part is taken. Empty where a tower does not end in a linear layer.
    """
    image, text = image_projection(encoder.model), text_projection(encoder.model)
    if image is None or text is None:
        return {}
    rng = np.random.default_rng((seed, 0))
    indices = np.sort(rng.permutation(len(train.labelled))[:MOST_IMAGES])
    items = [train.labelled.items[index] for index in indices]
    index_of: dict[str, int] = {}
    phrasings_of_N = [_phrasings(captioner, item, index_of, rng) for item in items]
    encoder.model.eval()
    pixels = tower_inputs(encoder, train, indices.tolist(), stage="features for the projections", progress=progress)
    image_NF = projection_inputs(image, encoder.encode_image, pixels)
    text_MF = projection_inputs(
        text, lambda tokens_MT: encode_texts(encoder.model, tokens_MT), _tokens(encoder, list(index_of))
    )
    if image_NF is None or text_MF is None:
        return {}
    learned = {id(parameter) for projection in (image, text) for parameter in projection.parameters}
    held = {name: parameter for name, parameter in encoder.model.named_parameters() if id(parameter) in learned}
    before = {name: parameter.detach().clone() for name, parameter in held.items()}
    fit_projections(
        image,
        text,
        image_NF=image_NF,
        text_MF=text_MF,
        phrasings_of_N=phrasings_of_N,
        group_N=train.labelled.group_of_N[indices],
        text_N=train.labelled.text_of_N[indices],
        scale=cast(Any, encoder.model).logit_scale.detach().exp().clamp(max=100),
        seed=seed,
    )
    fitted = {name: parameter.detach().clone() for name, parameter in held.items()}
    encoder.model.load_state_dict(before, strict=False)
    return fitted


def _phrasings(
    captioner: Captioner, item: Item, index_of: dict[str, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    texts = [captioner.name(item, rng)] * PHRASINGS + [captioner.sample(item, rng) for _ in range(PHRASINGS)]
    return np.array([index_of.setdefault(text, len(index_of)) for text in texts], dtype=np.int64)


def _tokens(encoder: Encoder, texts: list[str]) -> Iterator[Tensor]:
    for start in range(0, len(texts), BATCH_SIZE):
        yield encoder.tokenizer(texts[start : start + BATCH_SIZE]).to(encoder.device)


REFITTED_SHARE = 0.5
"""Of the way to projections that fit training's and validation's images best, as `encode` will see them. All of it
gains as much where items are like those that were seen, and loses twice as much where they are not."""


def refit(
    encoder: Encoder,
    weights: dict[str, Tensor],
    images: Learnable,
    *,
    captioner: Captioner,
    seed: int,
    progress: Progress,
) -> dict[str, Tensor] | None:
    """Weights whose projections went REFITTED_SHARE of the way to those that fit the images; None where none do.

    Once validation has chosen, its images teach the last layers too: in a catalogue of some hundred images they are a
    fifth or more of what could be learned from, and unlike training's their features are those of images that the
    towers have not seen. The epoch, the rate and the share of the base are chosen without them, as scikit-learn's
    searches refit their choice on all data.

    Args:
        encoder: its model is changed in place.
        weights: a state dict of it.
        images: training's and validation's.
        captioner: phrases their texts.
        seed: of the batches.
        progress: told of the images.
    """
    encoder.model.load_state_dict(weights)
    fitted = fitted_projections(encoder, images, captioner, seed=seed, progress=progress)
    if not fitted or not all(torch.isfinite(tensor).all() for tensor in fitted.values()):
        return None
    return {**weights, **{name: torch.lerp(weights[name], fitted[name], REFITTED_SHARE) for name in fitted}}
