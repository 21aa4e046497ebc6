"""Reads CSV files exactly, whatever is wrong with them, and fast where nothing is.

Lines are numbered from 1, as an editor does. A block of the file that holds no quote and whose lines all have the right
number of delimiters is read by Arrow; any other by the csv module, record after record.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from recgan.errors import DataError, SettingsError

__all__ = ["CsvFile", "Refuse", "Repair"]

Refuse = Callable[[str, str, str, str, str], None]
"""Takes the kind, id, reason, detail and place of what is refused (`BundleWriter.refuse`)."""
Repair = Callable[[list[str]], list[str] | None]
"""Takes the fields of a line that has too many, none of them quoted; returns the right fields, or None if not sure."""

_BLOCK = 8 << 20
_DELIMITERS = ",;\t|"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class _Bytes(Protocol):
    """A file of bytes."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...

    def __enter__(self) -> _Bytes: ...

    def __exit__(self, *error: Any) -> None: ...


class CsvFile:
    """One CSV file, gzipped if its name says so.

    Raises:
        DataError: it cannot be read, is empty, or has no usable header.
        SettingsError: the encoding is unknown.
    """

    def __init__(
        self, path: Path, *, delimiter: str | None = None, encoding: str | None = None, repair: Repair | None = None
    ) -> None:
        self.path = path
        self.repaired = 0
        """Number of lines that ``repair`` mended, so far."""
        self._repair = repair
        self._encoding = self._find_encoding(encoding)
        self._delimiter, self.columns = self._read_header(delimiter)

    def chunks(self, refuse: Refuse, kind: str, wanted: list[str]) -> Iterator[pd.DataFrame]:
        """Yield the wanted columns as strings, in chunks whose index is the line that each record begins in.

        A record with a wrong number of fields, or with a quote that is misplaced or never closed, is refused as
        ``malformed_line`` unless ``repair`` mends it: its first line only, since a stray quote must not swallow others.
        """
        with self._open() as file:
            _, place = self._first_line(file)
            while block := self._read(file, _BLOCK):
                frame = self._read_clean(block, wanted, place)
                if frame is None:
                    lines = _Lines(self, file, block, place)
                    frame = self._read_records(lines, refuse, kind, wanted)
                    place = lines.place
                else:
                    place += len(frame)
                if len(frame):
                    yield frame

    def _read_clean(self, block: bytes, wanted: list[str], place: int) -> pd.DataFrame | None:
        """Return the records of a block in which nothing is wrong, or None."""
        width = len(self.columns)
        if width == 1 or b'"' in block or block.count(b"\r") != block.count(b"\r\n"):
            return None
        data = np.frombuffer(block, dtype=np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        if not block.endswith(b"\n"):
            ends = np.append(ends, len(data))
        delimiters = np.flatnonzero(data == ord(self._delimiter))
        if (np.diff(np.searchsorted(delimiters, ends), prepend=0) != width - 1).any():
            return None
        strings = {column: pa.string() for column in self.columns}
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(block),
                read_options=pyarrow.csv.ReadOptions(column_names=self.columns, use_threads=False),
                parse_options=pyarrow.csv.ParseOptions(delimiter=self._delimiter, quote_char=False),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=strings, include_columns=wanted, strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid:  # bytes that are no UTF-8: the slower way tells in which line
            return None
        if table.num_rows != len(ends):
            return None
        frame = pd.DataFrame({column: pd.Series(table[column].to_pandas(), dtype=str) for column in wanted})
        frame.index = pd.RangeIndex(place, place + len(ends))
        return frame

    def _read_records(self, lines: _Lines, refuse: Refuse, kind: str, wanted: list[str]) -> pd.DataFrame:
        rows: list[list[str]] = []
        places: list[int] = []
        width = len(self.columns)
        reader = csv.reader(lines, delimiter=self._delimiter, strict=True)
        while lines.pending:
            complaint = ""
            try:
                fields = next(reader)
            except csv.Error as error:
                fields, complaint = [], str(error)
            if complaint or (fields and len(fields) != width):
                line = lines.give_back_all_but_first()
                complaint = complaint or f"{len(fields)} fields instead of {width}"
                plain = len(fields) > width and '"' not in line
                mended = self._repair(fields) if self._repair and plain else None
                if mended is None:
                    where = f"{self.path.name}:{lines.place}"
                    refuse(kind, "", "malformed_line", f"{complaint}: {line.strip()[:200]}", where)
                else:
                    self.repaired += 1
                fields = mended or []
            if fields:  # not refused, and not a blank line
                rows.append(fields)
                places.append(lines.place)
            lines.end()
        columns = list(zip(*rows)) or [()] * width
        index = pd.Index(places, dtype=np.int64)
        at = {column: number for number, column in enumerate(self.columns)}
        return pd.DataFrame({column: pd.Series(columns[at[column]], index, dtype=str) for column in wanted})

    def next_line(self, file: _Bytes) -> bytes:
        """Return the next line, or nothing at the end."""
        return self._guarded(file.readline)

    def decode(self, data: bytes, place: int) -> str:
        """Return bytes as text; ``place`` is the line that they begin in."""
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self._misread(place + data.count(b"\n", 0, error.start)) from error

    def _read(self, file: _Bytes, size: int) -> bytes:
        block = self._guarded(lambda: file.read(size))
        return block if block.endswith(b"\n") else block + self.next_line(file)

    def _guarded(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except UnicodeDecodeError as error:
            raise self._misread(None) from error
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"'{self.path}' cannot be read: {error}") from error

    def _misread(self, line: int | None) -> DataError:
        where = f" in line {line:,}" if line else ""
        mend = "say what it is with --set encoding=latin-1, cp1252, …"
        return DataError(f"'{self.path}' is not {self._encoding}{where}; {mend}")

    def _open(self) -> _Bytes:
        kind: Any = gzip.GzipFile if self.path.suffix.lower() == ".gz" else io.FileIO
        try:
            binary = io.BufferedReader(kind(self.path, "rb"))
        except OSError as error:
            raise DataError(f"'{self.path}' cannot be read: {error.strerror or error}") from error
        return binary if self._encoding == "utf-8" else _Recoded(binary, self._encoding)

    def _find_encoding(self, encoding: str | None) -> str:
        if encoding is not None:
            try:
                return codecs.lookup(encoding).name.removesuffix("-sig")
            except LookupError as error:
                raise SettingsError(f"encoding={encoding!r} is not known; try utf-8, latin-1 or cp1252") from error
        self._encoding = "utf-8"
        with self._open() as file:
            return "utf-16" if self._guarded(lambda: file.read(2)) in _UTF16 else "utf-8"

    def _first_line(self, file: _Bytes) -> tuple[str, int]:
        """Return the first line that is not blank, and the number of the line after it."""
        place = 1
        while line := self.next_line(file):
            text = self.decode(line.removeprefix(codecs.BOM_UTF8), place)
            place += 1
            if text.strip():
                return text, place
        return "", place

    def _read_header(self, delimiter: str | None) -> tuple[str, list[str]]:
        with self._open() as file:
            line, _ = self._first_line(file)
        if not line:
            raise DataError(f"'{self.path}' is empty; its first line must name the columns")
        delimiter = delimiter or max(_DELIMITERS, key=line.count)
        try:
            columns = [column.strip() for column in next(csv.reader([line], delimiter=delimiter, strict=True))]
        except csv.Error as error:
            raise DataError(f"'{self.path}' has no readable header line: {error}") from error
        columns = [column or f"column_{number}" for number, column in enumerate(columns, 1)]
        twice = next((column for column in columns if columns.count(column) > 1), None)
        if twice is not None:
            raise DataError(f"'{self.path}' has two columns called '{twice}'; rename one")
        return delimiter, columns


class _Recoded:
    """A text file in another encoding, read as UTF-8."""

    def __init__(self, binary: io.BufferedReader, encoding: str) -> None:
        self._text = io.TextIOWrapper(binary, encoding=encoding, newline="\n")

    def read(self, size: int) -> bytes:
        return self._text.read(size).encode()

    def readline(self) -> bytes:
        return self._text.readline().encode()

    def __enter__(self) -> _Recoded:
        return self

    def __exit__(self, *_: object) -> None:
        self._text.close()


class _Lines:
    """The lines of a block, and those after it where a record goes on; they can be given back."""

    def __init__(self, source: CsvFile, file: _Bytes, block: bytes, place: int) -> None:
        self._source = source
        self._file = file
        self._waiting = deque(_lines(source.decode(block, place)))
        self._taken: list[str] = []
        self.place = place
        """The number of the line that the next record begins in."""

    @property
    def pending(self) -> bool:
        """Whether there are lines of the block, or given back, that no record has taken."""
        return bool(self._waiting)

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._waiting:
            line = self._waiting.popleft()
        else:
            line = self._source.decode(self._source.next_line(self._file), self.place + len(self._taken))
            if not line:
                raise StopIteration
        self._taken.append(line)
        return line

    def end(self) -> None:
        """End the record: its lines are read."""
        self.place += len(self._taken)
        self._taken.clear()

    def give_back_all_but_first(self) -> str:
        """Return the record's first line, and have the others read again."""
        first, *others = self._taken
        self._waiting.extendleft(reversed(others))
        self._taken = [first]
        return first


def _lines(text: str) -> list[str]:
    lines = [f"{line}\n" for line in text.split("\n")]
    last = lines.pop().removesuffix("\n")
    return [*lines, last] if last else lines
