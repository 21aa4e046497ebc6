"""What all importers share: a source is described, and one function streams it into a bundle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from recgan.config import ImportOptions
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.importers.interactions import UNADDRESSABLE, InteractionCleaner
from recgan.dataset.importers.pictures import Checked, Gallery, check_pictures
from recgan.dataset.importers.summary import ImportSummary
from recgan.dataset.importers.tables import Table, text
from recgan.errors import DataError, nearest_name
from recgan.progress import Progress

__all__ = ["Source", "find_file", "need_file", "run_import", "table_of"]

_MANY_CATEGORIES = 1000
_TRUE = ("true", "yes", "y", "t", "1", "")
_FALSE = ("false", "no", "n", "f", "0")


class Source(ABC):
    """A data set as it lies on disk. Making one checks that its files are there, and reads none of them whole."""

    label: ClassVar[str]
    """The name under which it is imported."""
    title: str
    licence: str = "unknown"
    takes: ClassVar[frozenset[str]] = frozenset()
    """Names of the `ImportOptions` that mean something here, besides ``name``, ``licence`` and ``limit``."""
    pseudo_users = False
    items_file = ""
    """The file that the items' places refer to."""
    interactions_file = ""

    def __init__(self, path: Path, options: ImportOptions) -> None:
        self.path = path
        self.options = options
        self.facts: dict[str, Any] = {}
        """What else is worth telling; filled while the source is read."""

    @abstractmethod
    def items(self, writer: BundleWriter) -> pd.DataFrame:
        """Return all items: ``item_id``, ``category``, ``available`` where it is known, and attributes; the index is
        the place of each in `items_file`. What cannot be read is refused to the writer's quarantine."""

    def gallery(self, item_ids: Collection[str]) -> Gallery | None:
        """Return the images of these items; None where the source has no images at all."""
        return None

    def interactions(self, writer: BundleWriter) -> Iterator[pd.DataFrame]:
        """Yield the interactions in chunks, as `InteractionCleaner.clean` takes them."""
        yield from ()


def run_import(source: Source, out: str | Path, *, overwrite: bool, progress: Progress) -> ImportSummary:
    """Stream a source into the bundle ``out``; nothing is left there if it fails or is stopped."""
    options = source.options
    with BundleWriter(
        out,
        name=options.name or source.title,
        licence=options.licence or source.licence,
        source=source.label,
        pseudo_users=source.pseudo_users,
        overwrite=overwrite,
    ) as writer:
        progress("reading items", 0)
        every = source.items(writer)
        every["item_id"], every["category"] = text(every["item_id"]), text(every["category"])
        progress("reading items", len(every), len(every))
        gallery = source.gallery(every["item_id"][every["item_id"] != ""].to_list())
        items = _clean_items(every, source, writer)
        left_out = items["item_id"].iloc[options.limit or len(items) :]
        items = items.iloc[: options.limit]
        warnings = []
        if gallery is None:
            warnings.append("no images: visual models, generators and designs need some")
        else:
            if options.limit is None:
                for stray in gallery.strays:
                    writer.refuse("image", Path(stray.path).stem, "no_item", "no item is called so", stray.where)
            items = _add_pictures(items, gallery, source, writer, progress)
        if items.empty:
            told = ", ".join(f"{reason} {count:,}" for reason, count in writer.quarantined.items()) or "there was none"
            hint = ""
            if "empty_category" in writer.quarantined:
                hint = "; name a category for those without with --set default_category=NAME"
            elif gallery is not None and gallery.strays:
                hint = (
                    f"; images are called '{gallery.strays[0].path}': say how with --set image_pattern=PATTERN, "
                    "or which column of the items names them with --set image_column=COLUMN"
                )
            raise DataError(f"'{source.path}': no usable item is left ({told}); nothing was imported{hint}")
        writer.set_items(items)
        warnings += _category_warnings(items["category"])
        warnings += _add_interactions(items, left_out, source, writer, progress)
        writer.facts["warnings"] = warnings + source.facts.pop("warnings", [])
        writer.facts.update(source.facts)
    return ImportSummary.of(Bundle.open(out))


def _clean_items(items: pd.DataFrame, source: Source, writer: BundleWriter) -> pd.DataFrame:
    if source.options.default_category is not None:
        items["category"] = items["category"].where(items["category"] != "", source.options.default_category)
    for reason, bad in (
        ("missing_id", lambda frame: frame["item_id"] == ""),
        ("unaddressable_id", lambda frame: frame["item_id"].isin(UNADDRESSABLE)),
        ("duplicate_id", lambda frame: frame["item_id"].duplicated()),
        ("empty_category", lambda frame: frame["category"] == ""),
    ):
        refused = bad(items)
        if refused.any():
            rows = items[refused]
            where = pd.Series([f"{source.items_file}:{place}" for place in rows.index], rows.index, dtype=object)
            writer.refuse_frame("item", rows, "item_id", reason, where)
            items = items[~refused]
    items = items.copy()
    for column in items.columns.difference(["item_id", "category"], sort=False):
        items[column] = _available(items[column], source) if column == "available" else _typed(items[column])
    return items


