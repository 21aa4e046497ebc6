"""Which item an image shows, by its file's name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from recgan.dataset.importers.pictures import ENDINGS, Gallery, PictureStore
from recgan.errors import DataError

__all__ = ["items_of_images", "match_pictures", "pattern_fits"]

_FRONT = ("main", "front", "primary", "cover", "default", "packshot", "hero")
_TOKEN = re.compile(r"\{(?:item_id|category)\}|\*|[^{*]+|\{")


def match_pictures(store: PictureStore, item_ids: Iterable[str], pattern: str | None = None) -> Gallery:
    """Return each item's pictures, the primary one first; those that belong to none are strays.

    With a pattern (`pattern_fits`) an image belongs to the item that it names. Without one, an image belongs to the
    item whose id is its name (``12.jpg``), begins its name (``12_2.jpg``) or is its folder's name (``12/front.jpg``).

    Raises:
        DataError: the pattern is malformed, or an image could belong to two items.
    """
    ids = frozenset(item_ids)
    owner = partial(_by_pattern, fits=pattern_fits(pattern), ids=ids) if pattern else partial(_by_name, ids=ids)
    found: dict[str, list[tuple[str, str]]] = {}
    strays = []
    for name in store.names:
        item_id, rest = owner(name)
        if item_id is None:
            strays.append(store.picture(name))
        else:
            found.setdefault(item_id, []).append((rest, name))
    pictures = {
        item_id: [store.picture(name, _role(rest)) for rest, name in sorted(of_item, key=_primary_first)]
        for item_id, of_item in found.items()
    }
    return Gallery(lambda item_id: pictures.get(item_id, ()), strays)


def pattern_fits(pattern: str) -> Callable[[str], Iterator[dict[str, str]]]:
    """Return a function from a file's name to the values of the pattern's placeholders, for each way that it fits.

    ``{item_id}`` and ``{category}`` stand for any text and ``*`` for any or none, all within one part of the path;
    ``|`` separates alternatives. They are fitted to the end of the path. What the stars stand for is ``rest``.

    Raises:
        DataError: an alternative has no ``{item_id}``, or has it twice.
    """
    expressions: list[re.Pattern[str]] = []
    for alternative in pattern.split("|"):
        if alternative.count("{item_id}") != 1 or alternative.count("{category}") > 1 or "{item_id}*" in alternative:
            raise DataError(
                f"image_pattern={pattern!r}: write {{item_id}} once, with something between it and *, "
                "such as {item_id}.jpg|{item_id}_*.jpg or {category}/{item_id}/*"
            )
        # An id may hold the separator that follows it: try the shortest id, then the longest.
        for any_text in ("[^/]+?", "[^/]+"):
            stars = iter(range(alternative.count("*")))
            meaning = {"{item_id}": f"(?P<item_id>{any_text})", "{category}": "(?P<category>[^/]+)"}
            tokens = _TOKEN.findall(alternative.lstrip("/"))
            parts = (f"(?P<rest{next(stars)}>[^/]*)" if t == "*" else meaning.get(t, re.escape(t)) for t in tokens)
            expressions.append(re.compile("(?:.*/)?" + "".join(parts), re.DOTALL | re.IGNORECASE))

    def fits(name: str) -> Iterator[dict[str, str]]:
        for expression in expressions:
            if fit := expression.fullmatch(name):
                values = fit.groupdict()
                rest = "_".join(values.pop(key) for key in list(values) if key.startswith("rest"))
                yield {**values, "rest": PurePosixPath(rest).stem}

    return fits


Owner = tuple[str | None, str]
"""The item that an image belongs to, if any, and what its name says besides the id."""


def _by_pattern(name: str, fits: Callable[[str], Iterator[dict[str, str]]], ids: frozenset[str]) -> Owner:
    return next(((fit["item_id"], fit["rest"]) for fit in fits(name) if fit["item_id"] in ids), (None, ""))


def _by_name(name: str, ids: frozenset[str]) -> Owner:
    *folders, file = name.split("/")
    stem = file.rsplit(".", 1)[0]
    by_file = next((start for start in (file, *_starts(stem)) if start in ids), None)
    depth = next((depth for depth in range(len(folders), 0, -1) if folders[depth - 1] in ids), 0)
    by_folder = folders[depth - 1] if depth else None
    if by_file is not None and by_folder is not None and by_file != by_folder:
        raise DataError(
            f"image '{name}' could show item '{by_file}' or item '{by_folder}'; say how the images are named with "
            "--set image_pattern={item_id}/* or {item_id}_*.jpg"
        )
    if by_file is not None:
        return by_file, stem[len(by_file) :].strip("_-. ()")
    return by_folder, "/".join([*folders[depth:], stem])


def _starts(stem: str) -> Iterator[str]:
    """Yield the stem and, ever shorter, what stands before each of its separators."""
    yield stem
    for end in range(len(stem) - 1, 0, -1):
        if stem[end] in "_-. (":
            yield stem[:end]


def items_of_images(store: PictureStore, pattern: str | None = None) -> pd.DataFrame:
    """Return the items that the images themselves tell of: ``item_id`` and ``category``, by image name.

    With a pattern, an image's name holds the id and perhaps the category. Without one, each image is an item, called
    as its file where those names are unique and else by its path. The category is the topmost folder below those that
    all images share, or ``""``.

    Raises:
        DataError: there are no images, the pattern fits none, or one item lies in two categories.
    """
    if not store.names:
        raise DataError(f"'{store.label}' holds no images ({', '.join(ENDINGS)}) and no items table; nothing to import")
    folders = {name: name.split("/")[:-1] for name in store.names}
    shared = 0
    while all(len(path) > shared + 1 for path in folders.values()):
        if len({path[shared] for path in folders.values()}) > 1:
            break
        shared += 1
    category = {name: path[shared] if len(path) > shared else "" for name, path in folders.items()}
    if pattern is None:
        paths = {
            name: "/".join([*path[shared:], name.split("/")[-1].rsplit(".", 1)[0]]) for name, path in folders.items()
        }
        ids = {name: path.rsplit("/", 1)[-1] for name, path in paths.items()}
        if len(set(ids.values())) < len(ids):
            ids = paths
        ids = {name: item_id.strip() for name, item_id in ids.items()}
        return pd.DataFrame({"item_id": ids, "category": category}, dtype=object)
    fits = pattern_fits(pattern)
    rows = {}
    for name in store.names:
        fit = next(fits(name), None)
        if fit is not None:
            rows[name] = (fit["item_id"].strip(), fit.get("category", category[name]))
    if not rows:
        raise DataError(f"image_pattern={pattern!r} fits no image; the first is called '{store.names[0]}'")
    frame = pd.DataFrame.from_dict(
        rows, orient="index", columns=["item_id", "category"], dtype=object
    ).drop_duplicates()
    twice = frame["item_id"].duplicated()
    if twice.any():
        raise DataError(f"image_pattern={pattern!r}: item '{frame.loc[twice, 'item_id'].iloc[0]}' is in two categories")
    return frame


def _role(rest: str) -> str:
    word = rest.rsplit("/", 1)[-1].strip("_- ").lower()
    if not word or word in _FRONT:
        return "main"
    return word if word.isalpha() else "view"


def _natural(name: str) -> tuple[list[tuple[int, str]], str]:
    """Sort ``x_2`` before ``x_10``."""
    pieces = re.split(r"([0-9]+)", name)
    key = [
        (len(piece.lstrip("0")), piece.lstrip("0")) if at % 2 else (0, piece.lower()) for at, piece in enumerate(pieces)
    ]
    return key, name


def _primary_first(picture: tuple[str, str]) -> tuple[bool, bool, tuple[list[tuple[int, str]], str]]:
    rest, name = picture
    return rest != "", _role(rest) != "main", _natural(name)
