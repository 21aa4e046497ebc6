"""The style oracle: the true taste of simulated users, which scores any image.

A user's utility of an item is::

    utility = taste + affinity[user, category] + popularity[item]        (+ Gumbel noise when the user chooses)
    taste   = -scale (d2 - mean(d2)) / std(d2),    d2 = sum_d weight[user, d] (style[d] - ideal[user, d])^2

with the style standardised within the category and ``mean`` and ``std`` taken over the catalogue's available items,
so that every user's taste counts alike. Only the taste term depends on pixels. Being quadratic in the style s, it is
linear in (s^2, s): a user is one row of coefficients, and scoring is a product of matrices.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from recgan.artifacts import sha256_file
from recgan.dataset.bundle import Bundle
from recgan.dataset.style import DESCRIPTOR_NAMES, style_descriptors
from recgan.errors import ArtifactError, DataError, NotFoundError, nearest_id, nearest_name

__all__ = ["ORACLE_PARTS", "StyleOracle", "StyleStandard", "taste_coefficients"]

ORACLE_PARTS = ("oracle.json", "oracle.safetensors")
_FORMAT = 1
_SCORES = 4_000_000


@dataclass(frozen=True)
class StyleStandard:
    """Standardises style descriptors within the category.

    A category's mean is its own; its variance is shrunk towards the pooled variance within categories, as if
    ``shrinkage`` more items with that variance were there, so that a category of one item has a usable spread.
    """

    mean: np.ndarray
    """float32 [C, D]"""
    std: np.ndarray
    """float32 [C, D]"""
    limit: float
    """Standardised descriptors are clipped to [-limit, limit], so that no odd image decides anything."""

    @classmethod
    def fitted(
        cls, style: np.ndarray, category: np.ndarray, n_categories: int, *, shrinkage: float, limit: float
    ) -> Self:
        """Return the standard of descriptors float32 [N, D] of items of the categories int64 [N]."""
        counts = np.bincount(category, minlength=n_categories).astype(np.float64)[:, None]
        style = style.astype(np.float64)
        sums = np.zeros((n_categories, style.shape[1]))
        np.add.at(sums, category, style)
        # A category without a picture: the mean of all.
        mean = np.where(counts > 0, sums / np.maximum(counts, 1), style.mean(axis=0))
        squares = np.zeros_like(sums)
        np.add.at(squares, category, (style - mean[category]) ** 2)
        pooled = squares.sum(axis=0) / len(style)
        # A descriptor that never varies within a category tells nothing; 1 keeps it finite and at zero.
        pooled = np.where(pooled > 1e-12, pooled, 1.0)
        variance = (squares + shrinkage * pooled) / (counts + shrinkage)
        return cls(mean.astype(np.float32), np.sqrt(variance).astype(np.float32), limit)

    def __call__(self, style: np.ndarray, category: np.ndarray) -> np.ndarray:
        """Return standardised descriptors float32 [N, D]; ``category`` int64 [N]."""
        standardised = (style - self.mean[category]) / self.std[category]
        return np.clip(standardised, -self.limit, self.limit).astype(np.float32)


def taste_coefficients(
    ideals: np.ndarray, weights: np.ndarray, style: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients float32 [U, 2 D] of (s^2, s) and the constants float32 [U] of the users' taste.

    Over the rows of ``style`` [N, D] (standardised), each user's taste has mean 0 and standard deviation ``scale``.
    """
    terms = np.concatenate([style**2, style], axis=1).astype(np.float64)
    middle = terms.mean(axis=0)
    spread = np.cov(terms, rowvar=False, bias=True)
    distance = np.concatenate([weights, -2 * weights * ideals], axis=1).astype(np.float64)
    deviation = np.sqrt(np.maximum(np.einsum("ui,ij,uj->u", distance, spread, distance), 1e-12))
    coefficients = -scale * distance / deviation[:, None]
    return coefficients.astype(np.float32), (-coefficients @ middle).astype(np.float32)


