"""`blend`: several models' scores added up, by weights that validation chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from pydantic import ValidationError

from recgan.config import BlendSettings, LookSettings, Settings, complaint
from recgan.device import resolve_device
from recgan.errors import SettingsError
from recgan.progress import Progress
from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData
from recgan.recommenders.models.visual import VisualRecommender
from recgan.recommenders.registry import create_recommender, recommender_type
from recgan.recommenders.training.checkpoint import identity, look
from recgan.recommenders.training.validation import Validation, best_value

__all__ = ["Blend"]

_SHARES = (0.0, 0.9)
"""Of a weight w, as w / (1 + w): what a part brings, beside the first."""
_SHARE_TOLERANCE = 0.02
_OFFSETS = 2.0
"""Of cold items at most, down or up, in standard deviations of all parts' scores together."""
_OFFSET_TOLERANCE = 0.01
_ROUNDS = 2
_SHARED = {
    "user_factors",
    "item_factors",
    "seen_indptr",
    "seen_items",
    "item_features",
    "whitening_mean",
    "whitening_matrix",
    "smoothing_anchors",
}
"""What parts have in common with the blend, or as columns of its own: kept once."""


class Blend(VisualRecommender):
    """score(u, i) = w_1 s_1(u, i) + w_2 s_2(u, i) + …, and the same constant for all items that nobody took.

    Still one inner product: of the parts' vectors put side by side. Each part is trained by itself; the weights are
    those of the best validation figure (stacking), in units that make all parts' scores vary alike. A part that does
    not help, as latent factors do not where an item is taken once on average, has weight 0 and is left out.
    """

    name = "blend"
    resumable = True
    settings_type = BlendSettings
    chosen_by_validation: ClassVar[Mapping[str, str]] = {"weights": "weights", "cold_bias": "cold_bias"}
    settings: BlendSettings

    def __init__(self, settings: Settings | None = None) -> None:
        """Raises: SettingsError for options that a part has not, told before anything is trained."""
        super().__init__(settings)
        for name in self.settings.parts:
            self._part(name)

    def _train(self, data: TrainingData, seed: int, device: str, progress: Progress) -> None:
        names = self.settings.parts
        self._look(data, self.settings, seed)
        self._begin(data, seed, device)
        parts = [self._fit(self._part(name), data, seed, device, progress) for name in names]
        cold = data.item_counts == 0
        spreads = np.array([_spread(part) for part in parts])
        unit = spreads[0] or 1.0
        units = unit / np.maximum(spreads, 1e-12)
        constant = np.ones((data.n_users, 1), dtype=np.float32)
        offset = np.zeros((data.n_items, 1), dtype=np.float32)
        items = np.concatenate([offset, *(part.item_factors for part in parts)], axis=1)

        def users(weights: np.ndarray) -> np.ndarray:
            own = [np.float32(w) * part.user_factors for w, part in zip(weights * units, parts)]
            return np.concatenate([constant, *own], axis=1)

        validation = Validation(data, self.settings.criterion)
        weights, self._offset = self._choose(validation, users, items, unit, cold)
        kept = weights > 0
        self._parts = [part for part, keep in zip(parts, kept) if keep]
        self._weights = (weights * units)[kept].tolist()
        columns = np.append(True, np.repeat(kept, [part.item_factors.shape[1] for part in parts]))
        self.user_factors, self.item_factors = users(weights)[:, columns], items[:, columns]
        self._new = [_of_new_item(part, cold) for part in self._parts]
        self._share()
        judged = len(validation.users) > 0
        if judged or self.settings.weights is not None:
            self.metrics |= {f"weight_{name}": float(weight) for name, weight in zip(names, weights)}
        if judged or self.settings.cold_bias is not None:
            self.metrics["cold_bias"] = self._offset
        if judged:
            self.metrics[validation.metric] = validation(self.user_factors, self.item_factors)
            for part in self._parts:
                chosen = part.metrics.keys() & set(part.chosen_by_validation.values())
                self.metrics |= {f"{part.name}.{figure}": part.metrics[figure] for figure in sorted(chosen)}

    def _begin(self, data: TrainingData, seed: int, device: str) -> None:
        """Refuse to go on with another training, and say from now on which one it is."""
        if self._checkpoints is None:
            return
        own = identity(self.name, self.settings, seed, resolve_device(device).type, data, look(data))
        if self._checkpoints.begin(own) is None:
            self._checkpoints.save(0, {})

    def _fit(self, part: Recommender, data: TrainingData, seed: int, device: str, progress: Progress) -> Recommender:
        kept = self._checkpoints.part(part.name) if self._checkpoints and part.resumable else None
        return part.fit(data, seed=seed, device=device, progress=progress, checkpoints=kept)

    def _choose(
        self,
        validation: Validation,
        users: Callable[[np.ndarray], np.ndarray],
        items: np.ndarray,
        unit: float,
        cold: np.ndarray,
    ) -> tuple[np.ndarray, float]:
        """Return the parts' weights and what cold items get, which is then in the first column of their factors.

        One is chosen after the other, the first weight staying 1, since only ratios matter.
        """
        s = self.settings
        weights = np.array(s.weights if s.weights is not None else np.ones(len(s.parts)), dtype=np.float64)
        offset = s.cold_bias or 0.0
        items[cold, 0] = offset

        def by_share(share: float, place: int) -> float:
            weights[place] = share / (1 - share)
            return validation(users(weights), items)

        def by_offset(value: float) -> float:
            items[cold, 0] = value
            return validation(chosen, items)

        free = range(1, len(weights)) if s.weights is None and len(validation.users) else range(0)
        for place in free:
            weights[place] = 0
        for _ in range(_ROUNDS if len(validation.users) else 0):
            for place in free:
                start = weights[place] / (1 + weights[place])
                share, _ = best_value(partial(by_share, place=place), start, _SHARES, _SHARE_TOLERANCE)
                weights[place] = share / (1 - share)
            if s.cold_bias is None and cold.any():
                chosen, most = users(weights), _OFFSETS * unit * weights.sum()
                offset, _ = best_value(by_offset, offset, (-most, most), _OFFSET_TOLERANCE * most)
                items[cold, 0] = offset
        return weights, offset

    def _part(self, name: str) -> Recommender:
        kind = recommender_type(name)
        options: dict[str, Any] = dict(self.settings.options.get(name, {}))
        if kind.visual:  # all look through one whitening
            shared = set(LookSettings.model_fields)
            if own := sorted(shared & options.keys()):
                raise SettingsError(f"options of {name}: set {own[0]} for the whole blend")
            options |= self.settings.model_dump(include=shared)
        try:
            settings: Settings = kind.settings_type(**options)
        except ValidationError as error:
            raise SettingsError(f"options of {name}: {complaint(error)}") from error
        return create_recommender(name, settings)

    def chosen_settings(self) -> BlendSettings:
        """Return the settings with the weights and what the parts chose filled in, without the parts of weight 0; what
        nothing chose is left open."""
        options = {}
        for part in self._parts:
            chosen, own = part.chosen_settings(), self.settings.options.get(part.name, {})
            fields = type(chosen).model_fields.keys() - LookSettings.model_fields.keys()
            changed = {f: getattr(chosen, f) for f in sorted(fields) if getattr(chosen, f) != getattr(part.settings, f)}
            options[part.name] = {**own, **changed}
        names = tuple(part.name for part in self._parts)
        weights = [self.metrics.get(f"weight_{name}") for name in names]
        found = {
            "parts": names,
            "options": options,
            "weights": None if None in weights else tuple(weights),
            "cold_bias": self.metrics.get("cold_bias"),
        }
        return BlendSettings(**{**self.settings.model_dump(), **found})

    def _pieces(self) -> Iterator[tuple[Recommender, slice, float]]:
        """Go through the parts, with the columns that are theirs and the weight that is in the users' ones."""
        start = 1
        for part, weight, row in zip(self._parts, self._weights, self._new):
            yield part, slice(start, start + len(row)), weight
            start += len(row)

    def _share(self) -> None:
        """Let the parts see the blend's items, of which there may be more than they were trained on."""
        for part, columns, weight in self._pieces():
            part.item_factors = self.item_factors[:, columns]
            part.user_factors = self.user_factors[:, columns] / np.float32(weight)
            if isinstance(part, VisualRecommender):
                part.item_features = self.item_features

    def factors_from(self, features: torch.Tensor, categories: torch.Tensor | None = None) -> torch.Tensor:
        """Return what the parts that see make of the features, beside what the others hold of any new item."""
        own = [features.new_full((len(features), 1), self._offset)]
        for part, row in zip(self._parts, self._new):
            if isinstance(part, VisualRecommender):
                own.append(part.factors_from(features, categories))
            else:
                own.append(torch.as_tensor(row, device=features.device).expand(len(features), -1))
        return torch.cat(own, dim=1)

    def add_items(self, item_ids: Sequence[str], images: Any, categories: Sequence[str]) -> None:
        """Add new items; see `VisualRecommender.add_items`."""
        super().add_items(item_ids, images, categories)
        self._share()

    def _fold_in(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        own = [
            np.float32(weight) * np.asarray(part._fold_in(liked[:, columns], disliked[:, columns], seen), np.float32)
            for part, columns, weight in self._pieces()
        ]
        return np.concatenate([np.ones(1, np.float32), *own])

    def _contributions(self, liked: np.ndarray, disliked: np.ndarray, seen: np.ndarray) -> np.ndarray:
        own = [
            weight * part._contributions(liked[:, columns], disliked[:, columns], seen)
            for part, columns, weight in self._pieces()
        ]
        return np.concatenate([np.zeros((len(liked), 1)), *own], axis=1)

    def factor_parts(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Return the parts' parts, those of one name together; the constant of new items is popularity."""
        found: dict[str, np.ndarray] = {"popularity": np.zeros((len(rows), self.item_factors.shape[1]))}
        found["popularity"][:, 0] = self.item_factors[rows, 0]
        for part, columns, _ in self._pieces():
            for name, values in part.factor_parts(rows).items():
                found.setdefault(name, np.zeros_like(found["popularity"]))[:, columns] += values
        return found

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the arrays that the artifact holds."""
        weights = {part.name: weight for part, weight in zip(self._parts, self._weights)}
        own = {"blend_weights": np.array([*(weights.get(name, 0.0) for name in self.settings.parts), self._offset])}
        for part, row in zip(self._parts, self._new):
            own[f"{part.name}.new"] = row
            own |= {f"{part.name}.{key}": value for key, value in part.tensors().items() if key not in _SHARED}
        return {**super().tensors(), **own}

    def restore(self, user_ids: np.ndarray, items: pd.DataFrame, tensors: Mapping[str, np.ndarray]) -> None:
        """Take over what an artifact holds."""
        super().restore(user_ids, items, tensors)
        *weights, self._offset = (float(value) for value in tensors["blend_weights"])
        self._weights = [weight for weight in weights if weight > 0]
        names = [name for name, weight in zip(self.settings.parts, weights) if weight > 0]
        self._parts = [self._part(name) for name in names]
        self._new = [tensors[f"{name}.new"] for name in names]
        self._share()
        for part in self._parts:
            part.category_names, part.facts = self.category_names, self.facts
            prefix = f"{part.name}."
            part.metrics = {
                key.removeprefix(prefix): self.metrics[key] for key in self.metrics if key.startswith(prefix)
            }
            shared = {key: tensors[key] for key in _SHARED if key in tensors}
            shared |= {"user_factors": part.user_factors, "item_factors": part.item_factors}
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            try:
                part.restore(user_ids, items, {**shared, **own})
            except KeyError as error:
                raise KeyError(f"{part.name}.{error.args[0]}") from error


def _spread(model: Recommender) -> float:
    """Return by how much a model's scores differ among the items for one user: the root of the mean variance."""
    users, items = model.user_factors.astype(np.float64), model.item_factors.astype(np.float64)
    return float(np.sqrt(np.trace(np.atleast_2d(np.cov(items.T, bias=True)) @ (users.T @ users)) / len(users)))


def _of_new_item(part: Recommender, cold: np.ndarray) -> np.ndarray:
    """Return the factors that an item to come has in a part that sees nothing: those of the items that nobody took."""
    width = part.item_factors.shape[1]
    return part.item_factors[cold].mean(axis=0) if cold.any() else np.zeros(width, dtype=np.float32)
