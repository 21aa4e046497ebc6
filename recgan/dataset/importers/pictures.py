"""Where a source's images are (a folder or a zip, never unpacked), what item each shows, and whether it is usable."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

from recgan.dataset.pixels import decode_image, pixel_digest
from recgan.device import available_cores
from recgan.errors import DataError, ImageRefused

__all__ = [
    "MAX_BYTES",
    "Checked",
    "Gallery",
    "Picture",
    "PictureStore",
    "check_pictures",
    "open_pictures",
]

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_IN_FLIGHT = 4
MAX_BYTES = 64 << 20
"""Image files with more bytes than this, unpacked, are refused before they are read."""


@dataclass(frozen=True)
class Picture:
    """One image of an item: how to read its encoded bytes (from any thread), and where it comes from."""

    read: Callable[[], bytes]
    where: str
    role: str = "main"
    path: str = ""


@dataclass(frozen=True)
class Gallery:
    """The images of a source: ``of(item_id)`` gives an item's pictures, the primary one first."""

    of: Callable[[str], Sequence[Picture]]
    strays: Sequence[Picture] = ()
    """The images that belong to no row of the items table."""


@dataclass(frozen=True)
class Checked:
    """One image that was looked at: usable (``data`` and ``sha256`` are set) or refused."""

    item_id: str
    picture: Picture
    data: bytes = b""
    sha256: str = ""
    refusal: ImageRefused | None = None


class _Box(Protocol):
    """Files by name: a folder or a zip."""

    def names(self) -> list[str]: ...

    def read(self, name: str) -> bytes: ...


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        found = []
        for folder, subfolders, files in os.walk(self._path):
            subfolders.sort()
            found += [os.path.relpath(os.path.join(folder, file), self._path) for file in files]
        return [name.replace(os.sep, "/") for name in found]

    def read(self, name: str) -> bytes:
        path = self._path / name
        if not path.is_file():  # a pipe would be waited for
            raise ImageRefused("unreadable", "it is not a regular file")
        _check_size(path.stat().st_size)
        return path.read_bytes()


class _Zip:
    def __init__(self, path: Path) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"'{path}' cannot be read as a zip: {error}") from error

    def names(self) -> list[str]:
        return [entry.filename for entry in self._zip.infolist() if not entry.is_dir()]

    def read(self, name: str) -> bytes:
        entry = self._zip.getinfo(name)
        _check_size(entry.file_size)
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # Of these a few bytes may unpack to anything at one go.
            raise ImageRefused("unreadable", "it is packed by an uncommon method; pack the zip with deflate")
        with self._zip.open(name) as file:
            # No more is unpacked than the stated size, whatever was packed: ZipFile.read unpacks it all.
            return file.read(entry.file_size + 1)


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise ImageRefused("too_many_bytes", f"{size:,} bytes are more than {MAX_BYTES:,}")


class PictureStore:
    """The image files below a folder or in a zip, by their path in it.

    Names are only ever looked up among those listed, so a name such as ``../x`` leads nowhere else.
    """

    def __init__(self, path: Path, box: _Box) -> None:
        self.label = path.name
        self._name = path.resolve().stem if path.is_file() else path.resolve().name
        self._box = box
        # A file's name may carry bytes that are no text: it goes by one that is.
        self._every = {_printable(name): name for name in box.names() if not _hidden(name)}
        self.names = sorted(name for name in self._every if name.lower().endswith(ENDINGS))

    def picture(self, name: str, role: str = "main") -> Picture:
        """Return the picture in the file of this name."""
        return Picture(partial(self._box.read, self._every[name]), f"{self.label}:{name}", role, name)

    def missing(self, mention: str) -> Picture:
        """Return a picture that is refused when it is read: a table mentions a file that is not there."""

        def read() -> bytes:
            raise ImageRefused("missing_image", "there is no such file")

        return Picture(read, f"{self.label}:{mention}")

    def find(self, mention: str) -> str | None:
        """Return the name of the file that a table mentions: by its path, from here, from a folder above (which this
        one is called in it) or from one below; for a web address or an absolute path also by its last part. What two
        files could be meant by is none."""
        path = mention.strip().replace("\\", "/").removeprefix("./")
        if path in self._every:
            return path
        *_, from_here = path.rpartition(f"{self._name}/")
        if from_here in self._every and f"/{path}".endswith(f"/{self._name}/{from_here}"):
            return from_here
        absolute = path.startswith("/") or ":" in path
        return self._by_tail.get(path.rsplit("/", 1)[-1] if absolute else path)

    @cached_property
    def _by_tail(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name in self._every:
            for tail in _tails(name):
                found[tail] = None if tail in found else name
        return found


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _hidden(name: str) -> bool:
    parts = name.split("/")
    return parts[0] == "__MACOSX" or any(part.startswith(".") and part.strip(".") for part in parts)


def _tails(path: str) -> Iterator[str]:
    """Yield the path, and what is left of it without its first folder, its first two, …"""
    yield path
    while "/" in path:
        path = path.split("/", 1)[1]
        yield path


def open_pictures(path: Path) -> PictureStore:
    """Return the images in a folder or a zip.

    Raises:
        DataError: there is no such folder or zip.
    """
    if path.is_dir():
        return PictureStore(path, _Folder(path))
    if not path.is_file():
        raise DataError(f"there is no folder or zip '{path}'; give the images' place with --images PATH")
    return PictureStore(path, _Zip(path))


def check_pictures(items: Iterable[tuple[str, Sequence[Picture]]]) -> Iterator[Checked]:
    """Read and decode pictures in threads; yield them in their order, with a few in memory at a time."""
    threads = available_cores()
    window: deque[Future[Checked]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item_id, pictures in items:
            for picture in pictures:
                window.append(pool.submit(_check, item_id, picture))
                if len(window) > threads * _IN_FLIGHT:
                    yield window.popleft().result()
        while window:
            yield window.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _check(item_id: str, picture: Picture) -> Checked:
    try:
        data = picture.read()
        return Checked(item_id, picture, data, pixel_digest(decode_image(data)))
    except ImageRefused as refusal:
        return Checked(item_id, picture, refusal=refusal)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        return Checked(item_id, picture, refusal=ImageRefused("corrupt", f"it cannot be unpacked: {error}"))
    except (OSError, RuntimeError, NotImplementedError) as error:  # the latter two: an encrypted or exotic zip
        return Checked(item_id, picture, refusal=ImageRefused("unreadable", f"it cannot be read: {error}"))
