"""Arrays cached as memory maps beside a bundle: either whole or not there, and safe on a full disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from recgan.atomic import atomic_file
from recgan.errors import ArtifactError

__all__ = ["cached_array", "new_cached_array"]

_BLOCK = bytes(1 << 20)


@contextmanager
def new_cached_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> Iterator[np.ndarray]:
    """Yield a writable array of zeros that becomes the file ``path`` when the block ends without an error.

    Raises:
        StorageError: the disk is full or the place cannot be written.
    """
    with atomic_file(path, room="move the bundle to a larger disk") as building:
        with open(building, "wb") as file:
            # The space is taken first: on a full disk, writing through a memory map would end the process.
            descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
            np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
            left = int(np.prod(shape)) * np.dtype(dtype).itemsize
            while left:
                left -= file.write(_BLOCK[: min(left, len(_BLOCK))])
        array = np.lib.format.open_memmap(building, mode="r+")
        yield array
        array.flush()


def cached_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Return a cached array as a read-only memory map.

    Raises:
        ArtifactError: the file is damaged: cut short, of another shape or type, or with numbers that are not finite.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise _damaged(path, "it is no whole array") from error
    if array.shape != shape or array.dtype != dtype:
        expected = f"{np.dtype(dtype)} {list(shape)}"
        raise _damaged(path, f"it holds {array.dtype} {list(array.shape)} where {expected} belongs")
    if np.issubdtype(dtype, np.inexact):
        rows = max(1, len(_BLOCK) // max(1, array[:1].nbytes))
        for start in range(0, len(array), rows):
            if not np.isfinite(array[start : start + rows]).all():
                raise _damaged(path, "it holds numbers that are not finite")
    return array


def _damaged(path: Path, how: str) -> ArtifactError:
    return ArtifactError(f"the cached file '{path}' is damaged ({how}); delete it, and it is made again")