def _available(column: pd.Series, source: Source) -> pd.Series:
    if pd.api.types.is_bool_dtype(column) and not column.isna().any():
        return column
    words = text(column).str.lower()
    odd = ~words.isin(_TRUE + _FALSE)
    if odd.any():
        raise DataError(
            f"{source.items_file}:{words.index[odd][0]}: availability '{column[odd].iloc[0]}' is neither of "
            "true/false, yes/no, 1/0; name another column with --set available_column=COLUMN"
        )
    return words.isin(_TRUE)


def _typed(column: pd.Series) -> pd.Series:
    """Return a column of strings as numbers if all that are there are plain numbers, and none is a code (``007``)."""
    if not (pd.api.types.is_string_dtype(column) or column.dtype == object):
        return column
    words = text(column)
    codes = words.str.match(r"[-+]?0\d") | words.str.fullmatch(r"[-+]?\d{16,}")
    if (words == "").all() or codes.any():
        return words
    numbers = pd.to_numeric(words.where(words != "", None), errors="coerce")
    unreadable = (numbers.isna() & (words != "")).any() or not np.isfinite(numbers.dropna()).all()
    return words if unreadable else numbers


def _add_pictures(
    items: pd.DataFrame, gallery: Gallery, source: Source, writer: BundleWriter, progress: Progress
) -> pd.DataFrame:
    """Add the usable images; return the items that have one. The others are refused, for their first image's reason."""
    pictured: dict[str, int] = {}
    failed: dict[str, list[Checked]] = {}
    digests: set[bytes] = set()
    images = 0
    done, last = 0, None
    for checked in check_pictures((item_id, gallery.of(item_id)) for item_id in items["item_id"]):
        item_id = checked.item_id
        if item_id != last:
            done, last = done + 1, item_id
            if done % 256 == 0:
                progress("checking images", done, len(items))
        if checked.refusal is not None:
            failed.setdefault(item_id, []).append(checked)
            continue
        position = pictured.get(item_id, 0)
        pictured[item_id] = position + 1
        picture = checked.picture
        writer.add_image(
            item_id, checked.data, sha256=checked.sha256, position=position, role=picture.role, path=picture.path
        )
        digests.add(bytes.fromhex(checked.sha256))
        images += 1
    progress("checking images", len(items), len(items))
    writer.facts["duplicates"] = images - len(digests)

    for place, item_id in items["item_id"].items():
        for order, checked in enumerate(failed.get(item_id, ())):
            assert checked.refusal is not None
            kind = "item" if order == 0 and item_id not in pictured else "image"
            writer.refuse(kind, item_id, checked.refusal.reason, checked.refusal.detail, checked.picture.where)
        if item_id not in pictured and item_id not in failed:
            writer.refuse("item", item_id, "missing_image", "no image of it was found", f"{source.items_file}:{place}")
    return items[items["item_id"].isin(pictured)]


def _add_interactions(
    items: pd.DataFrame, left_out: Collection[str], source: Source, writer: BundleWriter, progress: Progress
) -> list[str]:
    cleaner = InteractionCleaner(
        items["item_id"], writer, source.options, left_out=left_out, pseudo_users=source.pseudo_users
    )
    kept = 0
    for chunk in source.interactions(writer):
        usable = cleaner.clean(chunk, source.interactions_file)
        writer.add_interactions(usable)
        kept += len(usable)
        progress("reading interactions", cleaner.seen)
    if cleaner.seen:
        progress("reading interactions", cleaner.seen, cleaner.seen)
    for name in ("outside_limit", "before_since"):
        if count := getattr(cleaner, name):
            writer.facts[f"interactions_{name}"] = count
    return [f"none of the {cleaner.seen:,} interactions could be used"] if cleaner.seen and not kept else []


def _category_warnings(categories: pd.Series) -> list[str]:
    sizes = categories.value_counts()
    warnings = []
    if len(sizes) > _MANY_CATEGORIES:
        warnings.append(
            f"{len(sizes):,} categories: a generator learns few of them; "
            "import a coarser column with --set category_column=COLUMN"
        )
    alone = int((sizes == 1).sum())
    if alone:
        warnings.append(f"categories with a single item: {alone:,} (such as '{sizes.index[sizes == 1][0]}')")
    return warnings


def find_file(folder: Path, *names: str) -> Path | None:
    """Return the first of these files or folders that is in ``folder``, or None.

    Raises:
        DataError: ``folder`` is not there, or is no folder.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"'{folder}' {what}; give the folder that holds {names[0]}")
    return next((folder / name for name in names if (folder / name).exists()), None)


def need_file(folder: Path, *names: str) -> Path:
    """Return the first of these files or folders that is in ``folder``.

    Raises:
        DataError: there is none; the message says where one lies deeper, or what is there.
    """
    found = find_file(folder, *names)
    if found is not None:
        return found
    deeper = next((path.parent for name in names for path in sorted(folder.glob(f"*/{name}"))), None)
    if deeper is not None:
        raise DataError(f"'{folder}' holds no {' or '.join(names)}, but '{deeper}' does: give that folder")
    there = sorted(path.name for path in folder.iterdir())
    listed = ", ".join(there[:12]) or "nothing"
    raise DataError(f"'{folder}' holds no {' or '.join(names)}{nearest_name(names[0], there)}; it holds: {listed}")


def table_of(path: Path, options: ImportOptions) -> Table:
    """Return the table at ``path``, read with the delimiter and encoding of the options."""
    return Table(path, delimiter=options.delimiter, encoding=options.encoding)
