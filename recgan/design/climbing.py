"""Ways to better a block of starting points: the strategies of the search, behind one signature.

A strategy is given a `Climb` (the space, the objective, one block of rows and what the settings say) and returns the
points that it keeps, float32 [N, dz]. Rows never look at each other, and what is random in a row comes from that row's
own generator. ``climb.step`` is to be told after each step: it shows progress, and raising from it stops the search.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from recgan.config import DesignSettings
from recgan.design.objective import Candidates, Objective
from recgan.design.space import Space, finite
from recgan.errors import NotFoundError

__all__ = ["STRATEGIES", "Climb", "Strategy", "adam", "cma_es", "langevin"]


@dataclass(frozen=True)
class Climb:
    """One block of rows that are bettered together."""

    space: Space
    objective: Objective
    z: Tensor
    """Where the rows start, float32 [N, dz]."""
    class_index: Tensor
    """int64 [N]"""
    settings: DesignSettings
    design: Tensor
    """Which design each row belongs to, int64 [N]."""
    draws: Sequence[np.random.Generator]
    """One a row."""
    std: float = 1.0
    """Spread of the space's prior."""
    validate: Callable[[Candidates], Tensor] | None = None
    """A scorer that is held back, [N], of 8-bit images: the point that it likes best is kept, and a climb that it has
    not liked better for ``settings.patience`` looks ends."""
    step: Callable[[Tensor, Tensor | None], None] = field(default=lambda values, images: None)
    """Told after each step: the rows' values [N] and, where they are at hand, their images [N, 3, S, S]."""
    over: Callable[[], bool] = lambda: False
    """Asked before each step: whether the time is up."""

    def see(self, z: Tensor, *, viewed: bool = True) -> Candidates:
        """Return the candidates at ``z``, differentiably; with ``viewed`` through random views where there are any."""
        return self.space.see(z, self.class_index, self.design, self.draws if viewed else None)

    def judge(self, z: Tensor) -> Tensor:
        """Return the objective at ``z`` without views and gradients, float32 [N]."""
        with torch.no_grad():
            return finite(self.objective(self.see(z, viewed=False)))


_SPREAD = 0.3
"""Of CMA-ES's first generation, in standard deviations of the prior."""

Strategy = Callable[[Climb], Tensor]


class _Best:
    """The best point of each row so far, by the objective or by the scorer that is held back."""

    def __init__(self, climb: Climb) -> None:
        self.climb = climb
        self.kept = climb.z.detach().clone()
        self.highest = torch.full((len(climb.z),), -torch.inf, device=climb.z.device)
        self.stale = 0

    def offer(self, z: Tensor, values: Tensor) -> None:
        better = values > self.highest
        self.highest = torch.where(better, values, self.highest)
        self.kept = torch.where(better[:, None], z, self.kept)
        self.stale = 0 if bool(better.any()) else self.stale + 1

    def look(self, step: int, z: Tensor, values: Tensor) -> bool:
        """Remember a point that was seen in passing; return whether the climb is to end."""
        climb = self.climb
        if climb.validate is None:
            if not climb.space.views:  # a value through a random view is no measure
                self.offer(z, values)
            return False
        if step % climb.settings.validate_every == 0:
            self.offer(z, self._validated(z))
        return self.stale >= climb.settings.patience

    def end(self, z: Tensor) -> Tensor:
        """Return the points that are kept, the last one having been looked at as well."""
        climb = self.climb
        if climb.settings.keep == "last" and climb.validate is None:
            return z
        self.offer(z, climb.judge(z) if climb.validate is None else self._validated(z))
        return self.kept

    def _validated(self, z: Tensor) -> Tensor:
        climb = self.climb
        assert climb.validate is not None
        with torch.no_grad():
            seen, _ = climb.space.see_rounded(z, climb.class_index, climb.design)
            return finite(climb.validate(seen))


