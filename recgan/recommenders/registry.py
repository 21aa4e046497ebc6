"""Recommenders by name, and their artifacts."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from recgan.artifacts import open_artifact
from recgan.config import Settings, complaint
from recgan.errors import ArtifactError, SettingsError, nearest_name
from recgan.recommenders.base import FORMAT_VERSION, KIND, Recommender

__all__ = ["create_recommender", "load_recommender", "recommender_names", "recommender_type"]

_MODELS: Mapping[str, str] = {
    "popularity": "popularity.Popularity",
    "repurchase": "repurchase.Repurchase",
    "category": "category.Category",
    "visual_knn": "visual_knn.VisualKNN",
    "ideal_point": "ideal_point.IdealPoint",
    "bpr": "implicit.ImplicitBPR",
    "als": "implicit.ImplicitALS",
    "bpr_mf": "bpr_mf.BPRMF",
    "warp": "warp.WARP",
    "vbpr": "vbpr.VBPR",
    "vbpr_ssm": "vbpr_ssm.VBPRSSM",
    "blend": "blend.Blend",
    "dvbpr": "dvbpr.DVBPR",
}


def recommender_names() -> list[str]:
    """Return the names of all models."""
    return list(_MODELS)


def recommender_type(name: str) -> type[Recommender]:
    """Return the class of a model, such as ``vbpr``; only its own file is imported.

    Raises:
        SettingsError: there is no model of that name.
    """
    if name not in _MODELS:
        hint = nearest_name(name, _MODELS) or f"; the models are: {', '.join(_MODELS)}"
        raise SettingsError(f"there is no recommender '{name}'{hint}")
    module, _, kind = _MODELS[name].partition(".")
    return getattr(importlib.import_module(f"recgan.recommenders.models.{module}"), kind)


def create_recommender(name: str, settings: Settings | None = None) -> Recommender:
    """Return an untrained model.

    Raises:
        SettingsError: there is no model of that name, or the settings are another model's.
    """
    return recommender_type(name)(settings)


def load_recommender(folder: str | Path) -> Recommender:
    """Load a model that `Recommender.save` wrote, after checking every file against its checksum.

    Its arrays are mapped from the file (`recgan.artifacts.Artifact.mapped`), so that processes share them.

    Raises:
        ArtifactError: no such artifact, or one that is damaged or of another kind or version.
    """
    artifact = open_artifact(folder, KIND, format_version=FORMAT_VERSION)
    manifest = artifact.manifest
    try:
        kind = recommender_type(manifest.name)
        settings = kind.settings_type(**manifest.config)
    except (SettingsError, ValidationError) as error:
        what = complaint(error) if isinstance(error, ValidationError) else error
        raise _of_another_version(folder, manifest.name, what) from error
    model = kind(settings)
    model.metrics = manifest.metrics
    model.digest = artifact.digest
    users = artifact.table("users")["user_id"].to_numpy(dtype=object)
    try:
        model.facts = {k: value for k, value in manifest.facts.items() if k not in ("category_names", "space")}
        model.space = manifest.facts.get("space")
        model.category_names = tuple(manifest.facts["category_names"])
        model.catalogue_digest = manifest.parents["catalogue"]
        model.split_digest = manifest.parents["split"]
        model.restore(users, artifact.table("items"), artifact.mapped("model"))
    except KeyError as error:
        raise _of_another_version(folder, manifest.name, f"it has no {error}") from error
    return model


def _of_another_version(folder: str | Path, name: str, why: object) -> ArtifactError:
    return ArtifactError(f"'{folder}' holds a '{name}' of another version of recgan ({why}); train it again")
