"""k-means from given starts."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.cluster.vq import kmeans2

__all__ = ["k_means"]


def k_means(rows: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the centres float64 [k, d] and each row's cluster int [n], of rows [n, d] from starts [k, d].

    A cluster that runs empty stays where it was: there are then fewer kinds of rows than were looked for.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty", category=UserWarning)
        return kmeans2(rows.astype(np.float64), starts.astype(np.float64), minit="matrix", missing="warn")