class StyleOracle:
    """What is true of the simulated users of a bundle; made by `simulate_users`, opened with `StyleOracle.load`."""

    def __init__(
        self,
        *,
        user_ids: np.ndarray,
        category_names: list[str],
        category_index: np.ndarray,
        catalogue_digest: str,
        standard: StyleStandard,
        arrays: dict[str, np.ndarray],
        facts: dict[str, Any],
    ) -> None:
        self.user_ids = user_ids
        """Sorted ids of the users, object [U]."""
        self.category_names = category_names
        self.category_index = category_index
        """Category of each item, int64 [n_items]."""
        self.catalogue_digest = catalogue_digest
        self.standard = standard
        self.style = arrays["style"]
        """Standardised descriptors of the items, float32 [n_items, D]; zeros for an item without a picture."""
        self.ideals = arrays["ideals"]
        """float32 [U, D]"""
        self.weights = arrays["weights"]
        """float32 [U, D], each row sums to 1."""
        self.ideal_items = arrays["ideal_items"]
        """The held-out item (dense index) whose style is the user's ideal, int64 [U]; -1 where ideals are random."""
        self.liked = arrays["liked"]
        """Liked categories int32 [U, L], -1 beyond the last one."""
        self.affinity = arrays["affinity"]
        """Utility of each liked category, float32 [U, L]."""
        self.popularity = arrays["popularity"]
        """float32 [n_items]"""
        self.coefficients = arrays["coefficients"]
        """float32 [U, 2 D]: `taste_coefficients`."""
        self.constants = arrays["constants"]
        """float32 [U]"""
        self.facts = facts
        """Preset, its constants and the settings of the simulation."""

    @classmethod
    def load(cls, bundle: Bundle) -> Self:
        """Open the oracle that is kept in a bundle of simulated users.

        Raises:
            DataError: the bundle's users are not simulated.
            ArtifactError: the oracle is damaged, of another version, or of another catalogue.
        """
        if any(part not in bundle.header.parts for part in ORACLE_PARTS):
            raise DataError(
                f"bundle '{bundle.path}' has no oracle, since its users are not simulated; "
                f"make some with 'recgan simulate {bundle.path} --out {bundle.path}-users'"
            )
        again = "simulate the users again with 'recgan simulate'"
        try:
            for part in ORACLE_PARTS:
                if sha256_file(bundle.path / part) != bundle.header.parts[part]:
                    raise ValueError(f"part '{part}' does not match its checksum")
            about = json.loads((bundle.path / ORACLE_PARTS[0]).read_text(encoding="utf-8"))
            arrays = load_file(bundle.path / ORACLE_PARTS[1])
            if about["format"] != _FORMAT or tuple(about["descriptors"]) != DESCRIPTOR_NAMES:
                raise ArtifactError(f"'{bundle.path}': the oracle is of another version of recgan; {again}")
            if about["catalogue_digest"] != bundle.catalogue_digest:
                raise ArtifactError(f"'{bundle.path}': the oracle belongs to another catalogue; {again}")
            return cls(
                user_ids=np.array(about["user_ids"], dtype=object),
                category_names=bundle.category_names,
                category_index=bundle.category_index,
                catalogue_digest=about["catalogue_digest"],
                standard=StyleStandard(arrays["mean"], arrays["std"], about["facts"]["constants"]["limit"]),
                arrays=arrays,
                facts=about["facts"],
            )
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise ArtifactError(f"'{bundle.path}': the oracle is damaged ({error}); {again}") from error

    def write(self, folder_path: Path) -> None:
        """Write the oracle's parts (`ORACLE_PARTS`) into a folder."""
        names = ("style", "ideals", "weights", "ideal_items", "liked", "affinity", "popularity", "coefficients")
        arrays = {name: getattr(self, name) for name in (*names, "constants")}
        arrays |= {"mean": self.standard.mean, "std": self.standard.std}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder_path / ORACLE_PARTS[1])
        about = {
            "format": _FORMAT,
            "descriptors": DESCRIPTOR_NAMES,
            "catalogue_digest": self.catalogue_digest,
            "facts": self.facts,
            "user_ids": self.user_ids.tolist(),
        }
        (folder_path / ORACLE_PARTS[0]).write_text(json.dumps(about, ensure_ascii=False) + "\n", encoding="utf-8")

    @cached_property
    def _user_index(self) -> pd.Index:
        return pd.Index(self.user_ids)

    def user_rows(self, user_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Return the rows int64 [n] of users.

        Raises:
            NotFoundError: an id is not among the simulated users.
        """
        wanted = np.asarray(user_ids, dtype=object)
        rows = self._user_index.get_indexer(pd.Index(wanted))
        if (rows < 0).any():
            missing = str(wanted[rows < 0][0])
            hint = nearest_id(missing, self._user_index)
            raise NotFoundError(f"user '{missing}' is not one of the {len(self.user_ids):,} simulated users{hint}")
        return rows.astype(np.int64)

    def taste(self, user_ids: Sequence[str] | np.ndarray, pixels: np.ndarray, categories: Sequence[str]) -> np.ndarray:
        """Return how well each user likes the looks of each image, float32 [U, N]: the taste term only.

        Comparable across images and categories for one user: over the catalogue it has mean 0 and the standard
        deviation of the preset's ``taste_scale``.

        Args:
            user_ids: U simulated users.
            pixels: uint8 [N, S, S, 3], any S: designs and real items alike.
            categories: the name of each image's category.

        Raises:
            NotFoundError: an unknown user or category.
            ValueError: ``pixels`` are not uint8 [N, S, S, 3], or not one category an image.
        """
        if len(categories) != len(pixels):
            raise ValueError(f"{len(categories)} categories for {len(pixels)} images")
        lookup = {name: index for index, name in enumerate(self.category_names)}
        for name in categories:
            if name not in lookup:
                raise NotFoundError(f"the catalogue has no category '{name}'{nearest_name(name, lookup)}")
        index = np.array([lookup[name] for name in categories], dtype=np.int64)
        style = self.standard(style_descriptors(pixels), index)
        return self._taste(self.user_rows(user_ids), style)

    def taste_of_items(self, user_ids: Sequence[str] | np.ndarray, items: np.ndarray) -> np.ndarray:
        """Return the same of items (dense indices int64 [N]) by their first pictures, float32 [U, N]."""
        return self._taste(self.user_rows(user_ids), self.style[items])

    def utility(self, user_ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Return the noise-free utility of every item of the catalogue, float32 [U, n_items]: taste, affinity and
        popularity. Ask for some hundreds of users at a time where the catalogue is large."""
        rows = self.user_rows(user_ids)
        out = np.empty((len(rows), len(self.style)), dtype=np.float32)
        # Some users at a time, so that what is in between stays small beside the answer.
        step = max(1, _SCORES // max(len(self.style), len(self.category_names)))
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            part = out[start : start + step]
            part[:] = self._taste(block, self.style)
            part += self.popularity
            liking = np.zeros((len(block), len(self.category_names) + 1), dtype=np.float32)
            # The last column takes the -1 of users with fewer liked categories; no item is in it.
            np.put_along_axis(liking, self.liked[block].astype(np.int64), self.affinity[block], axis=1)
            part += liking[:, self.category_index]
        return out

    def _taste(self, rows: np.ndarray, style: np.ndarray) -> np.ndarray:
        terms = np.concatenate([style**2, style], axis=1)
        return self.coefficients[rows] @ terms.T + self.constants[rows][:, None]
