"""`recgan doctor`: is this machine fit to run recgan?"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["examine"]

_LIBRARIES = (
    "recgan",
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "pyarrow",
    "implicit",
    "faiss-cpu",
    "safetensors",
    "fastapi",
    "uvicorn",
)


def examine(device: str = "auto") -> dict[str, Any]:
    """Return ``{ok, python, platform, versions, device, threads, memory_gib, disk_free_gib, checks}``.

    ``checks`` maps each toy step to ``{ok, detail}``: a training step on the device, an encoder's forward pass, an
    exact search, an image codec, an atomic write. A check that fails says why; nothing is swallowed.
    """
    import torch

    from recgan.device import available_cores, resolve_device

    resolved = resolve_device(device)
    checks = {
        "torch training step": _check(lambda: _training_step(str(resolved))),
        "default encoder": _check(lambda: _encode(str(resolved))),
        "faiss exact search": _check(_search),
        "image codecs": _check(_codecs),
        "atomic write": _check(_write),
    }
    accelerator = torch.cuda.get_device_name(resolved) if resolved.type == "cuda" else resolved.type
    return {
        "ok": all(check["ok"] for check in checks.values()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in _LIBRARIES},
        "device": {"chosen": str(resolved), "name": accelerator, "cuda": torch.version.cuda},
        "threads": {"cores": available_cores(), "torch": torch.get_num_threads()},
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "disk_free_gib": round(shutil.disk_usage(".").free / 2**30, 1),
        "checks": checks,
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _check(step: Any) -> dict[str, Any]:
    try:
        return {"ok": True, "detail": step()}
    except Exception as error:  # the point of a doctor: report whatever breaks, and go on to the next check
        return {"ok": False, "detail": f"{type(error).__name__}: {error}"}


def _training_step(device: str) -> str:
    import torch

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 8, generator=generator).to(device)
    targets = inputs.sum(1, keepdim=True)
    model = torch.nn.Linear(8, 1).to(device)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(20):
        loss = (model(inputs) - targets).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    if not losses[-1] < losses[0] / 2:
        raise RuntimeError(f"the loss did not fall ({losses[0]:.3f} to {losses[-1]:.3f})")
    return f"loss {losses[0]:.3f} to {losses[-1]:.3f} in 20 steps on {device}"


def _encode(device: str) -> str:
    import torch

    from recgan.encoders import load_encoder

    encoder = load_encoder("efficientnet_lite0", device)
    with torch.inference_mode():
        features = encoder(torch.zeros(1, 3, 64, 64, device=device))
    if not torch.isfinite(features).all():
        raise RuntimeError("the features are not finite")
    return f"efficientnet_lite0 gives {features.shape[1]} features"


def _search() -> str:
    import faiss

    vectors = np.eye(4, dtype=np.float32)
    index = faiss.IndexFlatIP(4)
    index.add(vectors)
    found = index.search(vectors, 1)[1][:, 0]
    if found.tolist() != [0, 1, 2, 3]:
        raise RuntimeError(f"a wrong neighbour was found: {found.tolist()}")
    return "4 of 4 neighbours right"


def _codecs() -> str:
    from PIL import features

    missing = [name for name in ("jpg", "zlib", "webp") if not features.check(name)]
    if missing:
        raise RuntimeError(f"Pillow lacks {', '.join(missing)}; install Pillow's own wheel")
    return "JPEG, PNG, WebP"


def _write() -> str:
    from recgan.artifacts import open_artifact, write_artifact

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "artifact"
        with write_artifact(path, kind="doctor", format_version=1, name="toy", config={}, parents={}) as writer:
            writer.tensors("numbers", {"x": np.arange(3.0)})
        total = open_artifact(path, "doctor", format_version=1).tensors("numbers")["x"].sum()
    if total != 3.0:
        raise RuntimeError(f"3.0 was written and {total} read")
    return "written, checked and read back"
