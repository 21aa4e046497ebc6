"""Splits: which interactions are trained on, which choose the model, which judge it.

*Cold* items are items without a training interaction; a seeded share of the items is made so by withholding theirs.
A withheld pair is neither trained on nor judged, but it is known to be liked, so it is never used as a negative.

Pseudo-users (a seed article standing for a user, as in a table of co-purchases): a pair bought together is split as an
undirected pair, so that (a, b) is never in train while (b, a) is in test; and the seed itself is a withheld item.

Images have their own split, by the content of their pixels, so that exact duplicates stay on one side.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from recgan.config import SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.errors import DataError

__all__ = [
    "IMAGE_PARTS",
    "NO_TIME",
    "Pairs",
    "Split",
    "image_split",
    "make_split",
    "no_pairs",
    "positive_events",
    "positive_interactions",
    "positives_among",
]

IMAGE_PARTS = ("train", "validation", "test")
NO_TIME = np.iinfo(np.int64).min
"""In `Pairs.times`: it is not known."""


@dataclass(frozen=True)
class Pairs:
    """User-item pairs as dense indices, all arrays of one length n."""

    users: np.ndarray
    """int64 [n], positions in `Split.user_ids`."""
    items: np.ndarray
    """int64 [n], positions in `Bundle.item_ids`."""
    times: np.ndarray | None = None
    """int64 [n], microseconds since 1970 (`NO_TIME` where one has none); None where none has one."""

    def __len__(self) -> int:
        return len(self.users)

    def where(self, mask: np.ndarray) -> Pairs:
        """Return the pairs that a mask or index array selects."""
        return Pairs(self.users[mask], self.items[mask], None if self.times is None else self.times[mask])


def no_pairs() -> Pairs:
    """Return none."""
    return Pairs(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


@dataclass(frozen=True)
class Split:
    """The outcome of `make_split`; positive pairs are unique over all four parts."""

    settings: SplitSettings
    user_ids: np.ndarray
    """Object array [n_users] of str, sorted: every user with a positive interaction."""
    n_items: int
    train: Pairs
    validation: Pairs
    test: Pairs
    withheld: Pairs
    candidates: np.ndarray
    """bool [n_items]: items that can be recommended: available now, or somebody took them."""
    repeats: Pairs = field(default_factory=no_pairs)
    """The later interactions of pairs in train, one each, as far as training may know of them: `train` holds the first
    of each pair."""

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.user_ids)

    @cached_property
    def cold(self) -> np.ndarray:
        """bool [n_items]: items without a training interaction."""
        cold = np.ones(self.n_items, dtype=bool)
        cold[self.train.items] = False
        return cold

    @cached_property
    def digest(self) -> str:
        """Identity of the split: which pairs lie in which part."""
        hashed = hashlib.sha256("\x1f".join(self.user_ids).encode("utf-8", "surrogatepass"))
        for pairs in (self.train, self.validation, self.test, self.withheld):
            keys = np.sort(pairs.users * self.n_items + pairs.items)
            hashed.update(f"|{len(keys)}|".encode() + keys.astype("<i8").tobytes())
        return hashed.hexdigest()


def positive_interactions(bundle: Bundle, settings: SplitSettings) -> pd.DataFrame:
    """Return the bundle's positive interactions, the first of each user-item pair, in the order of the log.

    Negative are the events named in ``settings.negative_events`` and ratings under ``settings.min_rating``. They take
    back what came before: a pair counts from its first positive interaction after its last negative one, so a purchase
    that was returned is none, until the item is bought again. Order is by time, then by row of the log; what has no
    time comes first.
    """
    return positives_among(bundle.interactions, settings)


def positives_among(frame: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Return the same of a part of the log, such as what was known on some day."""
    return positive_events(frame, settings).drop_duplicates(["user_id", "item_id"])


def positive_events(frame: pd.DataFrame, settings: SplitSettings) -> pd.DataFrame:
    """Return the same with every positive interaction of a pair from the first on, not that one alone."""
    if frame["timestamp"].notna().any():
        frame = frame.sort_values("timestamp", kind="stable", na_position="first")
    disliked = (frame["event"] == "rating") & (frame["weight"] < settings.min_rating)
    negative = (disliked | frame["event"].isin(settings.negative_events)).to_numpy()
    if negative.any():
        pair = frame.groupby(["user_id", "item_id"], sort=False).ngroup().to_numpy()
        place = np.arange(len(frame))
        taken_back = np.full(pair.max() + 1, -1)
        np.maximum.at(taken_back, pair[negative], place[negative])
        frame = frame[place > taken_back[pair]]
    return frame


