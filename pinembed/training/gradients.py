"""The gradient of a batch's loss, whatever of the batch fits into memory at once and however many processes share it.

Shape legend: B images of a batch, M texts of a batch, V phrasings of an image, C channels (3), H = W = image_px,
T context length, D embedding floats, R rows at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pinembed.training.losses import Objective
from pinembed.training.world import World

OUT_OF_MEMORY = "can't allocate memory"


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a step shows.

    Attributes:
        pixels_BCHW: uint8, without augmentation; of several processes, each one's share of the batch.
        tokens_MT: of the distinct phrasings.
        said_VB: indices in tokens_MT of the phrasings of each image.
        group_B: codes; equal codes are positives of each other.
        text_B: codes of equal texts; -1 for none.
    """

    pixels_BCHW: Tensor
    tokens_MT: Tensor
    said_VB: Tensor
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
        model: an open_clip model on its device.
        objective: the loss.
        standardise: pixels 0..255 to the image tower's input.
        encode_texts: a model and the tokens of texts to their features.
        micro_batch: to begin with.
        bf16: to begin with.
        world: processes that share the batch.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        *,
        standardise: Callable[[Tensor], Tensor],
        encode_texts: Callable[[nn.Module, Tensor], Tensor],
        micro_batch: int | None,
        bf16: bool,
        world: World,
    ) -> None:
        self.micro_batch = micro_batch
        self.bf16 = bf16
        self._model = cast(Any, model)
        self._objective = objective
        self._standardise = standardise
        self._encode_texts = encode_texts
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
            self._model.zero_grad(set_to_none=True)
            torch.set_rng_state(random_state)
            if views_BCHW.is_cuda:
                torch.cuda.empty_cache()

    def embed_images(self, views_BCHW: Tensor) -> Tensor:
        """Unit rows in float32."""
        input_BCHW = self._standardise(views_BCHW).contiguous(memory_format=torch.channels_last)
        with torch.autocast(views_BCHW.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            features_BD = self._model.encode_image(input_BCHW)
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
            self._world.whole(image_RD, images), self._world.whole(text_RD, texts), batch.said_VB, positive_BB
        )
        loss.backward()  # type: ignore[no-untyped-call]
        image_back()
        text_back()
        self._world.add_gradients(parameter for parameter in self._model.parameters() if parameter.requires_grad)
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
