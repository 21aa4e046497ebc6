"""Reads CSV and Parquet tables in chunks; ids stay the strings that they are in the file.

A chunk is a DataFrame whose index is the place of each row in the file: the line of a CSV file, counted from 1 as an
editor does, or the row of a Parquet file, counted from 1. A CSV chunk holds strings, a Parquet chunk the file's types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from recgan.dataset.importers.csv_files import CsvFile, Refuse, Repair
from recgan.errors import DataError, nearest_name

__all__ = ["Table", "text"]

_ROWS = 100_000
_MISSING = ("nan", "none", "null", "n/a", "<na>", "nat")


class Table:
    """One table of a source.

    Raises:
        DataError: the file is not there, is of another kind, has no header, or cannot be read as its kind.
    """

    def __init__(
        self,
        path: Path,
        *,
        delimiter: str | None = None,
        encoding: str | None = None,
        repair: Repair | None = None,
    ) -> None:
        if not path.is_file():
            raise DataError(f"there is no file '{path}'; give the table's path")
        self.path = path
        self.name = path.name
        self._csv: CsvFile | None = None
        kind = path.name.lower().removesuffix(".gz")
        if kind.endswith((".csv", ".tsv", ".txt")):
            self._csv = CsvFile(path, delimiter=delimiter, encoding=encoding, repair=repair)
            self.columns = self._csv.columns
        elif kind.endswith((".parquet", ".pq")):
            self.columns = self._parquet_columns()
        else:
            raise DataError(f"'{path}' is neither CSV (.csv, .tsv, .csv.gz) nor Parquet (.parquet); export it as one")

    @property
    def repaired(self) -> int:
        """Number of malformed lines that were mended, so far."""
        return self._csv.repaired if self._csv else 0

    def column(self, wanted: str, option: str | None = None) -> str:
        """Return the name of a column that must be there, named by ``option`` if it can be another.

        Raises:
            DataError: it is not; the message names the columns that are, and the option.
        """
        if wanted in self.columns:
            return wanted
        there = ", ".join(self.columns[:20]) + (", …" if len(self.columns) > 20 else "")
        raise DataError(
            f"'{self.path}' has no column '{wanted}'{nearest_name(wanted, self.columns)}; "
            f"its columns are: {there}. "
            + (f"Name the right one with --set {option}=COLUMN" if option else "Is it the right file?")
        )

    def optional(self, wanted: str | None, usual: str, option: str) -> str | None:
        """Return the column named by an option, or else the usual one where there is one, or else None."""
        if wanted is not None:
            return self.column(wanted, option)
        return usual if usual in self.columns else None

    def read(self, refuse: Refuse, kind: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the whole table; see `chunks`."""
        chunks = list(self.chunks(refuse, kind, columns))
        return pd.concat(chunks) if chunks else pd.DataFrame(columns=list(columns or self.columns), dtype=str)

    def chunks(self, refuse: Refuse, kind: str, columns: Sequence[str] | None = None) -> Iterator[pd.DataFrame]:
        """Yield the table in chunks, of these columns only.

        A malformed line of a CSV file is refused, or mended by ``repair`` (`CsvFile.chunks`).
        """
        wanted = list(columns or self.columns)
        return self._parquet_chunks(wanted) if self._csv is None else self._csv.chunks(refuse, kind, wanted)

    def _parquet_columns(self) -> list[str]:
        try:
            return list(pq.read_schema(self.path).names)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"'{self.path}' cannot be read as Parquet: {error}") from error

    def _parquet_chunks(self, wanted: list[str]) -> Iterator[pd.DataFrame]:
        place = 1
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
                    frame = batch.to_pandas()[wanted]
                    frame.index = pd.RangeIndex(place, place + len(frame))
                    place += len(frame)
                    yield frame
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"'{self.path}' cannot be read as Parquet from row {place} on: {error}") from error


def text(values: pd.Series) -> pd.Series:
    """Return values of any type as stripped strings, missing ones (nan, none, null, n/a) as ``""``.

    Bytes are taken as UTF-8. Whole numbers that a missing value has turned into floats lose their ``.0`` again.
    """
    if pd.api.types.is_float_dtype(values):
        whole = values.notna() & (values % 1 == 0) & (values.abs() < 2**53)
        strings = values.astype(object).where(~whole, values.where(whole, 0).astype("int64").astype(object))
        strings = strings.where(values.notna(), "").astype(str)
    elif isinstance(values.dtype, pd.StringDtype):
        strings = values.fillna("")
    else:
        strings = values.astype(object).where(values.notna(), "")
        if pd.api.types.infer_dtype(strings) in ("bytes", "mixed"):
            strings = strings.map(lambda value: value.decode(errors="replace") if isinstance(value, bytes) else value)
        strings = strings.astype(str)
    strings = strings.str.strip()
    return strings.where(~strings.str.lower().isin(_MISSING), "")
