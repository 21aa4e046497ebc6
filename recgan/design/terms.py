"""The terms of an objective that say nothing of anybody's taste: real, of its class, near, unlike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from recgan.design.objective import Candidates, Term

__all__ = [
    "FeatureClouds",
    "calibrated_realism",
    "class_kept",
    "latent_shell",
    "leash",
    "least_squares_realism",
    "typicality",
    "unlike",
    "within_radius",
]

Distance = Callable[[Candidates], Tensor]
"""How far each candidate is from what its design must stay near, float32 [N]."""


def least_squares_realism(discriminator: Callable[[Tensor, Tensor], Tensor]) -> Term:
    """Return the term ``-(D(x, c) - 1)^2`` of Kang et al. 2017; ``discriminator`` gives logits [N]."""

    def term(candidates: Candidates) -> Tensor:
        return -((discriminator(candidates.images, candidates.class_index) - 1) ** 2)

    return term


def calibrated_realism(realism: Callable[[Tensor, Tensor], Tensor]) -> Term:
    """Return the term ``min(0, r(x, c))``; ``r`` is in standard deviations from the mean of real images.

    A candidate that looks as real as the average real image pays nothing, and gains nothing by looking more so: past
    that point the discriminator is only flattered. Below it each standard deviation costs one unit.
    """

    def term(candidates: Candidates) -> Tensor:
        return realism(candidates.images, candidates.class_index).clamp(max=0)

    return term


def latent_shell(std: float) -> Term:
    """Return the term ``-(|z| / std - sqrt(dim))^2``: the log density, up to a constant, of the length of z.

    For z ~ N(0, std^2) in many dimensions |z| / std is near N(sqrt(dim), 1/2): the prior's mass is a thin shell, and
    the generator has been trained nowhere else. The direction of z stays free.
    """

    def term(candidates: Candidates) -> Tensor:
        # The epsilon keeps the gradient finite at z = 0.
        length = (candidates.z.square().sum(dim=1) + 1e-12).sqrt() / std
        return -((length - math.sqrt(candidates.z.shape[1])) ** 2)

    return term


def within_radius(centre: Tensor, radius: Tensor) -> Term:
    """Return the term ``-max(0, |w - centre| / radius - 1)^2 dim``: the prior of a space without a shell, such as w.

    Args:
        centre: of each class, float32 [n_classes, dim].
        radius: root mean square distance of the class's points from it, float32 [n_classes].
    """

    def term(candidates: Candidates) -> Tensor:
        own = candidates.class_index
        far = ((candidates.z - centre[own]).square().sum(dim=1) + 1e-12).sqrt() / radius[own]
        return -((far - 1).clamp(min=0) ** 2) * candidates.z.shape[1]

    return term


@dataclass(frozen=True)
class FeatureClouds:
    """Where the pictures of each class lie in a space of features: Gaussians with one covariance for all classes.

    One covariance, of how pictures differ from their class's mean, is all that a class of few pictures can be given
    (Lee et al. 2018 tell outliers so).
    """

    see: Callable[[Tensor], Tensor]
    """From the encoder's features float [N, d] to the space's, float [N, width]: a whitening."""
    means: Tensor
    """float32 [n_classes, width]; zeros for a class without a picture."""
    precision: Tensor
    """Root of the inverse covariance, float32 [width, width]: |(f - mean) @ precision| is a Mahalanobis distance."""
    log_share: Tensor
    """Log of each class's share of the pictures, float32 [n_classes]; -inf for a class without a picture."""
    usual: Tensor
    """Mean and standard deviation over the pictures of their distance to their own class, float32 [2, n_classes]."""

    @classmethod
    def fitted(cls, features: np.ndarray, class_index: np.ndarray, n_classes: int, see: Callable, device: str) -> Self:
        """Return the clouds of features float [n, width] (in the space already) of the classes int64 [n]."""
        features = features.astype(np.float64)
        width = features.shape[1]
        counts = np.bincount(class_index, minlength=n_classes).astype(np.float64)
        means = np.zeros((n_classes, width))
        np.add.at(means, class_index, features)
        means /= np.maximum(counts, 1)[:, None]
        off = features - means[class_index]
        covariance = off.T @ off / len(off)
        # As if so many more pictures differed alike in all directions: of few pictures the covariance is no map.
        share = width / (width + len(off))
        covariance = (1 - share) * covariance + share * np.trace(covariance) / width * np.eye(width)
        variances, directions = np.linalg.eigh(covariance)
        precision = directions / np.sqrt(np.maximum(variances, 1e-9 * max(variances.max(), 1e-12)))
        far = np.linalg.norm(off @ precision, axis=1)
        usual = np.array([far.mean(), max(far.std(), 1e-6)])[:, None].repeat(n_classes, axis=1)
        for index in np.flatnonzero(counts > 1):
            own = far[class_index == index]
            # A class of few pictures is drawn towards all.
            weight = len(own) / (len(own) + 20)
            usual[:, index] += weight * (np.array([own.mean(), own.std()]) - usual[:, index])
        with np.errstate(divide="ignore"):
            log_share = np.log(counts / counts.sum())

        def on_device(values: np.ndarray) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        return cls(see, on_device(means), on_device(precision), on_device(log_share), on_device(usual))

    def distances(self, features: Tensor, class_index: Tensor) -> Tensor:
        """Return how far pictures are from the middle of their class, float32 [N], in standard deviations of the
        class's own pictures from the mean one; ``features`` [N, d] are the encoder's."""
        off = (self.see(features) - self.means[class_index]) @ self.precision
        far = (off.square().sum(dim=1) + 1e-12).sqrt()
        return (far - self.usual[0, class_index]) / self.usual[1, class_index]

    def log_probability(self, features: Tensor, class_index: Tensor) -> Tensor:
        """Return the log probability of each picture's own class by linear discriminant analysis, float32 [N]."""
        seen = self.see(features) @ self.precision
        squares = torch.cdist(seen, self.means @ self.precision).square()
        logits = self.log_share - 0.5 * squares
        return logits.log_softmax(dim=1).gather(1, class_index[:, None]).squeeze(1)


