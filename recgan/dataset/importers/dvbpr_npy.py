"""`dvbpr-npy`: ``AmazonFashion6ImgPartitioned.npy`` of Kang, Fang, Wang & McAuley (ICDM 2017).

An array of six objects, written by Python 2: user_train, user_validation and user_test, each ``{user index:
[{'productid': item index, …}, …]}``; Item, ``{item index: {'imgs': JPEG bytes, 'c': class, …}}``; the numbers of users
and of items. The class is a number from 0 to 5, or those six as a one-hot vector. Which of them are men's and women's
tops, bottoms and shoes is stated nowhere: ``--set category_names='["…", …]'`` names them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from recgan.config import ImportOptions
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers.common import Source
from recgan.dataset.importers.pictures import Gallery, Picture
from recgan.dataset.importers.safe_pickle import FileSlice, NumpyArray, load_object_array
from recgan.errors import DataError, SettingsError

__all__ = ["DVBPR"]

_PARTS = ("train", "validation", "test")
_CLASSES = 6
_CHUNK = 200_000


class DVBPR(Source):
    """The data of the paper, with its own split in the interactions' column ``split``."""

    label = "dvbpr-npy"
    title = "Amazon Fashion (DVBPR)"
    licence = "published for research (github.com/kang205/DVBPR): the images are for academic use only"
    takes = frozenset({"category_names", "default_category"})

    def __init__(self, path: Path, options: ImportOptions) -> None:
        super().__init__(path, options)
        if path.is_dir():
            found = sorted(path.glob("*.npy"))
            if len(found) != 1:
                raise DataError(f"'{path}' holds {len(found)} .npy files; give the path of the one to import")
            path = found[0]
        elif not path.is_file():
            raise DataError(f"there is no file '{path}'; give the path of AmazonFashion6ImgPartitioned.npy")
        self._file = path
        self.items_file = self.interactions_file = path.name
        self._names = options.category_names or tuple(f"class {number}" for number in range(_CLASSES))
        if len(self._names) != _CLASSES or len(set(self._names)) != _CLASSES:
            raise SettingsError(f"category_names: give {_CLASSES} different names, for the classes 0 to {_CLASSES - 1}")
        self._items: dict[str, dict[Any, Any]] = {}
        self._users: list[dict[Any, Any]] = []

    def items(self, writer: BundleWriter) -> pd.DataFrame:
        """One item an entry of Item; its Amazon id is kept as ``asin`` where it is told."""
        array = load_object_array(self._file)
        if len(array) != 6 or not all(isinstance(part, dict) for part in array[:4]):
            raise DataError(f"'{self._file}' does not hold the six parts user_train, …, Item, usernum, itemnum")
        *self._users, items, usernum, itemnum = array
        self._check_counts(items, usernum, itemnum)
        rows = []
        for index, item in sorted(items.items(), key=lambda entry: _number(entry[0])):
            place = _text(index)
            where = f"{self._file.name}:{place}"
            if not isinstance(item, dict):
                what = f"a {type(item).__name__} instead of a dict"
                writer.refuse("item", place, "malformed_item", what, where)
            elif (category := self._category(_entry(item, "c"))) is None:
                what = (
                    f"class {str(_entry(item, 'c'))[:60]} is neither 0 to {_CLASSES - 1} nor a one-hot vector of them"
                )
                writer.refuse("item", place, "malformed_item", what, where)
            else:
                rows.append((place, place, category, _text(_entry(item, "asin"))))
                self._items.setdefault(place, item)
        frame = pd.DataFrame(rows, columns=["index", "item_id", "category", "asin"]).set_index("index")
        return frame if (frame["asin"] != "").any() else frame.drop(columns="asin")

    def gallery(self, item_ids: Collection[str]) -> Gallery:
        """The JPEG of each item, read from the file when it is wanted."""

        def of(item_id: str) -> list[Picture]:
            image = _entry(self._items[item_id], "imgs")
            where = f"{self._file.name}:Item[{item_id}]"
            if isinstance(image, str):
                image = image.encode("latin-1", "replace")
            if isinstance(image, bytes | bytearray):
                return [Picture(partial(bytes, image), where)] if image else []
            return [Picture(image.read, where)] if isinstance(image, FileSlice) else []

        return Gallery(of)

    def interactions(self, writer: BundleWriter) -> Iterator[pd.DataFrame]:
        """``review`` events without times; ``split`` is the part of the published split that each is in."""
        rows: list[tuple[str, str, str]] = []
        for part, users in zip(_PARTS, self._users):
            for user, reviews in users.items():
                for review in reviews if isinstance(reviews, list | tuple) else [reviews]:
                    item = _entry(review, "productid") if isinstance(review, dict) else None
                    rows.append((_text(user), "" if item is None else _text(item), part))
                if len(rows) >= _CHUNK:
                    yield _frame(rows)
                    rows = []
        if rows:
            yield _frame(rows)

    def _category(self, given: Any) -> str | None:
        """Return the name of a class, ``""`` where none is given, None for what is no class."""
        if given is None:
            return ""
        vector = given.values if isinstance(given, NumpyArray) else given
        counts = (len(vector), vector.count(1), vector.count(0)) if isinstance(vector, list | tuple) else ()
        if counts == (_CLASSES, 1, _CLASSES - 1):
            given = vector.index(1)
        if isinstance(given, int | float) and given in range(_CLASSES):
            return self._names[int(given)]
        return None

    def _check_counts(self, items: dict[Any, Any], usernum: Any, itemnum: Any) -> None:
        told = []
        for what, stated, there in (("users", usernum, len(self._users[0])), ("items", itemnum, len(items))):
            if stated != there:
                told.append(f"the file states {stated} {what}, and holds {there:,}")
        if told:
            self.facts["warnings"] = told


def _entry(record: dict[Any, Any], key: str) -> Any:
    """Return an entry whose key is a Python 2 string (bytes here) or a Python 3 one."""
    return record.get(key.encode(), record.get(key))


def _number(index: Any) -> tuple[bool, int]:
    """Sort numbers as such, and what is none after them as it comes."""
    return (False, index) if isinstance(index, int) else (True, 0)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _frame(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "split"], dtype=str)
    frame["event"] = "review"
    frame.index = pd.Index([f"user_{part}[{user}]" for user, _, part in rows])
    return frame
