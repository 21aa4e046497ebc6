"""Which device runs the arithmetic, and with how many threads."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from recgan.errors import DeviceError

# torch takes seconds and 600 MB to import; an import or a drawn catalogue needs none of it.
if TYPE_CHECKING:
    import torch

__all__ = ["available_cores", "resolve_device", "reuse_memory", "torch_threads"]

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Names of settings of glibc's ``mallopt``."""


def resolve_device(device: str = "auto") -> torch.device:
    """Return the torch device for ``"auto"`` (cuda, then mps, then cpu) or for a name such as ``"cuda:0"``.

    Raises:
        DeviceError: the named device does not exist on this machine.
    """
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        resolved = torch.device(device)
        torch.empty(1, device=resolved)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise DeviceError(
            f"device '{device}' is not available here ({str(error).splitlines()[0]}); use --device auto"
        ) from error
    return resolved


def available_cores() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def reuse_memory() -> None:
    """Let this process keep the memory that it frees, and use it again.

    A network on a CPU asks for hundreds of megabytes a batch and frees them. glibc returns each large block to the
    system, which has to clear the next one page by page: half of the time of an encoder at 224 px. Kept, they add about
    a quarter to the peak. Threads share as many arenas as there are cores, for each arena keeps the most that it ever
    held: with one a thread, which is glibc's way, a server with many threads grows for hours. Other C libraries are
    left as they are, and so is glibc where its environment variables (``MALLOC_…``, ``GLIBC_TUNABLES``) say something.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(_M_ARENA_MAX, available_cores())


@contextmanager
def torch_threads(count: int | None = None) -> Iterator[int]:
    """Run the block with ``count`` native torch threads, then restore the old number.

    None: as many as the environment variable OMP_NUM_THREADS says, or else the machine's cores.
    """
    import torch

    before = torch.get_num_threads()
    told = os.environ.get("OMP_NUM_THREADS", "")
    wanted = count or (int(told) if told.isdecimal() else 0) or available_cores()
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)
