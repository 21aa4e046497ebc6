"""Reads a pickle of plain data without ever running what it names.

A pickle is a program that may call anything. Here it runs on the standard library's own machine, but only with the
instructions that build data, and with inert stand-ins for the few names that data in containers, numpy arrays and byte
strings need. Nothing is imported, no numpy object is built from the file's word, everything else is refused.

Byte strings of Python 2 are left in the file (`FileSlice`): a pickle full of JPEGs takes no memory for them.
"""

from __future__ import annotations

import math
import pickle
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from recgan.errors import DataError

__all__ = ["FileSlice", "NumpyArray", "load_object_array", "read_pickle"]

_LAZY = 256
_DTYPE = re.compile(r"[<>=|]?([biuf][1248]|S\d{1,5})")
_OPCODES = """
PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4
FLOAT BINFLOAT STRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 LIST EMPTY_LIST APPEND APPENDS DICT EMPTY_DICT SETITEM SETITEMS
EMPTY_SET ADDITEMS FROZENSET PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL
"""


@dataclass(frozen=True)
class FileSlice:
    """A byte string that was left in its file."""

    path: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """Return the bytes; may be called from any thread."""
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            return file.read(self.length)


@dataclass
class NumpyType:
    """Stands for a ``numpy.dtype``: its code, such as ``i8``, and its byte order."""

    code: str
    order: str = "="

    def set_state(self, state: Any) -> None:
        """Take over what ``numpy.dtype.__setstate__`` is given: of it, the byte order."""
        order = _string(state[1])
        if order not in "<>=|" or any(part is not None for part in state[2:5]):
            raise ValueError("only plain numpy types are read")
        self.order = order

    def decode(self, data: bytes) -> list[Any]:
        """Return the values of this type in ``data``."""
        name = self.order.replace("|", "") + self.code.lstrip("<>=|")
        if not _DTYPE.fullmatch(name):
            raise ValueError(f"numpy type '{self.code}' is not read")
        return np.frombuffer(data, dtype=np.dtype(name)).tolist()


@dataclass
class NumpyArray:
    """Stands for a ``numpy.ndarray``: its shape and its values, flat, in the order of the file."""

    shape: tuple[int, ...] = (0,)
    values: list[Any] = field(default_factory=list)

    def set_state(self, state: Any) -> None:
        """Take over what ``numpy.ndarray.__setstate__`` is given."""
        *_, shape, kind, _fortran, data = state
        if not all(isinstance(side, int) and side >= 0 for side in shape):
            raise ValueError("an array has an impossible shape")
        objects = kind.code.lstrip("<>=|").startswith("O")
        values = data if objects and isinstance(data, list) else kind.decode(_bytes(data))
        if len(values) != math.prod(shape):
            raise ValueError("an array's data do not fit its shape")
        self.shape, self.values = tuple(shape), values


@dataclass(frozen=True)
class _Admitted:
    """A name that a pickle may mention, and what is made when it is called."""

    name: str
    make: Callable[..., Any]


def _string(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, FileSlice):
        return value.read()
    return value.encode("latin-1") if isinstance(value, str) else bytes(memoryview(value))