def make_split(bundle: Bundle, settings: SplitSettings | None = None) -> Split:
    """Divide a bundle's positive interactions as ``settings`` say.

    Raises:
        DataError: the bundle has no positive interactions, or lacks the times or the given split asked for.
    """
    settings = settings or SplitSettings()
    events = positive_events(bundle.interactions, settings)
    again = events.duplicated(["user_id", "item_id"]).to_numpy()
    frame = events[~again]
    if frame.empty:
        raise DataError(
            f"bundle '{bundle.path}' has no positive interactions; import some (--interactions FILE) "
            "or make users with 'recgan simulate'"
        )
    users, user_ids = pd.factorize(frame["user_id"].to_numpy(dtype=object), sort=True)
    items = bundle.item_rows(frame["item_id"].to_numpy(dtype=object))
    times = _times(frame)
    pairs = Pairs(users.astype(np.int64), items, times)
    n_items = len(bundle.items)
    rng = np.random.default_rng([settings.seed, 1])

    if settings.protocol == "leave_one_out":
        part = _leave_one_out(pairs, _pair_keys(bundle, pairs, user_ids, n_items), settings, rng)
    elif settings.protocol == "global_time":
        if times is None or (times == NO_TIME).any():
            raise DataError(
                f"bundle '{bundle.path}' has interactions without a timestamp; use --split protocol=leave_one_out"
            )
        part = _global_time(times, settings)
    elif settings.protocol == "given":
        if "split" not in frame:
            raise DataError(f"bundle '{bundle.path}' has no split of its own; use --split protocol=leave_one_out")
        part = _given(frame["split"], bundle)
    else:
        part = np.zeros(len(pairs), dtype=np.int8)

    if settings.protocol in ("leave_one_out", "global_time") and settings.cold_share:
        made_cold = np.zeros(n_items, dtype=bool)
        chooser = np.random.default_rng([settings.seed, 2])
        made_cold[chooser.permutation(n_items)[: round(settings.cold_share * n_items)]] = True
        part[(part == 0) & made_cold[pairs.items]] = 3

    if settings.half != "both" and bundle.header.pseudo_users:
        raise DataError(
            f"bundle '{bundle.path}' has pseudo-users, whose pairs stand in it in both directions, so two halves of "
            "the histories would share them; designs are proved on data with users of its own (half=both)"
        )
    if settings.half != "both":
        part = _half(part, pairs, settings)

    candidates = bundle.items["available"].to_numpy(dtype=bool).copy()
    candidates[items] = True
    in_train = pairs.where(part == 0)
    return Split(
        settings=settings,
        user_ids=np.asarray(user_ids, dtype=object),
        n_items=n_items,
        train=in_train,
        validation=pairs.where(part == 1),
        test=pairs.where(part == 2),
        withheld=_with_seeds(pairs.where(part == 3), bundle, user_ids),
        candidates=candidates,
        repeats=_repeats(events[again], bundle, user_ids, in_train, settings, pairs.where((part == 1) | (part == 2))),
    )


def _times(frame: pd.DataFrame) -> np.ndarray | None:
    stamps = frame["timestamp"]
    if not stamps.notna().any():
        return None
    return np.where(stamps.isna(), NO_TIME, stamps.to_numpy("datetime64[us]").astype(np.int64))


def _repeats(
    later: pd.DataFrame, bundle: Bundle, user_ids: np.ndarray, train: Pairs, settings: SplitSettings, judged: Pairs
) -> Pairs:
    """Return what of the later interactions belongs to pairs in train and is known when training is."""
    if later.empty:
        return no_pairs()
    pairs = Pairs(
        pd.Index(user_ids).get_indexer(later["user_id"].to_numpy(dtype=object)).astype(np.int64),
        bundle.item_rows(later["item_id"].to_numpy(dtype=object)),
        _times(later),
    )
    n_items = len(bundle.items)
    kept = np.isin(pairs.users * n_items + pairs.items, train.users * n_items + train.items)
    if settings.protocol == "given":
        kept &= (later["split"] == IMAGE_PARTS[0]).to_numpy()
    elif settings.protocol == "global_time" and pairs.times is not None and judged.times is not None:
        kept &= pairs.times < judged.times.min(initial=np.iinfo(np.int64).max)
    return pairs.where(kept)


def _with_seeds(withheld: Pairs, bundle: Bundle, user_ids: np.ndarray) -> Pairs:
    """Return the withheld pairs with each pseudo-user's own seed: no answer, and no negative either."""
    if not bundle.header.pseudo_users:
        return withheld
    items = pd.Index(bundle.item_ids).get_indexer(user_ids).astype(np.int64)
    users = np.flatnonzero(items >= 0)
    times = None if withheld.times is None else np.append(withheld.times, np.full(len(users), NO_TIME))
    return Pairs(np.append(withheld.users, users), np.append(withheld.items, items[users]), times)


