"""Verbs about the whole: demo, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recgan.cli.app import Assignments, Device, Json, Seed, app
from recgan.console import answer, fail, shown_progress


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of the demo; what stands there is reused.")] = Path(
        "runs/demo"
    ),
    photos: Annotated[
        bool,
        typer.Option("--photos", help="On photographic pictures of goods that do not exist, made by recgan's own GAN."),
    ] = False,
    seed: Seed = 0,
    device: Device = "auto",
    settings: Assignments = None,
    as_json: Json = False,
) -> None:
    """Run the whole line on a built-in catalogue: import to designs to report, in minutes."""
    from recgan.config import DemoSettings, overridden
    from recgan.demo import run_demo

    asked = overridden(DemoSettings(), [*(["catalogue=photos"] if photos else []), *(settings or [])])
    with shown_progress() as progress:
        result = run_demo(out, seed=seed, settings=asked, device=device, progress=progress)
    answer(result.as_json(), result.text(), as_json=as_json)


@app.command()
def doctor(device: Device = "auto", as_json: Json = False) -> None:
    """Say whether this machine is fit: versions, device, threads, and toy steps that must run."""
    from recgan.doctor import examine

    found = examine(device)
    lines = [
        f"Python {found['python']} on {found['platform']}",
        "  ".join(f"{name} {version}" for name, version in found["versions"].items()),
        f"device: {found['device']['chosen']} ({found['device']['name']})   cores: {found['threads']['cores']}"
        f"   memory: {found['memory_gib']} GiB   free disk: {found['disk_free_gib']} GiB",
        *(f"{'ok  ' if c['ok'] else 'FAIL'}  {name}: {c['detail']}" for name, c in found["checks"].items()),
    ]
    answer(found, "\n".join(lines), as_json=as_json)
    if not found["ok"]:
        fail("a check failed; see above")
        raise typer.Exit(1)
