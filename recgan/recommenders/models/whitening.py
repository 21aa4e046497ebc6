"""PCA-whitening: from an encoder's many correlated features to a chosen number of uncorrelated ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch

from recgan.errors import DataError

__all__ = ["Whitening"]

_CHUNK = 8192
_FITTED_ROWS = 200_000
"""Of a larger catalogue a seeded sample of so many rows is enough to fit on."""
_RELATIVE_SPREAD = 1e-5
"""Columns that vary less than this, against their mean or the column that varies most, are taken as constant."""
_RELATIVE_RANK = 1e-8
"""Directions with less variance than this share of the largest are taken as constant."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """The linear map ``(x - mean) @ matrix``.

    Over the items that it was fitted on, the results have mean 0, are uncorrelated and have a mean squared length of 1,
    so that learning rates and regularisation mean the same at any width and for any encoder.
    """

    mean: np.ndarray
    """float32 [d]"""
    matrix: np.ndarray
    """float32 [d, width]"""
    _rows_at_once: ClassVar[int] = _CHUNK
    _on_device: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        """Number of dimensions it gives."""
        return self.matrix.shape[1]

    @classmethod
    def fit(cls, features: np.ndarray, width: int, rows: np.ndarray | None = None, *, power: float = 1.0) -> Whitening:
        """Fit on ``features`` [N, d] (may be a memory map, read in chunks), or on the rows that the mask [N] selects.

        Columns are brought to one variance first, so that the scale on which an encoder gives one kind of feature or
        another does not matter. With ``power`` 1 all directions get equal variance; with 0 they keep theirs (plain
        PCA); in between, a direction's variance v becomes v^(1 - power): what tells apart many items still weighs more
        than a detail.

        The width is smaller than asked for where the features have fewer directions that vary at all. The covariance
        is summed in float64; signs are settled, so the same features give the same map.

        Raises:
            DataError: fewer than two rows, a feature that is not finite, or rows that are all alike.
        """
        chosen = np.arange(len(features)) if rows is None else np.flatnonzero(rows)
        if len(chosen) > _FITTED_ROWS:
            chosen = np.sort(np.random.default_rng(0).choice(chosen, _FITTED_ROWS, replace=False))
        if len(chosen) < 2:
            raise DataError(f"whitening needs the features of at least two items, here are {len(chosen)}")
        dim = features.shape[1]
        total = np.zeros(dim)
        for start in range(0, len(chosen), _CHUNK):
            part = features[chosen[start : start + _CHUNK]].astype(np.float64)
            if not np.isfinite(part).all():
                row = chosen[start + int(np.flatnonzero(~np.isfinite(part).all(axis=1))[0])]
                raise DataError(f"the features in row {row} (counted from 0) are not finite; give features that are")
            total += part.sum(axis=0)
        mean = total / len(chosen)
        covariance = np.zeros((dim, dim))
        for start in range(0, len(chosen), _CHUNK):
            part = features[chosen[start : start + _CHUNK]].astype(np.float64) - mean
            covariance += part.T @ part
        covariance /= len(chosen)
        spread = np.sqrt(np.diag(covariance))
        # What rounding alone leaves of a column that never varies is no variance.
        varies = spread > _RELATIVE_SPREAD * np.maximum(np.abs(mean), spread.max())
        if not varies.any():
            raise DataError("the features of all items are the same; there is nothing visual to learn from")
        to_unit = np.where(varies, 1 / np.where(varies, spread, 1), 0)
        variances, directions = np.linalg.eigh(covariance * to_unit[:, None] * to_unit)
        variances, directions = variances[::-1], directions[:, ::-1]
        width = min(width, int(np.count_nonzero(variances > _RELATIVE_RANK * variances[0])))
        directions = directions[:, :width]
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(width)])
        kept = variances[:width]
        matrix = to_unit[:, None] * directions * np.sqrt(kept**-power / (kept ** (1 - power)).sum())
        return cls(mean.astype(np.float32), matrix.astype(np.float32))

    def apply(self, features: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return what `__call__` does for ``features`` [N, d]: float32 [N, width], or in ``out``; both may be maps.

        Raises:
            DataError: a feature is not finite, or gives something too large for ``out``.
        """
        if out is None:
            out = np.empty((len(features), self.width), dtype=np.float32)
        for start in range(0, len(features), self._rows_at_once):
            part = slice(start, start + self._rows_at_once)
            with np.errstate(invalid="ignore", over="ignore"):  # told below, by the row
                out[part] = self._applied(features[part])
            fine = np.isfinite(out[part]).all(axis=1)
            if not fine.all():
                row = start + int(fine.argmin())
                raise DataError(
                    f"the features in row {row} (counted from 0) are not finite or far too large; "
                    "give features that are neither"
                )
        return out

    def _applied(self, features: np.ndarray) -> np.ndarray:
        return (features - self.mean) @ self.matrix

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return the same for a tensor [N, d], on its device, with gradients."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise DataError(f"features must be [N, {len(self.mean)}], not {list(features.shape)}")
        if features.device not in self._on_device:
            with torch.inference_mode(False):  # kept for later calls, which may want gradients
                self._on_device[features.device] = (
                    torch.from_numpy(self.mean).to(features.device),
                    torch.from_numpy(self.matrix).to(features.device),
                )
        mean, matrix = self._on_device[features.device]
        return (features.float() - mean) @ matrix
