"""Cleans interactions: every row is kept as it should be or refused for one reason."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd

from recgan.config import ImportOptions
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers.tables import text
from recgan.errors import DataError, SettingsError

__all__ = ["UNADDRESSABLE", "InteractionCleaner", "parse_times"]

UNADDRESSABLE = (".", "..")
"""Ids that no web address can hold, however they are encoded: the service could never be asked for them."""

_DAY = pd.Timedelta(days=1)
_SAMPLE = 20


class InteractionCleaner:
    """Cleans chunk after chunk, and refuses to the writer's quarantine.

    A row is refused for the first of: ``missing_id``, ``unaddressable_id`` (a user's), ``unknown_item`` (not in the
    catalogue, or refused itself), ``self_pair`` (a pseudo-user who is that item), ``bad_timestamp`` (missing or
    unreadable in a column of times), ``future_timestamp`` (more than a day from now), ``bad_weight`` (missing, no
    number, or not finite). Exact duplicates are kept: they are repeated purchases.
    """

    def __init__(
        self,
        item_ids: Collection[str],
        writer: BundleWriter,
        options: ImportOptions,
        *,
        left_out: Collection[str] = (),
        pseudo_users: bool = False,
    ) -> None:
        self._known = pd.Index(item_ids)
        self._left_out = pd.Index(left_out)
        self._writer = writer
        self._options = options
        self._pseudo_users = pseudo_users
        self._latest = pd.Timestamp.now("UTC").tz_localize(None) + _DAY
        self.seen = 0
        self.outside_limit = 0
        self.before_since = 0

    def clean(self, chunk: pd.DataFrame, file: str) -> pd.DataFrame:
        """Return the usable rows of a chunk with columns ``user_id``, ``item_id`` and, where there are any,
        ``timestamp``, ``event``, ``weight`` and others; its index is the place of each row in ``file``.

        Raises:
            DataError: not one of many times can be read, so their format must be another.
        """
        self.seen += len(chunk)
        frame = chunk.copy()
        for column in ("user_id", "item_id"):
            frame[column] = text(frame[column])
        frame = self._refuse(frame, (frame["user_id"] == "") | (frame["item_id"] == ""), "missing_id", file)
        frame = self._refuse(frame, frame["user_id"].isin(UNADDRESSABLE), "unaddressable_id", file)
        if len(self._left_out):
            outside = frame["item_id"].isin(self._left_out)
            self.outside_limit += int(outside.sum())
            frame = frame[~outside]
        detail = "user " + frame["user_id"].astype(str)
        frame = self._refuse(frame, ~frame["item_id"].isin(self._known), "unknown_item", file, detail)
        if self._pseudo_users:
            frame = self._refuse(frame, frame["user_id"] == frame["item_id"], "self_pair", file)
        if "timestamp" in frame:
            frame = self._clean_times(frame, file)
        if "weight" in frame:
            weights = pd.to_numeric(frame["weight"], errors="coerce").astype(np.float64)
            with np.errstate(over="ignore"):
                bad = ~np.isfinite(weights.to_numpy().astype(np.float32))
            detail = frame["weight"]
            frame = self._refuse(frame.assign(weight=weights), pd.Series(bad, frame.index), "bad_weight", file, detail)
        if "event" in frame:
            events = text(frame["event"]).str.lower()
            frame["event"] = events.where(events != "", self._options.default_event)
        else:
            frame["event"] = self._options.default_event
        return frame

    def _clean_times(self, frame: pd.DataFrame, file: str) -> pd.DataFrame:
        detail = frame["timestamp"]
        times = parse_times(frame["timestamp"], self._options.timestamp_format)
        if len(frame) >= _SAMPLE and times.isna().all():
            present = text(frame["timestamp"])
            present = present[present != ""]
            if len(present) >= _SAMPLE:
                raise DataError(
                    f"{file}: not one of {len(present):,} timestamps can be read (the first is '{present.iloc[0]}'); "
                    "give their format, such as --set timestamp_format=%d/%m/%Y"
                )
        frame = frame.assign(timestamp=times)
        frame = self._refuse(frame, times.isna(), "bad_timestamp", file, detail)
        frame = self._refuse(frame, frame["timestamp"] > self._latest, "future_timestamp", file, detail)
        if self._options.since is not None:
            early = frame["timestamp"] < pd.Timestamp(self._options.since)
            self.before_since += int(early.sum())
            frame = frame[~early]
        return frame

    def _refuse(
        self, frame: pd.DataFrame, bad: pd.Series, reason: str, file: str, detail: pd.Series | None = None
    ) -> pd.DataFrame:
        if not bad.any():
            return frame
        rows = frame[bad]
        where = pd.Series([f"{file}:{place}" for place in rows.index], rows.index, dtype=object)
        about = "" if detail is None else detail[rows.index]
        self._writer.refuse_frame("interaction", rows, "item_id", reason, where, about)
        return frame[~bad]


def parse_times(values: pd.Series, form: str | None = None) -> pd.Series:
    """Return times as datetime64[us] in UTC, NaT where one is missing or unreadable.

    Without a format (as strptime takes it) a time is ISO 8601, YYYYMMDD, or a number of seconds, milli-, micro- or
    nanoseconds since 1970: its size tells which.

    Raises:
        SettingsError: the format is none.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        return _plain(pd.to_datetime(values, utc=True))
    # A log has few days: each is read once.
    codes, different = pd.factorize(text(values))
    times = _parse_strings(pd.Series(different), form).take(codes)
    return times.set_axis(values.index)


def _parse_strings(strings: pd.Series, form: str | None) -> pd.Series:
    if form is not None:
        try:
            return _plain(pd.to_datetime(strings, format=form, utc=True, errors="coerce"))
        except ValueError as error:
            raise SettingsError(f"timestamp_format={form!r}: {error}; write it as strptime takes it") from error
    numbers = pd.to_numeric(strings, errors="coerce").astype(np.float64)
    times = _plain(pd.to_datetime(strings.where(numbers.isna(), ""), format="ISO8601", utc=True, errors="coerce"))
    size = numbers.abs()
    for least, most, per_second in ((1e8, 1e11, 1e0), (1e11, 1e14, 1e3), (1e14, 1e17, 1e6), (1e17, 1e20, 1e9)):
        fits = (size >= least) & (size < most)
        if fits.any():
            microseconds = (numbers[fits] * (1e6 / per_second)).astype("int64")
            times[fits] = microseconds.astype("datetime64[us]")
    days = (size >= 1e7) & (size < 1e8) & (numbers % 1 == 0)
    if days.any():
        written = numbers[days].astype("int64").astype(str)
        times[days] = _plain(pd.to_datetime(written, format="%Y%m%d", utc=True, errors="coerce"))
    return times


def _plain(times: pd.Series) -> pd.Series:
    return times.dt.tz_localize(None).astype("datetime64[us]")
