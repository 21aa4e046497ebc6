"""Verbs that edit: tailor, like, mix, recategorise, arithmetic, slide."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recgan.cli.app import (
    Assignments,
    Device,
    GANOption,
    HowMany,
    Json,
    LocalOut,
    Overwrite,
    Seed,
    Strength,
    VisualRecommenderOption,
    app,
    photo_bytes,
    table,
)
from recgan.console import answer, remark, shown_progress
from recgan.errors import ArtifactError, SettingsError

if TYPE_CHECKING:
    from recgan.design import Design
    from recgan.design.editing import Editor, Subject
    from recgan.progress import Progress

    Edit = Callable[[Editor, Any, Progress], tuple[list[Subject], list[Design]]]

edit_app = typer.Typer(
    help="Make designs from items, photos and designs. What is edited is named item:ID, photo:FILE or design:DIR/0.",
    no_args_is_help=True,
)
app.add_typer(edit_app, name="edit")

_Subject = Annotated[str, typer.Argument(metavar="WHAT", help="item:ID, photo:FILE or design:DIR/NUMBER.")]
_Data = Annotated[Path, typer.Option("--data", metavar="BUNDLE", help="The bundle that both were trained on.")]
_Inverter = Annotated[
    str | None,
    typer.Option("--inverter", metavar="DIR", help="For items and photos: from 'recgan train inverter'."),
]
_User = Annotated[str | None, typer.Option("--user", help="Who judges.", show_default="the average user")]
_Liked = Annotated[list[str] | None, typer.Option("--liked", help="Or items that somebody likes; may be repeated.")]
_Category = Annotated[str | None, typer.Option("--category", help="Of photos: what they show.")]


@edit_app.command("tailor")
def tailor_(
    what: _Subject,
    recommender: VisualRecommenderOption,
    gan: GANOption,
    data: _Data,
    out: LocalOut,
    inverter: _Inverter = None,
    user: _User = None,
    liked: _Liked = None,
    category: _Category = None,
    n: HowMany = 4,
    keep_colour: Annotated[bool, typer.Option("--keep-colour", help="Keep the colour family.")] = False,
    preset: Annotated[str, typer.Option("--preset", help="How to climb: default or kang2017.")] = "default",
    search: Annotated[
        list[str] | None, typer.Option("--search", metavar="NAME=VALUE", help="Override a setting of the climb.")
    ] = None,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Change a picture so that a user likes it more, on a leash that keeps it like itself."""
    from recgan.design import load_preset
    from recgan.design.editing import climb_settings

    _check(n, seed)
    climb = climb_settings(load_preset(preset), search or [])
    named = _named(what, category)

    def edit(editor: Editor, someone: Any, progress: Progress) -> tuple[list[Subject], list[Design]]:
        subject = named(editor)
        return [subject], editor.tailor(subject, someone, n, seed=seed, search=climb, progress=progress)

    given = [*(settings or []), *(["keep_colour=true"] if keep_colour else [])]
    designs = _run(edit, recommender, gan, data, inverter, user, liked, given, out, device, overwrite, as_json)
    edits = [design.settings["edit"] for design in designs]
    within, leash = sum(edit["within_leash"] for edit in edits), edits[0]["leash"]
    remark(f"{within} of {len(designs)} within the leash (a perceptual distance of {leash:.3f})")
    errors = edits[0]["inversion"]
    if errors is not None and errors["distance"] > leash:
        remark(f"note: the inversion that they began with is beyond the leash already ({errors['distance']:.3f})")


