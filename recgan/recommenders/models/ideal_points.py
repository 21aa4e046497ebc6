"""Users' visual ideal points in closed form: what each user's pictures have in common, found without a training step.

Features of the items that a user took are seen as draws from a Gaussian around the user's own point, and these points
as draws from a Gaussian over all users (two-covariance PLDA; Ioffe, ECCV 2006). Both covariances are estimated from
the moments of the training pairs, that within users with as many isotropic observations of its own mean variance
counted in as there are dimensions (the posterior mean under an empirical inverse Wishart prior); what a user's few
items say is then shrunk as it should be, direction by direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh

from recgan.errors import DataError
from recgan.recommenders.data import USER_CHUNK, UserRows

__all__ = ["IdealPoints"]

_CHUNK = 1 << 16
"""Of items."""


@dataclass(frozen=True, eq=False)
class IdealPoints:
    """A user likes what lies near a point: score(u, i) = ln p(f_i | what u took) - ln p(f_i), up to a constant of u.

    In the coordinates z, every user's items have (as estimated) variance 1 around the user's point in each direction
    d, and the points themselves variance v_d around 0. After n items of mean m_d, the point's posterior has mean
    p_d = m_d n v_d / (n v_d + 1) and variance q_d = v_d / (n v_d + 1), so that the score is the sum over d of
    z_d p_d / (1 + q_d) - z_d^2 (1 / (1 + q_d) - 1 / (1 + v_d)) / 2: one inner product with [z, z^2].
    """

    mean: np.ndarray
    """float32 [width]"""
    directions: np.ndarray
    """float32 [width, dim]: z = (f - mean) @ directions."""
    variances: np.ndarray
    """float32 [dim]: v, descending, all above 0."""

    @classmethod
    def fit(cls, features: np.ndarray, taken: UserRows, dim: int) -> IdealPoints:
        """Estimate from what each user took and the items' features, float [n_items, width].

        The ``dim`` directions are those in which users differ most against how much their own items do; fewer, where
        users do not differ in so many, and none where they do not differ at all.

        Raises:
            DataError: no user has two items.
        """
        width = features.shape[1]
        counts = np.diff(taken.indptr)
        n_users, n = int((counts > 0).sum()), len(taken.items)
        if n == n_users or n_users < 2:
            raise DataError("ideal points need users with at least two items; use more interactions, or another model")
        squares, between, total = np.zeros((width, width)), np.zeros((width, width)), np.zeros(width)
        times = np.bincount(taken.items, minlength=len(features)).astype(np.float64)
        for start in range(0, len(features), _CHUNK):
            seen = np.asarray(features[start : start + _CHUNK], dtype=np.float64)
            often = times[start : start + _CHUNK]
            squares += (seen * often[:, None]).T @ seen
            total += often @ seen
        mean = total / n
        squares -= n * np.outer(mean, mean)
        for start in range(0, len(counts), USER_CHUNK):
            own = counts[start : start + USER_CHUNK, None]
            centred = taken.sums(features, start, start + USER_CHUNK) - own * mean
            centred /= np.sqrt(np.maximum(own, 1))
            between += centred.T @ centred
        within = (squares - between) / (n - n_users)
        # The usual moment estimate of a one-way analysis of variance with unequal groups.
        group = (n - (counts.astype(np.float64) ** 2).sum() / n) / (n_users - 1)
        of_points = (between / (n_users - 1) - within) / group
        spread = np.trace(within) / width
        if not spread > 0:
            return cls(mean.astype(np.float32), np.zeros((width, 0), np.float32), np.zeros(0, np.float32))
        # What few items say of many directions is not enough to divide by: see the module's docstring.
        degrees = n - n_users
        within *= degrees / (degrees + width)
        within[np.diag_indices(width)] += width / (degrees + width) * spread
        variances, directions = eigh(of_points, within)
        order = np.argsort(-variances, kind="stable")[:dim]
        order = order[variances[order] > 0]
        directions = directions[:, order]
        largest = np.abs(directions).argmax(axis=0)
        directions = directions * np.sign(directions[largest, np.arange(len(order))])
        return cls(mean.astype(np.float32), directions.astype(np.float32), variances[order].astype(np.float32))

    @property
    def dim(self) -> int:
        """Number of directions."""
        return len(self.variances)

    def users(self, sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Return users' vectors float32 [U, 2 dim] from the sums [U, dim] of z over their items and the counts [U]."""
        posterior = self.variances / (counts[:, None] * self.variances + 1)
        precision = 1 / (1 + posterior)
        squares = -(precision - 1 / (1 + self.variances)) / 2
        return np.concatenate([sums * posterior * precision, squares], axis=1).astype(np.float32)
