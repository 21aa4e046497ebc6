"""The application that the verbs register with, and the options they share."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

import recgan
from recgan.errors import DataError, ImageRefused, NotFoundError, SettingsError

if TYPE_CHECKING:
    from PIL.Image import Image

    from recgan.config import EmbedSettings, Settings

__all__ = [
    "Assignments",
    "BundlePath",
    "Device",
    "EncoderName",
    "GANArgument",
    "GANOption",
    "HowMany",
    "ImageSize",
    "Index",
    "Json",
    "LocalOut",
    "ModelAssignments",
    "Out",
    "Overwrite",
    "Preset",
    "Seed",
    "SplitAssignments",
    "Strength",
    "VisualRecommenderOption",
    "app",
    "embed_settings",
    "evaluate_app",
    "local_path",
    "model_names",
    "names_of",
    "opened_photos",
    "photo_bytes",
    "settings_by_model",
    "table",
    "train_app",
]

app = typer.Typer(
    help="Learn each user's visual taste, recommend from a fashion catalogue, and design new items.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
train_app = typer.Typer(help="Train a recommender or a generator.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Measure what was trained, and report.", no_args_is_help=True)
app.add_typer(train_app, name="train")
app.add_typer(evaluate_app, name="evaluate")


def local_path(text: str) -> Path:
    """Return a place on this machine; a URL is refused, which would become a folder called ``s3:``."""
    if "://" in text:
        raise SettingsError(f"'{text}': this is written to a local folder only; give its path, and copy it from there")
    return Path(text)


BundlePath = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A dataset bundle (see 'recgan import').")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output.")]
Out = Annotated[str, typer.Option("--out", metavar="PATH", help="Folder or fsspec URL; must not exist yet.")]
LocalOut = Annotated[
    Path, typer.Option("--out", metavar="PATH", parser=local_path, help="Folder to write; must not exist yet.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at --out.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps.")]
Assignments = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Override a setting.")]
VisualRecommenderOption = Annotated[
    str, typer.Option("--recommender", metavar="DIR", help="A trained visual recommender.")
]
GANOption = Annotated[str, typer.Option("--gan", metavar="DIR", help="A trained GAN.")]
GANArgument = Annotated[str, typer.Argument(metavar="GAN", help="A trained generator: folder or fsspec URL.")]
Preset = Annotated[str, typer.Option("--preset", help="How to design: default or kang2017.")]
HowMany = Annotated[int, typer.Option("-n", help="How many designs.")]
Strength = Annotated[float, typer.Option("--strength", help="How much of the difference is added.")]
EncoderName = Annotated[str, typer.Option("--encoder", help="The eye that recommenders look through.")]
ImageSize = Annotated[int, typer.Option("--size", help="Side of the pixels the encoder is shown.")]
Index = Annotated[
    str | None,
    typer.Option(
        "--index",
        metavar="KIND[,NAME=VALUE…]",
        help="flat (default): exact; ivf or hnsw: approximate, its recall told; such as hnsw,search_width=256.",
    ),
]
ModelAssignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="MODEL.NAME=VALUE", help="Override a setting of a model.")
]
SplitAssignments = Annotated[
    list[str] | None, typer.Option("--split", metavar="NAME=VALUE", help="Override a setting of the split.")
]


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"recgan {recgan.__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learn each user's visual taste, recommend from a fashion catalogue, and design new items."""


def table(rows: list[dict[str, Any]], columns: list[str]) -> Any:
    """Return ``columns`` of ``rows`` as a table for a person.

    On a narrow terminal names go on in the next line: an id of which the end is cut off is none.
    """
    from rich.table import Table

    table = Table(show_lines=any("\n" in str(row[c]) for row in rows for c in columns))
    for column in columns:
        table.add_column(
            column, overflow="fold", no_wrap=bool(rows) and all(isinstance(r[column], float) for r in rows)
        )
    for row in rows:
        table.add_row(*(f"{row[c]:.3f}" if isinstance(row[c], float) else str(row[c]) for c in columns))
    return table


def names_of(models: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in models.split(",") if name.strip()]


_LARGEST_PHOTO = 64 << 20


def photo_bytes(path: str | Path) -> bytes:
    """Return a picture's file.

    Raises:
        NotFoundError: it cannot be read.
        DataError: it is no file of a picture's size.
    """
    try:
        told = os.stat(path)
        if stat.S_ISDIR(told.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(told.st_mode) or told.st_size > _LARGEST_PHOTO:
            raise DataError(f"'{path}' is no picture's file, or larger than {_LARGEST_PHOTO >> 20} MB; give another")
        return Path(path).read_bytes()
    except OSError as error:
        raise NotFoundError(f"'{path}' cannot be read ({error.strerror}); give the path of a picture") from error


def opened_photos(paths: Sequence[Path]) -> dict[str, Image]:
    """Return pictures by the path they were given by; one that is given twice, once.

    Raises:
        NotFoundError: one cannot be read.
        DataError: one is no picture.
    """
    from recgan.dataset.pixels import decode_image

    found: dict[str, Image] = {}
    taken: set[bytes] = set()
    for path in paths:
        data = photo_bytes(path)
        try:
            if data not in taken:
                found[str(path)] = decode_image(data)
        except ImageRefused as error:
            raise DataError(f"'{path}' cannot be used: {error.detail}; give another JPEG, PNG or WebP") from error
        taken.add(data)
    return found


def model_names(models: str) -> list[str]:
    """Return the names in what ``--models`` was given; none is refused."""
    names = names_of(models)
    if not names:
        raise SettingsError("--models names no model; write it as --models popularity,vbpr")
    return names


def embed_settings(encoder: str, size: int, assignments: Sequence[str] = ()) -> EmbedSettings:
    """Return how the catalogue is looked at, from ``--encoder``, ``--size`` and ``NAME=VALUE`` assignments."""
    from recgan.config import EmbedSettings, overridden

    return overridden(EmbedSettings(), [f"encoder={encoder}", f"size={size}", *assignments])


def settings_by_model(
    assignments: list[str], usual: Mapping[str, Settings] = MappingProxyType({})
) -> dict[str, Settings]:
    """Return the settings of each model from ``MODEL.NAME=VALUE`` assignments: those of ``usual`` or else its defaults,
    overridden."""
    from recgan.config import overridden
    from recgan.recommenders import recommender_type

    by_model: dict[str, list[str]] = {}
    for assignment in assignments:
        model, dot, rest = assignment.partition(".")
        if not dot or "=" in model:
            raise SettingsError(f"--set {assignment}: write it as MODEL.NAME=VALUE, such as vbpr.epochs=10")
        by_model.setdefault(model, []).append(rest)
    found = {}
    for model, given in by_model.items():
        name = model.partition(":")[0]
        settings = usual.get(name) or recommender_type(name).settings_type()
        try:
            found[model] = overridden(settings, given)
        except SettingsError as error:
            raise SettingsError(f"{model}: {error}") from error
    return found
