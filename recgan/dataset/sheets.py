"""Picture sheets: grids of square images with a label a row, for catalogues, GAN samples and reports.

The label font is DejaVu Sans, which comes with matplotlib. It has Latin, Greek, Cyrillic, Arabic and more; for names
in a script that it lacks (such as Chinese), an installed font that has it is looked for.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recgan.atomic import atomic_file
from recgan.errors import SettingsError

__all__ = ["fit_text", "image_grid", "label_font", "save_picture"]

INK = (40, 40, 46)
_GROUND = (255, 255, 255)
_LABEL_WIDTH = 150
_LABEL_LINES = 2
_WEBP_LIMIT = 16383
_FORMATS = {".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG"}
# Families that cover what DejaVu Sans lacks, most complete first. Only those that are installed are used.
WIDE_FAMILIES = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "Arial Unicode MS",
    "FreeSans",
)


def image_grid(
    rows: Sequence[np.ndarray],
    labels: Sequence[str] | None = None,
    padding: int = 2,
    scale: int = 1,
    *,
    title: str = "",
) -> Image.Image:
    """Return one picture with a row of images for each array in ``rows``.

    Args:
        rows: uint8 [n, S, S, 3] arrays; all have the same S, each its own n (0 too: an empty row).
        labels: one text a row, drawn at its left; long ones are wrapped, then cut with an ellipsis.
        padding: white pixels between images and around the sheet.
        scale: each pixel becomes ``scale`` x ``scale`` ones (nearest neighbour), so that small images show as they are.
        title: a text above the grid, cut with an ellipsis if it is wider than the sheet.

    Raises:
        ValueError: no rows, arrays of another shape or type, or not one label a row.
    """
    rows = [np.asarray(row) for row in rows]
    if not rows:
        raise ValueError("image_grid needs at least one row")
    side = rows[0].shape[1] if rows[0].ndim == 4 else 0
    for number, row in enumerate(rows):
        if row.dtype != np.uint8 or row.ndim != 4 or row.shape[1:] != (side, side, 3):
            raise ValueError(f"row {number}: expected uint8 [n, {side}, {side}, 3], got {row.dtype} {list(row.shape)}")
    if labels is not None and len(labels) != len(rows):
        raise ValueError(f"{len(labels)} labels for {len(rows)} rows")

    cell = side * scale
    font_size = int(np.clip(cell // 5, 10, 18))
    line_height = font_size + 3
    texts = [
        _wrapped(text, font_size, _LABEL_WIDTH, max(1, min(_LABEL_LINES, cell // line_height))) for text in labels or ()
    ]
    label_width = max((label_font(line, font_size).getlength(line) for lines in texts for line in lines), default=0)
    left = padding + (int(np.ceil(label_width)) + 8 if texts else 0)
    columns = max(len(row) for row in rows)
    width = left + columns * (cell + padding)
    title_height = font_size + 10 if title else 0
    height = title_height + padding + len(rows) * (cell + padding)

    canvas = np.full((height, width, 3), _GROUND, dtype=np.uint8)
    for r, row in enumerate(rows):
        top = title_height + padding + r * (cell + padding)
        for c, image in enumerate(row):
            x = left + c * (cell + padding)
            canvas[top : top + cell, x : x + cell] = image.repeat(scale, axis=0).repeat(scale, axis=1)

    sheet = Image.fromarray(canvas)
    draw = ImageDraw.Draw(sheet)
    for r, lines in enumerate(texts):
        middle = title_height + padding + r * (cell + padding) + cell / 2
        for number, line in enumerate(lines):
            y = middle + (number - (len(lines) - 1) / 2) * line_height
            draw.text((left - 6, y), line, fill=INK, font=label_font(line, font_size), anchor="rm")
    if title:
        line = fit_text(title, font_size, width - 2 * padding - 4)
        draw.text((padding + 2, 5 + font_size / 2), line, fill=INK, font=label_font(line, font_size), anchor="lm")
    return sheet


def save_picture(image: Image.Image, path: str | Path, *, quality: int = 90) -> Path:
    """Write a picture as PNG, WebP or JPEG by the ending of ``path`` (atomically) and return the path.

    Raises:
        SettingsError: another ending, or a picture too large for WebP.
        StorageError: the place cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise SettingsError(f"'{path}': pictures are written as {', '.join(_FORMATS)}; choose one of these endings")
    if ending == ".webp" and max(image.size) > _WEBP_LIMIT:
        raise SettingsError(f"'{path}': {image.width} x {image.height} is too large for WebP; write it as .png")
    options = {"optimize": True} if ending == ".png" else {"quality": quality}
    with atomic_file(path) as building:
        image.save(building, format=_FORMATS[ending], **options)
    return path


def fit_text(text: str, size: int, width: float) -> str:
    """Return ``text`` on one line (control characters removed), cut with an ellipsis to at most ``width`` pixels."""
    line = _one_line(text)
    font = label_font(line, size)
    if font.getlength(line) <= width:
        return line
    low, high = 0, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(line[:middle].rstrip() + "…") <= width:
            low = middle
        else:
            high = middle - 1
    return line[:low].rstrip() + "…"


def _wrapped(text: str, size: int, width: float, most: int) -> list[str]:
    """Break a label at spaces into at most ``most`` lines; the last one takes what is left, cut if need be."""
    rest = _one_line(text)
    font = label_font(rest, size)
    lines: list[str] = []
    while rest and len(lines) < most - 1 and font.getlength(rest) > width:
        fitting = [end for end in range(len(rest)) if rest[end] == " " and font.getlength(rest[:end]) <= width]
        if not fitting:
            break
        lines.append(rest[: fitting[-1]])
        rest = rest[fitting[-1] + 1 :]
    return [*lines, fit_text(rest, size, width)]


def _one_line(text: str) -> str:
    """Spaces for line breaks and tabs; other control characters and lone surrogates are dropped."""
    shown = (" " if char.isspace() else char for char in str(text))
    return " ".join("".join(char for char in shown if unicodedata.category(char) not in ("Cc", "Cs")).split())


def label_font(text: str, size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, or the installed font that has the most of the characters that it lacks."""
    wanted = frozenset(ord(char) for char in text if not char.isspace())
    return _font(_best_path(wanted), size)


@lru_cache(maxsize=4096)
def _best_path(wanted: frozenset[int]) -> str:
    default, *others = _font_paths()
    lacking = {path: len(wanted - _characters(path)) for path in (default,)}
    if lacking[default]:
        lacking.update({path: len(wanted - _characters(path)) for path in others})
    return min(lacking, key=lambda path: lacking[path])


@lru_cache(maxsize=1)
def _font_paths() -> tuple[str, ...]:
    # matplotlib takes a moment to import, and most callers never draw a label.
    import matplotlib
    from matplotlib import font_manager

    installed = {entry.name: entry.fname for entry in font_manager.fontManager.ttflist if Path(entry.fname).is_file()}
    default = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return (str(default), *(installed[family] for family in WIDE_FAMILIES if family in installed))


@lru_cache(maxsize=32)
def _characters(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(path).get_charmap())


@lru_cache(maxsize=64)
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)