@edit_app.command("like")
def like_(
    what: _Subject,
    recommender: VisualRecommenderOption,
    gan: GANOption,
    data: _Data,
    out: LocalOut,
    inverter: _Inverter = None,
    user: _User = None,
    liked: _Liked = None,
    category: _Category = None,
    n: HowMany = 8,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """More like this: variations of a picture (--set spread=0.3: nearer)."""
    _check(n, seed)
    named = _named(what, category)

    def edit(editor: Editor, someone: Any, progress: Progress) -> tuple[list[Subject], list[Design]]:
        subject = named(editor)
        return [subject], editor.like(subject, someone, n, seed=seed, progress=progress)

    _run(edit, recommender, gan, data, inverter, user, liked, settings, out, device, overwrite, as_json)


@edit_app.command("mix")
def mix_(
    start: _Subject,
    end: _Subject,
    recommender: VisualRecommenderOption,
    gan: GANOption,
    data: _Data,
    out: LocalOut,
    inverter: _Inverter = None,
    user: _User = None,
    liked: _Liked = None,
    category: _Category = None,
    n: Annotated[int, typer.Option("-n", help="Designs from the one to the other, both included.")] = 5,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Go from one picture to another."""
    _check(n, seed, least=2)
    named = [_named(what, category) for what in (start, end)]

    def edit(editor: Editor, someone: Any, progress: Progress) -> tuple[list[Subject], list[Design]]:
        ends = [one(editor) for one in named]
        return ends, editor.mix(ends[0], ends[1], someone, n, seed=seed, progress=progress)

    _run(edit, recommender, gan, data, inverter, user, liked, settings, out, device, overwrite, as_json)


@edit_app.command("recategorise")
def recategorise_(
    what: _Subject,
    recommender: VisualRecommenderOption,
    gan: GANOption,
    data: _Data,
    out: LocalOut,
    to: Annotated[str, typer.Option("--to", metavar="CATEGORY", help="The category that it becomes.")],
    inverter: _Inverter = None,
    user: _User = None,
    liked: _Liked = None,
    category: _Category = None,
    n: Annotated[int, typer.Option("-n", help="Designs from the one category to the other.")] = 5,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Change the category of a picture bit by bit, all else the same."""
    _check(n, seed, least=2)
    named = _named(what, category)

    def edit(editor: Editor, someone: Any, progress: Progress) -> tuple[list[Subject], list[Design]]:
        subject = named(editor)
        return [subject], editor.recategorise(subject, to, someone, n, seed=seed, progress=progress)

    _run(edit, recommender, gan, data, inverter, user, liked, settings, out, device, overwrite, as_json)


@edit_app.command("arithmetic")
def arithmetic_(
    what: _Subject,
    recommender: VisualRecommenderOption,
    gan: GANOption,
    data: _Data,
    out: LocalOut,
    plus: Annotated[list[str], typer.Option("--plus", metavar="WHAT", help="Examples that have it; may be repeated.")],
    minus: Annotated[
        list[str], typer.Option("--minus", metavar="WHAT", help="Examples that lack it; may be repeated.")
    ],
    strength: Strength = 1.0,
    inverter: _Inverter = None,
    user: _User = None,
    liked: _Liked = None,
    category: _Category = None,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Give a picture what some examples have and others lack: this, minus plain, plus striped."""
    _check(1, seed)
    if not math.isfinite(strength):
        raise SettingsError(f"--strength {strength}: give a number")
    named = _named(what, category)
    examples = [[_named(one, category) for one in side] for side in (plus, minus)]

    def edit(editor: Editor, someone: Any, progress: Progress) -> tuple[list[Subject], list[Design]]:
        subject = named(editor)
        more, less = ([one(editor) for one in side] for side in examples)
        made = editor.arithmetic(subject, more, less, someone, strength=strength, seed=seed, progress=progress)
        return [subject, *more, *less], [made]

    _run(edit, recommender, gan, data, inverter, user, liked, settings, out, device, overwrite, as_json)


@edit_app.command("slide")
def slide_(
    what: _Subject,
    recommender: VisualRecommenderOption,
    gan: GANOption,
    data: _Data,
    out: LocalOut,
    directions: Annotated[str, typer.Option("--directions", metavar="DIR", help="From 'recgan sample directions'.")],
    move: Annotated[
        list[str],
        typer.Option("--move", metavar="DIRECTION=UNITS", help="By number or name, such as 0=1.5; may be repeated."),
    ],
    inverter: _Inverter = None,
    user: _User = None,
    liked: _Liked = None,
    category: _Category = None,
    settings: Assignments = None,
    seed: Seed = 0,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Move a picture along directions of the latent space, like sliders."""
    from recgan.gan.latent import load_directions

    _check(1, seed)
    amounts = dict(_moved(one) for one in move)
    named = _named(what, category)

    def edit(editor: Editor, someone: Any, progress: Progress) -> tuple[list[Subject], list[Design]]:
        subject = named(editor)
        found = load_directions(directions, editor.designer.gan)
        by_number = {found.number_of(name): units for name, units in amounts.items()}
        if len(by_number) < len(move):
            raise SettingsError(f"--move {' --move '.join(move)}: move along each direction once")
        return [subject], [editor.slide(subject, found, by_number, someone, seed=seed, progress=progress)]

    _run(edit, recommender, gan, data, inverter, user, liked, settings, out, device, overwrite, as_json)


def _check(n: int, seed: int, *, least: int = 1) -> None:
    """Refuse numbers out of range before anything is read."""
    from recgan.config import check_request

    check_request(n, seed, least=least)


def _run(
    edit: Edit,
    recommender: str,
    gan: str,
    data: Path,
    inverter: str | None,
    user: str | None,
    liked: list[str] | None,
    settings: list[str] | None,
    out: Path,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> list[Design]:
    """Load what an edit needs, do it, write and tell what came of it."""
    from recgan.atomic import check_place
    from recgan.config import EditSettings, overridden
    from recgan.dataset.bundle import Bundle
    from recgan.design import load_designer, save_designs, sheet_of
    from recgan.design.editing import Editor
    from recgan.gan.latent import load_inverter

    if user is not None and liked:
        raise SettingsError("say for whom: --user ID, or --liked ITEM (once or more), not both")
    chosen = overridden(EditSettings(), settings or [])
    check_place(out, overwrite=overwrite)
    with shown_progress() as progress:
        bundle = Bundle.open(data)
        designer = load_designer(recommender, gan, bundle=bundle, device=device, progress=progress)
        found = load_inverter(inverter, designer.gan) if inverter is not None else None
        editor = Editor(designer, bundle, found, chosen)
        someone = designer.recommender.fold_in(liked) if liked else user
        subjects, designs = edit(editor, someone, progress)
        sheet = sheet_of([subjects, designs], ["edited", "designs"])
        saved = save_designs(designs, out, pictures={"sheet.png": sheet}, overwrite=overwrite)
    rows = [
        {
            "image": row["image"],
            "category": row["category"],
            "score": row["score"],
            "percentile": row["percentile"],
            "distance": row["settings"]["edit"]["distance"],
        }
        for row in saved["designs"]
    ]
    answer(saved, table(rows, ["image", "category", "score", "percentile", "distance"]), as_json=as_json)
    errors = designs[0].settings["edit"]["inversion"]
    if errors is not None:
        try:
            usual = f" (two items of the category: {editor.usual(subjects[0].category):.3f})"
        except SettingsError:  # the category has no two items to compare, and the edit is done all the same
            usual = ""
        remark(
            f"inversion: root mean square error of the pixels {errors['pixel_error']:.1f} of 255, perceptual distance "
            f"{errors['distance']:.3f}{usual}"
        )
    remark(f"wrote {out} (look at {out}/sheet.png)")
    return designs


def _named(what: str, category: str | None) -> Callable[[Editor], Subject]:
    """Return what finds the subject that ``item:ID``, ``photo:FILE`` or ``design:DIR/NUMBER`` names; what can be
    refused before models are loaded is."""
    from recgan.design import load_designs

    kind, colon, name = what.partition(":")
    if not colon or not name or kind not in ("item", "photo", "design"):
        raise SettingsError(f"'{what}': name what is edited as item:ID, photo:FILE or design:DIR/NUMBER")
    if kind == "item":
        return lambda editor: editor.item(name)
    if kind == "photo":
        if category is None:
            raise SettingsError(f"'{what}': say what the photo shows with --category")
        data = photo_bytes(name)
        return lambda editor: editor.photo(data, category, name=f"'{name}'")
    folder, _, number = name.rpartition("/")
    designs = load_designs(folder or ".")
    if not number.isdecimal() or int(number) >= len(designs):
        raise ArtifactError(f"'{folder}' holds designs 0 to {len(designs) - 1}; name one as design:{folder}/0")
    return lambda editor: editor.of_design(designs[int(number)])


def _moved(text: str) -> tuple[str, float]:
    direction, _, units = text.rpartition("=")
    try:
        amount = float(units)
    except ValueError:
        amount = math.nan
    if not direction or not math.isfinite(amount):
        raise SettingsError(f"--move {text}: write it as DIRECTION=UNITS, such as 0=1.5")
    return direction, amount
