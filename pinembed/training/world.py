"""The processes that train one model together: each embeds a share of the batch, all see the whole.

The environment is that of `torchrun` and `accelerate launch`: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Without
it the world is this process.

Shape legend: B batch, R rows of this process, D floats of a row.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from pinembed.errors import UsageError

WAIT = timedelta(hours=2)
"""The others wait while the first process measures and writes."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class Share:
    """Consecutive rows, `start` to before `stop`, of the `batch` rows of the whole."""

    start: int
    stop: int
    batch: int

    def of(self, rows: Tensor) -> Tensor:
        return rows[self.start : self.stop]


@dataclass(frozen=True)
class World:
    """One process among those that train together.

    Attributes:
        rank: place of this process; the first writes and talks.
        joined: the connections were opened for it.
    """

    rank: int = 0
    size: int = 1
    joined: bool = False

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, batch: int, rank: int | None = None) -> Share:
        """This process's rows, or those of another rank; sizes differ by one at most."""
        rank = self.rank if rank is None else rank
        return Share(batch * rank // self.size, batch * (rank + 1) // self.size, batch)

    def longest_share(self, batch: int) -> int:
        """Rows of the process that has most of them."""
        return -(-batch // self.size)

    def gathered(self, rows_RD: Tensor, batch: int) -> Tensor:
        """The rows of all processes in order; gradients reach this process's own."""
        if self.size == 1:
            return rows_RD
        shares = [self.share(batch, rank) for rank in range(self.size)]
        padded_RD = rows_RD.new_zeros(self.longest_share(batch), rows_RD.shape[1])
        padded_RD[: len(rows_RD)] = rows_RD.detach()
        gathered = [torch.empty_like(padded_RD) for _ in shares]
        distributed.all_gather(gathered, padded_RD)
        parts = [rows[: share.stop - share.start] for rows, share in zip(gathered, shares, strict=True)]
        parts[self.rank] = rows_RD
        return torch.cat(parts)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """The sum over the processes: each had the gradient of the whole loss by its own rows."""
        if self.size == 1:
            return
        gradients = []
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            gradients.append(parameter.grad)
        together = torch.cat([gradient.flatten() for gradient in gradients])  # one message instead of hundreds
        distributed.all_reduce(together)
        pieces = torch.split(together, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    @torch.no_grad()
    def average_statistics(self, model: nn.Module) -> None:
        """Each process's batch norms saw its own rows; their running statistics become the mean of all processes."""
        if self.size == 1:
            return
        for buffer in model.buffers():
            if buffer.is_floating_point():
                distributed.all_reduce(buffer)
                buffer /= self.size

    def broadcast(self, found: Found) -> Found:
        """What the first process found, in every process."""
        if self.size == 1:
            return found
        held = [found if self.is_first else None]
        distributed.broadcast_object_list(held, src=0)
        return cast(Found, held[0])

    def end(self, found: Found) -> Found:
        """What the first process found, in every process, and the connections closed if `join_world` opened them."""
        found = self.broadcast(found)
        if self.joined:
            distributed.destroy_process_group()
        return found


def refuse_several_processes() -> None:
    """Let only a run of one process pass.

    Raises:
        UsageError: `torchrun` or `accelerate launch` began several.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError(
            "--compare-flags trains twice, which several processes cannot do together.",
            remedy="Train in one process, or train without the flags first and give that encoder as --champion.",
        )


def join_world() -> World:
    """The world that the environment describes; this process joins it once."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        return World()
    joined = not distributed.is_initialized()
    if joined:
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if backend == "nccl":
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group(cast(Any, backend), timeout=WAIT)
    return World(rank=distributed.get_rank(), size=distributed.get_world_size(), joined=joined)