def adam(climb: Climb) -> Tensor:
    """Climb by Adam (Kingma & Ba 2015): Kang et al. 2017's preference maximisation."""
    s = climb.settings
    u = climb.space.unbound(climb.z.detach()).clone().requires_grad_()
    optimiser = torch.optim.Adam([u], lr=s.learning_rate)
    best = _Best(climb)
    if climb.space.views and climb.validate is None and s.keep == "best" and s.steps:
        best.offer(climb.z, climb.judge(climb.z))
    for step in range(s.steps):
        if climb.over():
            break
        z = climb.space.bound(u)
        seen = climb.see(z)
        values = finite(climb.objective(seen))
        if best.look(step, z.detach(), values.detach()):
            break
        (gradient,) = torch.autograd.grad(-values.sum(), u)
        u.grad = finite(gradient)
        optimiser.step()
        climb.step(values.detach(), seen.images.detach())
    z = climb.space.bound(u).detach()
    return best.end(z) if s.steps else climb.z.detach()


def langevin(climb: Climb) -> Tensor:
    """Draw from exp(objective / temperature) times the prior by Langevin's dynamics, the step's noise included
    (Welling & Teh 2011; as Nguyen et al. 2017 sample a generator's latents). Its points wander about good regions
    instead of running to the highest peak."""
    s = climb.settings
    u = climb.space.unbound(climb.z.detach()).clone()
    best = _Best(climb)
    noise = math.sqrt(2 * s.learning_rate * s.temperature)
    for step in range(s.steps):
        if climb.over():
            break
        u.requires_grad_()
        z = climb.space.bound(u)
        seen = climb.see(z)
        values = finite(climb.objective(seen))
        if best.look(step, z.detach(), values.detach()):
            break
        (gradient,) = torch.autograd.grad(values.sum(), u)
        drawn = np.stack([draw.standard_normal(u.shape[1], dtype=np.float32) for draw in climb.draws])
        with torch.no_grad():
            # A gradient longer than the prior's own spread would be a leap, not a step.
            length = gradient.norm(dim=1, keepdim=True).clamp(min=1e-12)
            bounded = finite(gradient) * (math.sqrt(u.shape[1]) / length).clamp(max=1)
            u = u + s.learning_rate * bounded + noise * torch.from_numpy(drawn).to(u.device)
        climb.step(values.detach(), seen.images.detach())
    z = climb.space.bound(u).detach()
    return best.end(z) if s.steps else climb.z.detach()


def cma_es(climb: Climb) -> Tensor:
    """Climb without gradients by CMA-ES with a diagonal covariance (Ros & Hansen 2008), by the package ``cma``: for
    scorers that have none. One step is one generation, of ``settings.population`` points a row."""
    try:
        import cma
    except ImportError as error:
        raise NotFoundError("method 'cma_es' needs the package cma; run: pip install 'recgan[search]'") from error
    s = climb.settings
    if not s.steps:
        return climb.z.detach()
    start = climb.space.unbound(climb.z.detach()).cpu().numpy().astype(np.float64)
    options = {"popsize": s.population, "CMA_diagonal": True, "verbose": -9, "maxiter": s.steps + 1}
    rows = [
        # Its own default draws from, and seeds, numpy's global generator.
        cma.CMAEvolutionStrategy(point, _SPREAD * climb.std, {**options, "seed": np.nan, "randn": _normal_draws(draw)})
        for point, draw in zip(start, climb.draws)
    ]
    best = _Best(climb)
    middle = climb.z.detach()
    best.offer(middle, climb.judge(middle))
    for step in range(s.steps):
        if climb.over():
            break
        given = [row.ask() for row in rows]
        asked = np.array(given, dtype=np.float32)  # [N, population, dz]
        told = np.empty(asked.shape[:2])
        for place in range(s.population):
            z = climb.space.bound(torch.from_numpy(asked[:, place]).to(climb.z))
            values = climb.judge(z)
            told[:, place] = -values.double().cpu().numpy()
            if climb.validate is None:
                best.offer(z, values)
        for row, points, values_of_row in zip(rows, given, told):
            row.tell(points, list(values_of_row))
        middle = climb.space.bound(torch.from_numpy(np.stack([row.mean for row in rows])).to(climb.z))
        if climb.validate is not None and best.look(step, middle, middle.new_zeros(len(middle))):
            break
        climb.step(torch.from_numpy(-told.min(axis=1)).to(climb.z), None)
    return best.end(middle)


def _normal_draws(draw: np.random.Generator) -> Callable[..., np.ndarray]:
    return lambda *shape: draw.standard_normal(shape)


STRATEGIES: dict[str, Strategy] = {"adam": adam, "langevin": langevin, "cma_es": cma_es}
"""By the name that `DesignSettings.method` gives. ``best_of_n`` is any of them with no steps."""
