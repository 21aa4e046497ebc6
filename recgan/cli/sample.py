"""Verbs that show what a generator can make: sheet, walk, mix, arithmetic, directions, invert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.cli.app import Device, Json, Overwrite, Seed, Strength, app, local_path, names_of, table
from recgan.console import answer, remark, shown_progress
from recgan.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

    from recgan.gan import TrainedGAN
    from recgan.gan.latent import LatentSpace

sample_app = typer.Typer(help="Show what a generator makes, and what lies between.", no_args_is_help=True)
app.add_typer(sample_app, name="sample")

ROWS = 20
"""Categories shown where nobody names them: those with the most training images."""

_GAN = Annotated[str, typer.Argument(metavar="GAN", help="A trained GAN.")]
_Picture = Annotated[
    Path, typer.Option("--out", metavar="FILE", parser=local_path, help="Picture to write: .png, .webp or .jpg.")
]
_Moving = Annotated[
    Path, typer.Option("--out", metavar="FILE", parser=local_path, help="A sheet (.png, …) or a film (.gif, .apng).")
]
_Categories = Annotated[list[str] | None, typer.Option("--category", help="Only this one; may be repeated.")]
_Space = Annotated[str, typer.Option("--space", help="z or w.", show_default="w where the generator has it")]
_Truncation = Annotated[
    float | None,
    typer.Option(
        "--truncation",
        min=0.01,
        help="z: draw again beyond so many standard deviations; w: share kept of the distance from the class's mean.",
    ),
]
_Columns = Annotated[int, typer.Option("--columns", min=1, max=100, help="Samples a row.")]
_Steps = Annotated[int, typer.Option("--steps", min=2, max=1000, help="Pictures from one end to the other.")]
_Seconds = Annotated[float, typer.Option("--seconds", min=0.1, help="Length of a film.")]


@sample_app.command("sheet")
def sheet_(
    gan: _GAN,
    out: _Picture,
    category: _Categories = None,
    columns: _Columns = 12,
    truncation: _Truncation = None,
    space: _Space = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Draw samples: a row a category, a column a latent, none chosen by eye."""
    from recgan.dataset.sheets import save_picture
    from recgan.gan.latent.pictures import sheet
    from recgan.gan.sampling import design_seeds

    loaded, chosen, names, classes = _opened(gan, out, space, category, device, overwrite)
    seeds = design_seeds(seed, columns)
    rows = [_samples(chosen, seeds, index, truncation) for index in classes]
    title = f"samples 0 to {columns - 1} of seed {seed}"
    save_picture(sheet([images for _, images in rows], names, title=title), out)
    _told(out, loaded, chosen, {"categories": names, "seeds": seeds}, f"{len(names)} x {columns} samples", as_json)


