"""Checkpoints: everything that a training run needs to go on as if it had never stopped.

A checkpoint is an artifact of its own (no pickle): ``networks``, ``optimisers``, ``rng`` and ``balance`` as
safetensors, the counters, what the run has noticed of itself and what it is (recipe, size, catalogue, …) in its
manifest. A new one is complete on
disk before the old one goes, so a run killed at any moment has one to go on from.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recgan.artifacts import open_artifact, write_artifact
from recgan.errors import ArtifactError
from recgan.gan.networks import load_network, network_arrays
from recgan.gan.training.steps import Adjusted, TrainingState
from recgan.resume import check_same

__all__ = ["latest_checkpoint", "load_checkpoint", "save_checkpoint"]

KIND = "gan-checkpoint"
FORMAT_VERSION = 3


def save_checkpoint(
    folder: Path, state: TrainingState, identity: Mapping[str, Any], history: Mapping[str, Any] | None = None
) -> Path:
    """Write a checkpoint into ``folder``, then remove the older ones; return its path.

    Args:
        identity: what the run is, JSON-able; a resumed run must have the same.
        history: what the run has noticed of itself, JSON-able; `load_checkpoint` gives it back.
    """
    target = folder / f"{state.images_seen:012d}"
    with write_artifact(
        target,
        kind=KIND,
        format_version=FORMAT_VERSION,
        name=target.name,
        config=identity,
        parents={},
        overwrite=True,
    ) as writer:
        writer.tensors(
            "networks",
            {
                f"{name}.{key}": array
                for name, network in state.networks().items()
                for key, array in network_arrays(network).items()
            },
        )
        writer.tensors(
            "optimisers",
            {
                f"{name}.{index}.{key}": tensor.cpu().numpy()
                for name, optimiser in state.optimisers().items()
                for index, entry in optimiser.state_dict()["state"].items()
                for key, tensor in entry.items()
            },
        )
        writer.tensors("rng", {"state": state.rng.get_state().numpy()})
        writer.tensors("balance", {"balance": state.balance.cpu().numpy()})
        writer.facts = {
            "images_seen": state.images_seen,
            "seconds": state.seconds,
            "adjusted": asdict(state.adjusted),
            "history": dict(history or {}),
        }
    for path in folder.iterdir():
        if path != target:  # older ones, and what a killed process left half-written
            shutil.rmtree(path, ignore_errors=True)
    return target


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint in ``folder``, or None when there is none."""
    found = sorted(path for path in folder.glob("[0-9]*") if path.is_dir())
    return found[-1] if found else None


def load_checkpoint(path: Path, state: TrainingState, identity: Mapping[str, Any]) -> dict[str, Any]:
    """Restore ``state``, made for the same recipe, from a checkpoint; return the history that was saved with it.

    Raises:
        MismatchError: the checkpoint is of another recipe, size, catalogue, …; the difference is told.
        ArtifactError: the checkpoint is damaged.
    """
    checkpoint = open_artifact(path, KIND, format_version=FORMAT_VERSION)
    check_same(path.parent.parent, checkpoint.manifest.config, identity)
    try:
        _restore_networks(state, checkpoint.tensors("networks"))
        _restore_optimisers(state, checkpoint.tensors("optimisers"))
    except (KeyError, IndexError, ValueError, RuntimeError) as error:  # torch's own words are many lines of shapes
        raise ArtifactError(
            f"checkpoint '{path}' was written by another version of recgan: its networks are not those of this one; "
            "train anew with --overwrite"
        ) from error
    state.rng.set_state(torch.from_numpy(checkpoint.tensors("rng")["state"]))
    state.balance = torch.from_numpy(checkpoint.tensors("balance")["balance"]).reshape(()).to(state.balance.device)
    state.images_seen = checkpoint.manifest.facts["images_seen"]
    state.seconds = checkpoint.manifest.facts["seconds"]
    state.adjusted = Adjusted(**checkpoint.manifest.facts["adjusted"])
    return checkpoint.manifest.facts["history"]


def _restore_networks(state: TrainingState, tensors: dict[str, np.ndarray]) -> None:
    for name, network in state.networks().items():
        load_network(network, {key: tensors[f"{name}.{key}"] for key in network.state_dict()})


def _restore_optimisers(state: TrainingState, tensors: dict[str, np.ndarray]) -> None:
    for name, optimiser in state.optimisers().items():
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        entries: dict[int, dict[str, torch.Tensor]] = {}
        for key, array in tensors.items():
            owner, index, entry = key.split(".")
            if owner == name:
                # Adam counts its steps in a scalar; its moments have the shape and memory layout of their parameter.
                like = torch.empty(()) if entry == "step" else parameters[int(index)]
                value = torch.empty_like(like).copy_(torch.from_numpy(array).reshape(like.shape))
                entries.setdefault(int(index), {})[entry] = value
        optimiser.load_state_dict({"state": entries, "param_groups": optimiser.state_dict()["param_groups"]})
