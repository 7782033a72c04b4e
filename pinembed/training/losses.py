"""The losses of a recipe, added up, and their gradient for batches that exceed memory or are spread over processes.

Shape legend: B images of a batch, M texts of a batch, V phrasings of an image, C channels (3), H = W = image_px,
T context length, D embedding floats, R rows at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.encoder.folding import Folding
from pinembed.training.recipe import PAIRWISE, Recipe
from pinembed.training.world import World


def image_text_loss(image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross-entropy between the softmax over the batch and equal shares for all positives.

    Args:
        image_BD: unit rows.
        text_BD: unit rows.
        positive_BB: image i and text j belong together; the diagonal is True.
        scale: inverse temperature.
    Source: Yang et al. 2022, Unified Contrastive Learning, arXiv:2204.03610, equations 1 to 3.
    """
    logits_BB = scale * image_BD @ text_BD.T
    share_BB = positive_BB / positive_BB.sum(dim=1, keepdim=True)
    share_T_BB = positive_BB.T / positive_BB.T.sum(dim=1, keepdim=True)
    return (F.cross_entropy(logits_BB, share_BB) + F.cross_entropy(logits_BB.T, share_T_BB)) / 2


def pairwise_loss(image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Each pair on its own, as a positive or a negative: the sum over an image's texts, the mean over images.

    Args:
        image_BD: unit rows.
        text_BD: unit rows.
        positive_BB: image i and text j belong together.
        scale: inverse temperature.
        bias: added to every logit; see `balanced_bias`.
    Source: Zhai et al. 2023, Sigmoid loss for language image pre-training, arXiv:2303.15343, equation 1.
    """
    logits_BB = scale * image_BD @ text_BD.T + bias
    return -F.logsigmoid(torch.where(positive_BB, logits_BB, -logits_BB)).sum(dim=1).mean()


@torch.no_grad()
def balanced_bias(image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
    """The bias with which a model of a softmax loss starts on pairs: one positive in a batch is expected.

    It is -ln(B - 1), less the logit that negatives have on average, for the softmax did not care for their level.
    """
    logits_BB = scale * image_BD @ text_BD.T
    negative_BB = ~positive_BB
    level = logits_BB[negative_BB].mean() if bool(negative_BB.any()) else logits_BB.mean()
    return -torch.log(torch.tensor(max(len(image_BD) - 1.0, 1.0), device=level.device)) - level


def image_image_loss(image_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
    """Supervised contrast between the images of a batch; images without a partner are passed over.

    Source: Khosla et al. 2020, Supervised Contrastive Learning, arXiv:2004.11362, equation 2.
    """
    itself_BB = torch.eye(len(image_BD), dtype=torch.bool, device=image_BD.device)
    partner_BB = positive_BB & ~itself_BB
    has_partner_B = partner_BB.any(dim=1)
    if not bool(has_partner_B.any()):
        return image_BD.sum() * 0
    logits_BB = (scale * image_BD @ image_BD.T).masked_fill(itself_BB, -torch.inf)
    share_BB = partner_BB[has_partner_B] / partner_BB[has_partner_B].sum(dim=1, keepdim=True)
    log_share_BB = F.log_softmax(logits_BB[has_partner_B], dim=1).masked_fill(~partner_BB[has_partner_B], 0)
    return -(share_BB * log_share_BB).sum(dim=1).mean()


SMALLEST_PREFIX = 32
LARGEST_SCALE = 100
BIAS_KEY = "bias"


class Objective:
    """Image-text loss, contrast between images, and both again for prefixes of the embedding.

    The temperature is the model's and stays. So does the bias of pairwise losses where the model brings one that it
    was trained with; others start with the one that fits the first batch, which is kept.
    """

    def __init__(self, model: nn.Module, recipe: Recipe) -> None:
        self._model = cast(Any, model)
        self._recipe = recipe
        self._bias: Tensor | None = None

    def __call__(
        self, image_BD: Tensor, text_MD: Tensor, text_of_VB: Tensor, positive_BB: Tensor, is_true_BM: Tensor
    ) -> Tensor:
        """The loss of a batch.

        Args:
            image_BD: unit rows.
            text_MD: unit rows of the batch's distinct phrasings.
            text_of_VB: indices in text_MD of the phrasings of each image.
            positive_BB: which images belong together, and with each other's texts.
            is_true_BM: which phrasings are true of an image, whoever they were drawn for.
        """
        positive_VBB = [positive_BB | is_true_BM[:, text_of_B] for text_of_B in text_of_VB]
        scale = self._model.logit_scale.detach().exp()
        if self._recipe.loss != PAIRWISE:
            scale = scale.clamp(max=LARGEST_SCALE)
        else:
            self._find_bias(image_BD, text_MD[text_of_VB[0]], positive_VBB[0], scale)
        losses = []
        for dim in prefix_dims(image_BD.shape[1]) if self._recipe.matryoshka else (image_BD.shape[1],):
            image, text = (F.normalize(rows[:, :dim], dim=1) for rows in (image_BD, text_MD))
            pairs = [
                self._image_text(image, text[text_of_B], pair_BB, scale)
                for text_of_B, pair_BB in zip(text_of_VB, positive_VBB, strict=True)
            ]
            losses.append(torch.stack(pairs).mean())
            if self._recipe.image_image_weight:
                losses[-1] = losses[-1] + self._recipe.image_image_weight * image_image_loss(image, positive_BB, scale)
        return torch.stack(losses).mean()

    def state(self) -> dict[str, Tensor]:
        return {} if self._bias is None else {BIAS_KEY: self._bias}

    def restore(self, state: dict[str, Tensor]) -> None:
        self._bias = state.get(BIAS_KEY)

    def _image_text(self, image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> Tensor:
        if self._recipe.loss == PAIRWISE:
            return pairwise_loss(image_BD, text_BD, positive_BB, scale, cast(Tensor, self._bias))
        return image_text_loss(image_BD, text_BD, positive_BB, scale)

    def _find_bias(self, image_BD: Tensor, text_BD: Tensor, positive_BB: Tensor, scale: Tensor) -> None:
        if self._bias is None:
            own = getattr(self._model, "logit_bias", None)
            found = balanced_bias(image_BD, text_BD, positive_BB, scale) if own is None else own.detach()
            self._bias = found.clone().to(image_BD.device)


def prefix_dims(dim: int) -> tuple[int, ...]:
    """All floats, and halves of them down to a prefix that is still of use.

    Source: Kusupati et al. 2022, Matryoshka representation learning, arXiv:2205.13147.
    """
    dims = [dim]
    while dims[-1] // 2 >= SMALLEST_PREFIX:
        dims.append(dims[-1] // 2)
    return tuple(dims)


OUT_OF_MEMORY = "can't allocate memory"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a step learns from.

    Attributes:
        pixels_BCHW: uint8, without augmentation; of several processes, each one's share of the batch.
        tokens_MT: of the distinct phrasings.
        text_of_VB: indices in tokens_MT of the phrasings of each image.
        is_true_BM: which phrasings are true of an image, so that `red` is no wrong answer for another red mug.
        group_B: codes; equal codes are positives of each other.
        text_B: codes of equal texts; -1 for none.
    """

    pixels_BCHW: Tensor
    tokens_MT: Tensor
    text_of_VB: Tensor
    is_true_BM: Tensor
    group_B: Tensor
    text_B: Tensor


class Towers:
    """Both towers of a model, and the way from a loss back into their weights.

    Micro-batches give the gradients of the complete batch: the features are computed first without gradients, the loss
    gives the gradient of each feature, and a second pass carries it into the weights.
    Source: Gao et al. 2021, Scaling deep contrastive learning batch size, arXiv:2101.06983.

    Attributes:
        micro_batch: images or texts that go through a tower at once; None for all. Halved where memory does not do.
        bf16: towers compute in bfloat16, weights and loss stay in float32.

    Args:
        standardise: pixels 0..255 to the image tower's input.
        encode_texts: a model and the tokens of texts to their features.
        learning: the parameters of the moment that gradients are for.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        standardise: Callable[[Tensor], Tensor],
        encode_texts: Callable[[nn.Module, Tensor], Tensor],
        learning: Callable[[], Sequence[nn.Parameter]],
        micro_batch: int | None,
        world: World,
    ) -> None:
        self.micro_batch = micro_batch
        self.bf16 = False
        self._model = cast(Any, model)
        self._folding = Folding(self._model.visual)
        self._objective = objective
        self._standardise = standardise
        self._encode_texts = encode_texts
        self._learning = learning
        self._world = world

    def backward(self, views_BCHW: Tensor, batch: Batch, positive_BB: Tensor) -> float:
        """Leave the gradients of the whole batch's loss in the weights; the loss.

        Raises:
            torch.OutOfMemoryError: not even one image fits.
        """
        random_state = torch.get_rng_state()
        while True:
            try:
                return self._backward(views_BCHW, batch, positive_BB)
            except RuntimeError as error:
                rows = self.micro_batch or len(views_BCHW)
                if not _is_memory(error) or rows == 1 or self._world.size > 1:
                    raise
                self.micro_batch = max(1, rows // 2)
            for parameter in self._learning():
                parameter.grad = None
            torch.set_rng_state(random_state)
            if views_BCHW.is_cuda:
                torch.cuda.empty_cache()

    def embed_images(self, views_BCHW: Tensor) -> Tensor:
        """Unit rows in float32."""
        input_BCHW = self._standardise(views_BCHW).contiguous(memory_format=torch.channels_last)
        with torch.autocast(views_BCHW.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            features_BD = self._folding.run(self._model.encode_image, input_BCHW)
        return F.normalize(features_BD.float(), dim=1)

    def embed_texts(self, tokens_MT: Tensor) -> Tensor:
        """Unit rows in float32."""
        with torch.autocast(tokens_MT.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            features_MD = self._encode_texts(self._model, tokens_MT)
        return F.normalize(features_MD.float(), dim=1)

    def _backward(self, views_BCHW: Tensor, batch: Batch, positive_BB: Tensor) -> float:
        images, texts = len(batch.group_B), len(batch.tokens_MT)
        tokens_MT = self._world.share(texts).of(batch.tokens_MT)
        image_RD, image_back = self._embed(self.embed_images, views_BCHW, images)
        text_RD, text_back = self._embed(self.embed_texts, tokens_MT, texts)
        loss = self._objective(
            self._world.gathered(image_RD, images),
            self._world.gathered(text_RD, texts),
            batch.text_of_VB,
            positive_BB,
            batch.is_true_BM,
        )
        loss.backward()  # type: ignore[no-untyped-call]
        image_back()
        text_back()
        self._world.add_gradients(self._learning())
        return float(loss.detach())

    def _embed(
        self, tower: Callable[[Tensor], Tensor], inputs: Tensor, batch: int
    ) -> tuple[Tensor, Callable[[], None]]:
        """Embeddings, and what carries their gradient further where it was not computed in one piece."""
        if self.micro_batch is None or self.micro_batch >= self._world.longest_share(batch):
            return tower(inputs), _nothing
        chunks = torch.split(inputs, self.micro_batch)
        random_states, rows = [], []
        with torch.no_grad():
            for chunk in chunks:
                random_states.append(torch.get_rng_state())
                rows.append(tower(chunk))
        embedding_RD = torch.cat(rows).requires_grad_()

        def carry_back() -> None:
            gradients = torch.split(_gradient(embedding_RD), cast(int, self.micro_batch))
            for chunk, random_state, gradient in zip(chunks, random_states, gradients, strict=True):
                torch.set_rng_state(random_state)
                torch.autograd.backward(tower(chunk), gradient)

        return embedding_RD, carry_back


def _nothing() -> None: ...


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


def _is_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or OUT_OF_MEMORY in str(error)