def _encode(data: Any, encoding: Any = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2 to read."""
    if _string(encoding) not in ("latin1", "latin-1"):
        raise ValueError("bytes are written in latin1")
    return _string(data).encode("latin1")


def _scalar(kind: NumpyType, data: Any) -> Any:
    (value,) = kind.decode(_bytes(data))
    return value


def _items(kind: type) -> Callable[..., Any]:
    def make(values: Any = ()) -> Any:
        if not isinstance(values, list | tuple | set | frozenset | dict):
            raise TypeError(f"{kind.__name__} is made of containers only")
        return kind(values)

    return make


_ADMITTED = {
    **{
        (module, kind.__name__): _Admitted(kind.__name__, _items(kind))
        for module in ("__builtin__", "builtins")
        for kind in (list, tuple, dict, set, frozenset)
    },
    **{
        (module, kind): _Admitted(kind, lambda data=b"", encoding="latin-1": _bytes(data))
        for module in ("__builtin__", "builtins")
        for kind in ("bytes", "bytearray")
    },
    ("collections", "OrderedDict"): _Admitted("OrderedDict", _items(dict)),
    ("collections", "defaultdict"): _Admitted("defaultdict", lambda factory=None: {}),
    ("_codecs", "encode"): _Admitted("encode", _encode),
    ("numpy", "dtype"): _Admitted("dtype", lambda code, align=0, copy=0: NumpyType(_string(code))),
    ("numpy", "ndarray"): _Admitted("ndarray", NumpyArray),
    **{
        (f"numpy.{core}.multiarray", name): _Admitted(name, make)
        for core in ("core", "_core")
        for name, make in (("_reconstruct", lambda kind, shape, code: NumpyArray()), ("scalar", _scalar))
    },
}


class _Opcodes(dict[int, Callable[..., None]]):
    def __missing__(self, opcode: int) -> Callable[..., None]:
        raise DataError(f"instruction {bytes([opcode])!r}, which plain data do not need")


class _Reader(pickle._Unpickler):
    """The standard library's unpickler, of which only the instructions in ``dispatch`` are left."""

    dispatch = _Opcodes(
        {code[0]: pickle._Unpickler.dispatch[code[0]] for code in (getattr(pickle, name) for name in _OPCODES.split())}
    )
    stack: list[Any]
    proto: int

    def __init__(self, file: IO[bytes], path: Path) -> None:
        super().__init__(file, encoding="bytes")
        self._file = file
        self._path = path
        self._size = path.stat().st_size

    def find_class(self, module: str, name: str) -> _Admitted:
        """Return the stand-in for a name; nothing is imported."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise DataError(f"'{module}.{name}', which plain data do not need") from None

    def persistent_load(self, pid: Any) -> Any:
        """Refuse references to what lies outside the file."""
        raise DataError("a reference to something outside of it")

    def load_reduce(self) -> None:
        """Call a stand-in."""
        arguments = self.stack.pop()
        called = self.stack[-1]
        if not isinstance(called, _Admitted) or not isinstance(arguments, tuple):
            raise DataError("a call of something that is no type of data")
        self.stack[-1] = called.make(*arguments)

    def load_build(self) -> None:
        """Give a stand-in for a numpy object its state."""
        state = self.stack.pop()
        if not isinstance(self.stack[-1], NumpyArray | NumpyType) or not isinstance(state, tuple):
            raise DataError("a state for something that is no numpy array")
        self.stack[-1].set_state(state)

    def load_short_binstring(self) -> None:
        """Read a byte string of Python 2 of up to 255 bytes."""
        self.stack.append(self._string(self.read(1)[0]))

    def load_binstring(self) -> None:
        """Read a byte string of Python 2; a long one is left in the file."""
        (length,) = struct.unpack("<i", self.read(4))
        self.stack.append(self._string(length))

    def _string(self, length: int) -> bytes | FileSlice:
        if self.proto > 3:
            raise DataError("a Python 2 string in a pickle of Python 3")
        if 0 <= length < _LAZY:
            return self.read(length)
        offset = self._file.tell()
        if length < 0 or offset + length > self._size:
            raise EOFError("it is cut short")
        self._file.seek(length, 1)
        return FileSlice(self._path, offset, length)

    read: Callable[[int], bytes]
    dispatch.update(
        {
            pickle.REDUCE[0]: load_reduce,
            pickle.BUILD[0]: load_build,
            pickle.SHORT_BINSTRING[0]: load_short_binstring,
            pickle.BINSTRING[0]: load_binstring,
        }
    )


def read_pickle(file: IO[bytes], path: Path) -> Any:
    """Return the data that the pickle at the position of ``file`` (opened from ``path``) holds.

    Raises:
        DataError: it holds anything but containers, numbers, strings and numpy arrays of them, or is damaged.
    """
    try:
        return _Reader(file, path).load()
    except DataError as error:
        raise DataError(f"'{path}' holds {error}; it is refused, since unpickling that could run code") from error
    except Exception as error:  # hostile or damaged bytes fail in every way
        what = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"'{path}' cannot be read as a pickle of plain data ({what}); fetch it again") from error


def load_object_array(path: Path) -> list[Any]:
    """Return the elements of a one-dimensional .npy array of objects.

    ``np.load(allow_pickle=True)`` would run whatever the file says.

    Raises:
        DataError: it is no .npy file of objects, or `read_pickle` refuses it.
    """
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = reader(file)
            if not dtype.hasobject or dtype.names is not None or len(shape) != 1:
                raise DataError(f"'{path}' is a .npy file of {dtype} in shape {shape}, not a list of objects")
            array = read_pickle(file, path)
    except (OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read as a .npy file: {error}") from error
    if not isinstance(array, NumpyArray) or array.shape != shape:
        raise DataError(f"'{path}' holds something else than its header says; fetch it again")
    return array.values
