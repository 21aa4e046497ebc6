"""Verbs that hand a model to other programs: export gan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recgan.cli.app import GANArgument, Json, LocalOut, Overwrite, app
from recgan.console import answer, remark

export_app = typer.Typer(help="Write a model for other programs.", no_args_is_help=True)
app.add_typer(export_app, name="export")


@export_app.command("gan")
def export_gan_(
    gan: GANArgument,
    out: LocalOut,
    format: Annotated[
        str, typer.Option("--format", help="onnx (pip install 'recgan\\[export]'), or safetensors: the weights alone.")
    ] = "onnx",
    half: Annotated[bool, typer.Option("--half", help="Weights as float16 (safetensors).")] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a GAN's generator as ONNX, run and compared with torch first, or as safetensors; with its model card."""
    from recgan.gan import export_gan, load_gan

    written = export_gan(load_gan(gan, "cpu"), out, format, half=half, overwrite=overwrite)
    facts = written.facts
    told = f"{facts['file']}: {facts['bytes'] / 1e6:.1f} MB"
    if "opset" in facts:
        told += f", opset {facts['opset']}; differs from torch by at most {facts['largest_difference']:.1g} of [-1, 1]"
    answer({"out": str(out), "files": written.files, **facts}, told, as_json=as_json)
    remark(f"wrote {out} ({Path(out) / 'generator.json'} says how to use it)")
