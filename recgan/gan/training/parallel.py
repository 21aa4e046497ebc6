"""Training by several processes, one a device, as ``torchrun`` starts them.

All hold the same weights and draw the same numbers from the same generator; each takes its part of every batch, and
gradients are averaged, so that the run is the one that a single process with the whole batch would make (but for batch
norm, which sees the parts). The first process alone writes.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist

from recgan.device import resolve_device

__all__ = ["ALONE", "World", "join"]


@dataclass(frozen=True)
class World:
    """The processes of one run; alone, nothing is exchanged."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def part(self, batch: torch.Tensor) -> torch.Tensor:
        """Return this process's part of a batch, whose length the number of processes divides."""
        return batch if self.size == 1 else batch.chunk(self.size)[self.rank]

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Set every gradient to its mean over the processes."""
        if self.size > 1:
            self.average([parameter.grad for parameter in parameters if parameter.grad is not None])

    def average(self, tensors: Iterable[torch.Tensor]) -> None:
        """Set floating point tensors to their means over the processes, all in one exchange."""
        if self.size > 1:
            tensors = list(tensors)
            flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
            dist.all_reduce(flat)
            flat /= self.size
            for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors])):
                tensor.copy_(mean.view_as(tensor))

    def share(self, buffers: Iterable[torch.Tensor]) -> None:
        """Set buffers to those of the first process."""
        if self.size > 1:
            for buffer in buffers:
                dist.broadcast(buffer, 0)

    def any(self, *flags: bool) -> list[bool]:
        """Return, for each flag, whether any process raised it."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32)
        if dist.get_backend() == "nccl":
            raised = raised.cuda()
        dist.all_reduce(raised, dist.ReduceOp.MAX)
        return [bool(flag) for flag in raised.tolist()]

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any(False)


ALONE = World()


def join(device: str) -> tuple[World, torch.device]:
    """Return the world that ``torchrun`` put this process in, and its device, of the kind asked for; or `ALONE`.

    The processes stay connected until they end.

    Raises:
        DeviceError: as `recgan.device.resolve_device`.
    """
    where = resolve_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ALONE, where
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(where)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo")
        atexit.register(dist.destroy_process_group)
    return World(dist.get_rank(), dist.get_world_size()), where