@sample_app.command("walk")
def walk_(
    gan: _GAN,
    out: _Moving,
    category: _Categories = None,
    steps: _Steps = 9,
    stops: Annotated[int, typer.Option("--stops", min=2, max=100, help="Of a film: samples that it visits.")] = 4,
    seconds: _Seconds = 6.0,
    truncation: _Truncation = None,
    space: _Space = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Walk from sample to sample: in z along an arc, in w along a line.

    A sheet has a row a category, from sample 0 to sample 1; a film goes round through several, the categories side by
    side.
    """
    import torch

    from recgan.dataset.sheets import save_picture
    from recgan.gan.conditioning import one_hot
    from recgan.gan.latent import tour, walk
    from recgan.gan.latent.pictures import is_animation, save_animation, sheet
    from recgan.gan.sampling import design_seeds

    loaded, chosen, names, classes = _opened(gan, out, space, category, device, overwrite)
    film = is_animation(out)
    seeds = design_seeds(seed, stops if film else 2)
    if film:
        labels = one_hot(classes, len(loaded.category_names)).to(loaded.device)
        columns = [
            tour(chosen, chosen.draw(seeds, label.expand(stops, -1), truncation), label.expand(stops, -1), steps)
            for label in labels
        ]
        save_animation(torch.stack(columns, dim=1), out, seconds=seconds)
    else:
        start, end = (chosen.draw([one] * len(names), classes, truncation) for one in seeds)
        save_picture(sheet(list(walk(chosen, start, end, classes, steps)), names), out)
    _told(out, loaded, chosen, {"categories": names, "seeds": seeds}, f"{len(names)} categories", as_json)


@sample_app.command("mix")
def mix_(
    gan: _GAN,
    out: _Moving,
    start: Annotated[str, typer.Option("--from", metavar="CATEGORY", help="The category at the one end.")],
    end: Annotated[str, typer.Option("--to", metavar="CATEGORY", help="The category at the other.")],
    rows: Annotated[int, typer.Option("--rows", min=1, max=100, help="Samples that change.")] = 6,
    steps: _Steps = 9,
    seconds: _Seconds = 4.0,
    truncation: _Truncation = None,
    space: _Space = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Change the category of samples bit by bit, all else the same; a film goes there and back."""
    import torch

    from recgan.dataset.sheets import save_picture
    from recgan.gan.latent import class_walk
    from recgan.gan.latent.pictures import is_animation, save_animation, sheet
    from recgan.gan.sampling import design_seeds

    loaded, chosen, names, classes = _opened(gan, out, space, [start, end], device, overwrite)
    if not chosen.knows_classes:
        raise SettingsError(f"'{gan}' was told no class ({loaded.recipe.name}), so there is none to change")
    seeds = design_seeds(seed, rows)
    ends = (int(classes[0]), int(classes[1]))
    images = class_walk(chosen, seeds, *ends, len(loaded.category_names), steps, truncation)
    if is_animation(out):
        there = images.transpose(0, 1)
        save_animation(torch.cat([there, there[1:-1].flip(0)]), out, seconds=seconds)
    else:
        title = f"from {names[0]} to {names[1]}, seed {seed}"
        save_picture(sheet(list(images), [str(row) for row in range(rows)], title=title), out)
    _told(out, loaded, chosen, {"categories": names, "seeds": seeds}, f"{rows} samples", as_json)


@sample_app.command("arithmetic")
def arithmetic_(
    gan: _GAN,
    out: _Picture,
    category: Annotated[str, typer.Option("--category", help="Of all the samples.")],
    plus: Annotated[str, typer.Option("--plus", help="Samples that have it: columns of the sheet, such as 0,4,7.")],
    minus: Annotated[str, typer.Option("--minus", help="Samples that lack it, likewise.")],
    strength: Strength = 1.0,
    columns: _Columns = 12,
    truncation: _Truncation = None,
    space: _Space = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Give samples what some have and others lack: sample + strength (mean of PLUS - mean of MINUS).

    The numbers are the columns of 'recgan sample sheet' with the same seed, category and truncation.
    """
    from recgan.dataset.sheets import save_picture
    from recgan.gan.latent.pictures import sheet
    from recgan.gan.sampling import design_seeds

    sets = {"--plus": _numbers("--plus", plus), "--minus": _numbers("--minus", minus)}
    loaded, chosen, _, classes = _opened(gan, out, space, [category], device, overwrite)
    seeds = design_seeds(seed, max(columns, *(number + 1 for numbers in sets.values() for number in numbers)))
    points, images = _samples(chosen, seeds, classes[0], truncation)
    more, less = (points[numbers] for numbers in sets.values())
    made = chosen.combine(points[:columns], more, less, strength)
    rows = [
        *(images[numbers] for numbers in sets.values()),
        images[:columns],
        chosen.images(made, classes.expand(columns)),
    ]
    labels = ["plus", "minus", "samples", f"{strength:+g} of it"]
    save_picture(sheet(rows, labels, title=f"{category}, seed {seed}"), out)
    told = {"category": category, "seeds": seeds, "latents": made.tolist()}
    _told(out, loaded, chosen, told, f"{columns} samples changed", as_json)


@sample_app.command("directions")
def directions_(
    gan: _GAN,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", parser=local_path, help="Folder of directions, sheets.")],
    category: _Categories = None,
    count: Annotated[int, typer.Option("--count", min=1, help="How many directions.")] = 8,
    samples: Annotated[int, typer.Option("--samples", min=2, help="Samples that they are found from.")] = 4096,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="DIRECTION=NAME", help="What its sheet shows: 0=brightness; may be repeated."),
    ] = None,
    space: _Space = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find the directions that change pictures the most, how far each may be pushed, and show a sheet of each.

    The same seed finds the same ones: look at the sheets, then give them names with --name and --overwrite.
    """
    from recgan.atomic import check_place
    from recgan.gan import load_gan
    from recgan.gan.latent import LatentSpace, check_names, find_directions, save_directions

    check_place(out, overwrite=overwrite)
    names = _direction_names(name or [])
    check_names(names, count)
    loaded = load_gan(gan, device)
    chosen = LatentSpace(loaded.generator, loaded.recipe, space)  # type: ignore[arg-type]
    with shown_progress() as progress:
        found = find_directions(
            loaded, count=count, categories=category, samples=samples, seed=seed, space=chosen, progress=progress
        ).called(names)
        save_directions(found, loaded, out, seed=seed, overwrite=overwrite)
    rows: list[dict[str, Any]] = [
        {"direction": number, "name": found.name_of(number), "variance": share, "low": low, "high": high}
        for number, (share, low, high) in enumerate(zip(found.shares.tolist(), found.low.tolist(), found.high.tolist()))
    ]
    told = {"out": str(out), "space": found.space, "directions": rows}
    answer(told, table(rows, ["direction", "name", "variance", "low", "high"]), as_json=as_json)
    remark(f"wrote {out} (look at {out}/direction-00.png)")


def _direction_names(given: list[str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for text in given:
        number, equals, name = text.partition("=")
        if not equals or not number.isdecimal():
            raise SettingsError(f"--name {text}: write it as DIRECTION=NAME, such as 0=brightness")
        if int(number) in names:
            raise SettingsError(f"--name {text}: direction {number} has a name already ('{names[int(number)]}')")
        names[int(number)] = name
    return names


@sample_app.command("invert")
def invert_(
    gan: _GAN,
    out: _Picture,
    inverter: Annotated[str, typer.Option("--inverter", metavar="DIR", help="From 'recgan train inverter'.")],
    data: Annotated[Path, typer.Option("--data", metavar="BUNDLE", help="The bundle with the pictures.")],
    item: Annotated[
        list[str] | None,
        typer.Option("--item", help="An item's id; may be repeated.", show_default="eight held-out ones"),
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=0, help="Of the descent from the guess.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Find the latents that bring items' photos back, and say how far off they are."""
    from recgan.atomic import check_place
    from recgan.dataset.bundle import Bundle
    from recgan.dataset.sheets import save_picture
    from recgan.gan import load_gan
    from recgan.gan.latent import item_photos, load_inverter
    from recgan.gan.latent.pictures import sheet

    check_place(out, overwrite=overwrite, file=True)
    loaded = load_gan(gan, device)
    found = load_inverter(inverter, loaded)
    with shown_progress() as progress:
        shown = item_photos(Bundle.open(data), loaded, item, seed=seed)
        guessed, restored = found.invert(shown.images, shown.class_index, steps=steps, progress=progress)
    rows = [
        {"item_id": name, "category": loaded.category_names[index], "guess": before, "error": after}
        for name, index, before, after in zip(
            shown.item_ids, shown.class_index.tolist(), guessed.error.tolist(), restored.error.tolist()
        )
    ]
    pictures = [shown.images.to(loaded.device), guessed.images, restored.images]
    save_picture(sheet(pictures, ["photo", "guess", "descent"]), out)
    means = {"guess": guessed.error.mean().item(), "error": restored.error.mean().item()}
    points = [{**row, "latent": point} for row, point in zip(rows, restored.points.tolist())]
    told = {"out": str(out), "space": found.space.name, "items": points, "mean": means, "inverter": found.metrics}
    answer(told, table(rows, ["item_id", "category", "guess", "error"]), as_json=as_json)
    remark(
        f"root mean square error of the pixels, in steps of 255: {means['guess']:.1f} by the encoder's guess, "
        f"{means['error']:.1f} after the descent (another sample of the class: {found.metrics['by_chance']:.1f})"
    )
    remark(f"wrote {out}")


def _opened(
    gan: str, out: Path, space: str, category: list[str] | None, device: str, overwrite: bool
) -> tuple[TrainedGAN, LatentSpace, list[str], Tensor]:
    """Return the GAN, its space, the categories to show and their class indices, once ``out`` is known to be free."""
    import numpy as np
    import torch

    from recgan.atomic import check_place
    from recgan.gan import load_gan
    from recgan.gan.latent import LatentSpace

    check_place(out, overwrite=overwrite, file=True)
    loaded = load_gan(gan, device)
    if category:
        indices = [loaded.class_index(name) for name in category]
    else:
        most = np.argsort(-loaded.train_images, kind="stable")[:ROWS]
        indices = sorted(int(index) for index in most if loaded.train_images[index])
    chosen = LatentSpace(loaded.generator, loaded.recipe, space)  # type: ignore[arg-type]
    names = [loaded.category_names[index] for index in indices]
    return loaded, chosen, names, torch.tensor(indices, device=loaded.device)


def _samples(space: LatentSpace, seeds: list[int], index: Tensor, truncation: float | None) -> tuple[Tensor, Tensor]:
    """Return one category's points and images, one a seed."""
    classes = index.expand(len(seeds))
    points = space.draw(seeds, classes, truncation)
    return points, space.images(points, classes)


def _numbers(option: str, text: str) -> list[int]:
    """Return the column numbers in what an option was given."""
    try:
        numbers = [int(name) for name in names_of(text)]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 0:
        raise SettingsError(f"{option} {text}: name columns of the sheet, from 0 on, with commas, such as 0,4,7")
    return numbers


def _told(out: Path, gan: TrainedGAN, space: LatentSpace, told: dict[str, Any], line: str, as_json: bool) -> None:
    answer({"out": str(out), "recipe": gan.recipe.name, "space": space.name, **told}, line, as_json=as_json)
    remark(f"wrote {out}")
