"""How models that are to be compared are named: a model, a control of it, or the folder of a saved one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recgan.config import Settings
from recgan.errors import SettingsError, nearest_name
from recgan.recommenders.models.visual import CONTROLS
from recgan.recommenders.registry import recommender_names, recommender_type

__all__ = ["Contender", "contenders", "sees_features", "with_controls"]


@dataclass(frozen=True)
class Contender:
    """One model of a comparison."""

    name: str
    """In the report: ``vbpr``, ``vbpr:permuted``, or the folder as it was given."""
    model: str
    """The model's name, or the folder."""
    control: str | None = None
    """The features that a control is trained on instead of the real ones."""
    saved: bool = False

    @property
    def sees_features(self) -> bool:
        """Whether training it here needs an encoder's features."""
        return not self.saved and sees_features(self.model)

    def settings(self, given: Mapping[str, Settings]) -> Settings | None:
        """Return its settings from those given by name; a control takes those of its model. None: the defaults."""
        chosen = given.get(self.name) or given.get(self.model)
        if self.control is None:
            return chosen
        return (chosen or recommender_type(self.model).settings_type()).model_copy(update={"features": self.control})


def contenders(models: Sequence[str | Path], settings: Mapping[str, Settings] | None = None) -> list[Contender]:
    """Return the models that names (``vbpr``), controls (``vbpr:permuted``) and folders mean; a folder that is called
    like a model is written ``./vbpr``.

    Raises:
        SettingsError: an unknown model or control, none or one twice, or ``settings`` of one that is not trained here.
    """
    found = [_contender(model) for model in models]
    names = [one.name for one in found]
    if not found:
        raise SettingsError("give at least one model")
    if twice := [name for name in names if names.count(name) > 1]:
        raise SettingsError(f"'{twice[0]}' is given twice; give each model once")
    trained = {name for one in found if not one.saved for name in (one.name, one.model)}
    for name in settings or {}:
        recommender_type(name.partition(":")[0])
        if name not in trained:
            raise SettingsError(
                f"there are settings of '{name}', which is not trained here; add it to the models, or leave them out"
            )
    return found


def with_controls(models: Sequence[str | Path]) -> list[str | Path]:
    """Return the models, each visual one that is given by name followed by those of its controls not given already."""
    found: list[str | Path] = []
    for model in models:
        found.append(model)
        if isinstance(model, str) and model in recommender_names() and recommender_type(model).visual:
            found += [control for kind in _controls(model) if (control := f"{model}:{kind}") not in models]
    return found


def sees_features(name: str) -> bool:
    """Return whether a model looks at pictures through an encoder, and does not learn to see itself."""
    kind = recommender_type(name)
    return kind.visual and not kind.end_to_end


def _controls(name: str) -> tuple[str, ...]:
    """Return the controls of a visual model: one that learns from pixels can only be shown the wrong pictures."""
    return CONTROLS if sees_features(name) else ("permuted",)


def _contender(model: str | Path) -> Contender:
    text = str(model)
    name, _, control = text.partition(":")
    if isinstance(model, str) and name in recommender_names():
        if not control:
            return Contender(text, name)
        if not recommender_type(name).visual:
            raise SettingsError(
                f"'{name}' does not look at pictures, so it has no control '{control}'; leave ':{control}' out"
            )
        if control not in (known := _controls(name)):
            hint = nearest_name(control, known) or f"; its controls are: {', '.join(known)}"
            raise SettingsError(f"'{name}' has no control '{control}'{hint}")
        return Contender(text, name, control)
    if Path(text).exists():
        return Contender(text, text, saved=True)
    hint = nearest_name(name, recommender_names()) or f"; the models are: {', '.join(recommender_names())}"
    raise SettingsError(f"'{text}' is neither a recommender nor the folder of one{hint}")
