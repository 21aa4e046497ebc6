"""The last weeks of a log, each as a split: what was known before it is train, what was taken in it is judged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from recgan.config import SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import Pairs, Split, no_pairs, positive_events, positives_among
from recgan.errors import DataError, SettingsError

__all__ = ["Week", "WeekSplit", "check_positives", "last_weeks", "week_split"]

_LENGTH = pd.Timedelta(days=7)
_PAIR = ["user_id", "item_id"]
_JUDGED_SETTINGS = {"negative_events", "min_rating"}


@dataclass(frozen=True)
class Week:
    """Seven days."""

    start: pd.Timestamp
    end: pd.Timestamp
    """The first moment after it."""

    @property
    def name(self) -> str:
        """Its first day, as 2025-12-24."""
        return f"{self.start:%Y-%m-%d}"

    @property
    def last_day(self) -> str:
        """As 2025-12-30."""
        return f"{self.end - pd.Timedelta(days=1):%Y-%m-%d}"

    @property
    def before(self) -> Week:
        """The week before."""
        return Week(self.start - _LENGTH, self.start)


@dataclass(frozen=True)
class WeekSplit:
    """A week's split, and whom it leaves out."""

    split: Split
    new_users: int
    """Users whose first positive interaction lies in the week: nothing is known of them before."""


def check_positives(settings: SplitSettings) -> None:
    """Refuse settings of a split that weeks have no use for.

    Raises:
        SettingsError: there is one.
    """
    for name in type(settings).model_fields:
        if name not in _JUDGED_SETTINGS and getattr(settings, name) != getattr(SplitSettings(), name):
            taken = ", ".join(sorted(_JUDGED_SETTINGS))
            raise SettingsError(f"a backtest splits by weeks and has no use for --split {name}; it takes: {taken}")


def last_weeks(bundle: Bundle, number: int) -> list[Week]:
    """Return the last weeks of the log, oldest first; the last one ends with the day of the last interaction.

    Raises:
        SettingsError: ``number`` is less than 1.
        DataError: there are no interactions, some without a time, or too short a time of them: before the weeks there
            must be one to choose by, and interactions before that to train on.
    """
    if number < 1:
        raise SettingsError(f"weeks={number}: ask for at least one")
    times = bundle.interactions["timestamp"]
    if not len(times):
        raise DataError(f"bundle '{bundle.path}' has no interactions to judge by; import them with the items")
    if times.isna().any():
        raise DataError(
            f"bundle '{bundle.path}' has {int(times.isna().sum()):,} interactions without a timestamp of "
            f"{len(times):,}, and a backtest needs the time of each; import them with timestamps"
        )
    end = times.max().normalize() + pd.Timedelta(days=1)
    possible = math.ceil((end - times.min()) / _LENGTH) - 2
    if number > possible:
        least = f"ask for --weeks {possible} at most" if possible > 0 else "import a longer log"
        raise DataError(
            f"bundle '{bundle.path}' has interactions of {(end - times.min()).days} days: too few to train on, then a "
            f"week to choose by, then {number} weeks to judge by; {least}"
        )
    return [Week(end - (n + 1) * _LENGTH, end - n * _LENGTH) for n in range(number - 1, -1, -1)]


def week_split(
    bundle: Bundle, week: Week, settings: SplitSettings, part: str = "test", *, repeats: bool = False
) -> WeekSplit:
    """Return a split with all that was known when the week began as train, and what known users took in it as ``part``.

    What was known is the log up to then: a purchase that was returned later still counts. An item is a candidate if
    somebody had taken it by the end of the week, or nobody ever did and it is on offer; items first taken later are
    held not to have been there yet.

    Args:
        bundle: catalogue and timed interactions.
        week: which.
        settings: which events count as positive.
        part: ``test`` or ``validation``.
        repeats: whether what a user took before and takes again in the week is judged, too.

    Raises:
        DataError: nothing was taken before the week.
    """
    log = bundle.interactions
    events = positive_events(log[log["timestamp"] < week.start], settings)
    known = events.drop_duplicates(_PAIR)
    if known.empty:
        raise DataError(f"bundle '{bundle.path}' has no positive interaction before {week.name}; ask for fewer --weeks")
    among = positive_events if repeats else positives_among
    taken = among(log[log["timestamp"] < week.end], settings)
    taken = taken[taken["timestamp"] >= week.start].drop_duplicates(_PAIR)
    user_ids = pd.factorize(known["user_id"].to_numpy(dtype=object), sort=True)[1]
    user_index = pd.Index(user_ids)
    n_items = len(bundle.items)

    def pairs(frame: pd.DataFrame) -> Pairs:
        rows = user_index.get_indexer(frame["user_id"].to_numpy(dtype=object)).astype(np.int64)
        return Pairs(rows, bundle.item_rows(frame["item_id"].to_numpy(dtype=object)), _times(frame))

    train, judged = pairs(known), pairs(taken)
    new_users = taken["user_id"][judged.users < 0].nunique()
    judged = judged.where(judged.users >= 0)
    if not repeats:
        # What was taken before and is taken again tells nothing of taste: only items new to the user are judged.
        again = np.isin(judged.users * n_items + judged.items, train.users * n_items + train.items)
        judged = judged.where(~again)

    in_log = bundle.item_rows(log["item_id"].to_numpy(dtype=object))
    by_then = (log["timestamp"] < week.end).to_numpy()
    candidates = bundle.items["available"].to_numpy(dtype=bool).copy()
    candidates[in_log] = False
    candidates[in_log[by_then]] = True
    nothing = train.where(np.zeros(len(train), dtype=bool))
    split = Split(
        settings=settings,
        user_ids=np.asarray(user_ids, dtype=object),
        n_items=n_items,
        train=train,
        validation=judged if part == "validation" else nothing,
        test=judged if part == "test" else nothing,
        withheld=nothing,
        candidates=candidates,
        repeats=pairs(events[events.duplicated(_PAIR)]) if events.duplicated(_PAIR).any() else no_pairs(),
    )
    return WeekSplit(split, int(new_users))


def _times(frame: pd.DataFrame) -> np.ndarray:
    return frame["timestamp"].to_numpy("datetime64[us]").astype(np.int64)