def typicality(clouds: FeatureClouds) -> Term:
    """Return the term ``min(0, -distance)``: what lies farther out than the usual picture of its class pays one unit a
    standard deviation. The features of adversarial pictures are far from all natural ones (Lee et al. 2018)."""

    def term(candidates: Candidates) -> Tensor:
        return (-clouds.distances(candidates.features, candidates.class_index)).clamp(max=0)

    return term


def class_kept(clouds: FeatureClouds, *, enough: float = 0.5) -> Term:
    """Return the term ``min(0, log p(class | picture) - log enough)``: nothing is gained beyond ``enough``."""

    def term(candidates: Candidates) -> Tensor:
        told = clouds.log_probability(candidates.features, candidates.class_index)
        return (told - math.log(enough)).clamp(max=0)

    return term


def leash(distance: Distance, length: float, *, unit: float | None = None) -> Term:
    """Return the term ``-max(0, distance - length) / unit``: free within the leash, then one a unit (default: a tenth
    of the length).

    ``distance`` tells how far candidates are from what their designs must stay near: by pixels, features or latents.
    """
    unit = unit if unit is not None else 0.1 * length

    def term(candidates: Candidates) -> Tensor:
        return -(distance(candidates) - length).clamp(min=0) / unit

    return term


def unlike(features: Tensor, see: Callable[[Tensor], Tensor]) -> Term:
    """Return the term ``-max cosine`` to given pictures, such as designs made before or what the shop has: diversity.

    Args:
        features: of the given pictures, float32 [m, width], as ``see`` gives them.
        see: from the encoder's features to those.
    """
    given = torch.nn.functional.normalize(features, dim=1)

    def term(candidates: Candidates) -> Tensor:
        seen = torch.nn.functional.normalize(see(candidates.features), dim=1)
        return -(seen @ given.T).amax(dim=1)

    return term