def _pair_keys(bundle: Bundle, pairs: Pairs, user_ids: np.ndarray, n_items: int) -> np.ndarray:
    """Return a key int64 [n] a pair; the two directions of a pseudo-user's pair share one."""
    if not bundle.header.pseudo_users:
        return pairs.users * n_items + pairs.items
    # A seed need not be in the catalogue itself: number users and items in one space of ids.
    every = pd.Index(bundle.item_ids).union(pd.Index(user_ids), sort=False)
    seeds = every.get_indexer(user_ids)[pairs.users].astype(np.int64)
    others = every.get_indexer(bundle.item_ids)[pairs.items].astype(np.int64)
    return np.minimum(seeds, others) * len(every) + np.maximum(seeds, others)


def _last_of_each_user(pairs: Pairs, free: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Return the index of each user's last pair among the ``free`` ones: by time, then by a seeded draw."""
    index = np.flatnonzero(free)
    keys = (draw[index],) if pairs.times is None else (draw[index], pairs.times[index])
    order = index[np.lexsort((*keys, pairs.users[index]))]
    ordered = pairs.users[order]
    last = np.ones(len(order), dtype=bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    return order[last]


def _leave_one_out(pairs: Pairs, keys: np.ndarray, settings: SplitSettings, rng: np.random.Generator) -> np.ndarray:
    counts = np.bincount(pairs.users)
    eligible = counts[pairs.users] >= settings.min_interactions
    part = np.zeros(len(pairs), dtype=np.int8)
    draw = rng.random(len(pairs))
    for number in (2, 1):
        chosen = _last_of_each_user(pairs, eligible & (part == 0), draw)
        part[chosen] = number
        # The other direction of a held-out undirected pair would give the answer away.
        same = (part == 0) & np.isin(keys, keys[chosen])
        part[same] = 3
    return part


def _global_time(times: np.ndarray, settings: SplitSettings) -> np.ndarray:
    order = np.sort(times)
    test_from = order[int(len(order) * (1 - settings.test_share))]
    validation_from = order[int(len(order) * (1 - settings.test_share - settings.validation_share))]
    part = np.zeros(len(times), dtype=np.int8)
    part[times >= validation_from] = 1
    part[times >= test_from] = 2
    return part


def _half(part: np.ndarray, pairs: Pairs, settings: SplitSettings) -> np.ndarray:
    """Return the parts with the other's half of each user's training pairs withheld (an odd one out is the scorer's).

    The judge has the test pairs for validation, and nothing is left to judge it by.
    """
    train = np.flatnonzero(part == 0)
    draw = np.random.default_rng([settings.seed, 3]).random(len(pairs))
    order = train[np.lexsort((draw[train], pairs.users[train]))]
    users = pairs.users[order]
    first = np.r_[0, np.flatnonzero(np.diff(users)) + 1]
    place = np.arange(len(order)) - np.repeat(first, np.diff(np.r_[first, len(order)]))
    judges = order[place % 2 == 1]
    divided = part.copy()
    if settings.half == "scorer":
        divided[judges] = 3
        return divided
    divided[order[place % 2 == 0]] = 3
    divided[part == 1] = 3
    divided[part == 2] = 1
    return divided


def _given(column: pd.Series, bundle: Bundle) -> np.ndarray:
    codes = column.map({name: number for number, name in enumerate(IMAGE_PARTS)})
    if codes.isna().any():
        odd = column[codes.isna()].iloc[0]
        raise DataError(
            f"bundle '{bundle.path}': split '{odd}' is not one of {', '.join(IMAGE_PARTS)}; import it again"
        )
    return codes.to_numpy(dtype=np.int8)


def image_split(bundle: Bundle, seed: int = 0, *, validation_share: float = 0.1, test_share: float = 0.1) -> np.ndarray:
    """Return the part of each image, int8 [n_images] in `Bundle.image_index` order: 0 train, 1 validation, 2 test.

    The part follows from the sha256 of the decoded pixels, so exact duplicates share it, whatever item they show.
    """
    inverse, unique = pd.factorize(bundle.image_index["sha256"].to_numpy(dtype=object))
    digests = (hashlib.sha256(f"{seed}:{digest}".encode()).digest()[:8] for digest in unique)
    draws = np.fromiter((int.from_bytes(d, "big") for d in digests), dtype=np.uint64, count=len(unique)) / 2.0**64
    part = np.zeros(len(unique), dtype=np.int8)
    part[draws < validation_share + test_share] = 1
    part[draws < test_share] = 2
    return part[inverse]
