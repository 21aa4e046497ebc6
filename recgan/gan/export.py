"""A generator for other programs: ONNX, or its weights as safetensors, with a file that says how to use it.

::

    generator.onnx | generator.safetensors
    generator.json      inputs, output, prior of z, categories, size in bytes, what it was checked by, digest of the GAN
    MODEL_CARD.md       what it was trained on, its figures and its limits
"""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from recgan.artifacts import sha256_file
from recgan.atomic import atomic_folder
from recgan.errors import ArtifactError, NotFoundError, SettingsError
from recgan.gan.artifact import TrainedGAN
from recgan.gan.card import CARD
from recgan.gan.networks import network_arrays
from recgan.gan.sampling import design_seeds, latents

__all__ = ["FORMATS", "OPSET", "Exported", "export_gan"]

FORMATS = ("onnx", "safetensors")
OPSET = 18
"""Version of ONNX's operators: the oldest that torch's exporter writes, so that most runtimes read it."""
TOLERANCE = 1e-3
"""Largest difference that is allowed between the two programs' pixels, of [-1, 1]: an eighth of a grey level."""
_CHECKED = 8
"""Samples by which an exported generator is compared."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    files: dict[str, int]
    """Sizes in bytes by name."""
    facts: dict[str, Any]
    """What ``generator.json`` holds."""


def export_gan(
    gan: TrainedGAN,
    out: str | Path,
    format: str = "onnx",
    *,
    half: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write a GAN's generator (its averaged weights, where the recipe averages) for other programs.

    An ONNX file takes ``z`` float32 [N, latent_dim] and ``class_index`` int64 [N] for any N, and gives ``images``
    float32 [N, 3, size, size] in [-1, 1]. It is run by onnxruntime and compared with torch before it is kept.

    Args:
        gan: a trained GAN.
        out: folder to write.
        format: ``onnx``, or ``safetensors`` for the weights alone, by the names that torch knows them under.
        half: weights as float16, for half the size (``safetensors`` only).
        overwrite: replace what is there.

    Raises:
        SettingsError: another format, or ``half`` with ONNX.
        NotFoundError: a package that ONNX needs is not installed.
        ArtifactError: ``out`` exists; or the ONNX file does not compute what the generator does.
        StorageError: ``out`` cannot be written.
    """
    if format not in FORMATS:
        raise SettingsError(f"there is no export format '{format}'; use {' or '.join(FORMATS)}")
    if half and format == "onnx":
        raise SettingsError("half precision is for --format safetensors; leave out --half for ONNX")
    with atomic_folder(out, overwrite=overwrite) as building:
        path = building / f"generator.{format}"
        if format == "onnx":
            about = _write_onnx(gan, path)
        else:
            about = _write_safetensors(gan, path, half=half)
        facts = _facts(gan) | about | {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_file(path)}
        text = json.dumps(facts, indent=2, ensure_ascii=False)
        (building / "generator.json").write_text(text + "\n", encoding="utf-8")
        (building / CARD).write_text(gan.card(), encoding="utf-8")
        return Exported({file.name: file.stat().st_size for file in sorted(building.iterdir())}, facts)


def _facts(gan: TrainedGAN) -> dict[str, Any]:
    recipe = gan.recipe
    return {
        "recipe": recipe.name,
        "gan": gan.digest,
        "inputs": {
            "z": {
                "type": "float32",
                "shape": ["N", recipe.latent_dim],
                "drawn_from": f"normal of mean 0 and standard deviation {recipe.latent_std:g}"
                + (f", redrawn beyond {recipe.truncation:g} of them" if recipe.truncation else ""),
            },
            "class_index": {"type": "int64", "shape": ["N"], "is": "a position in categories"},
        },
        "output": {
            "images": {"type": "float32", "shape": ["N", 3, gan.size, gan.size], "range": [-1, 1], "channels": "RGB"}
        },
        "categories": list(gan.category_names),
    }


def _write_safetensors(gan: TrainedGAN, path: Path, *, half: bool) -> dict[str, Any]:
    arrays = network_arrays(gan.generator, half=half)
    save_file(arrays, path, metadata={"recipe": gan.recipe.model_dump_json(), "size": str(gan.size)})
    return {"format": "safetensors", "weights": "float16" if half else "float32"}


def _write_onnx(gan: TrainedGAN, path: Path) -> dict[str, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  (torch's exporter needs it, and tells so in a traceback)
    except ImportError as error:
        raise NotFoundError(
            f"ONNX needs a package that is not installed ({error.name}); run: pip install 'recgan[export]'"
        ) from error
    generator = copy.deepcopy(gan.generator).cpu()
    for module in generator.modules():
        freeze = getattr(module, "freeze", None)
        if freeze is not None:
            freeze()
    z = latents(design_seeds(0, _CHECKED), gan.recipe)
    class_index = torch.from_numpy(np.resize(np.flatnonzero(gan.train_images), _CHECKED))
    any_number = {0: torch.export.Dim("N")}
    with torch.no_grad(), warnings.catch_warnings():
        # It remarks that both inputs share the axis N, which is meant.
        warnings.filterwarnings("ignore", message=".*axis name.*", category=UserWarning)
        program = torch.onnx.export(
            generator,
            (z[:2], class_index[:2]),
            input_names=["z", "class_index"],
            output_names=["images"],
            opset_version=OPSET,
            dynamo=True,
            dynamic_shapes=(any_number, any_number),
            verbose=False,
        )
        assert program is not None
        program.save(str(path))
        wanted = generator(z, class_index).numpy()
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(["images"], {"z": z.numpy(), "class_index": class_index.numpy()})
    difference = float(np.abs(found - wanted).max())
    if not difference <= TOLERANCE:  # also true for what is not a number
        raise ArtifactError(
            f"the ONNX file gives pixels that differ from the generator's by {difference:g} of [-1, 1], so it was not "
            "kept; use --format safetensors"
        )
    opsets = onnx.load(str(path), load_external_data=False).opset_import
    return {
        "format": "onnx",
        "opset": next(opset.version for opset in opsets if not opset.domain),
        "checked_by": f"onnxruntime {onnxruntime.__version__}",
        "largest_difference": difference,
    }
