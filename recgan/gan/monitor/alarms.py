"""Alarms: what goes wrong with a GAN while it trains, by name, what was seen, and what to do about it.

Each rule looks at the figures of the last reports and at the last looks (`recgan.gan.monitor.quality`) and raises its
alarm at most once until things have been well again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from recgan.gan.monitor.quality import Look

__all__ = ["RULES", "Alarm", "Alarms", "divergence"]

Report = dict[str, float]
"""Mean figures of one report (`recgan.gan.training.steps.train_step`)."""
REPORTS = 20
"""Reports that a rule about the game looks back on."""
BEGUN = 5
"""Looks after which a generator ought to have begun to learn (of ten in a run)."""


@dataclass(frozen=True)
class Alarm:
    """One thing that goes wrong."""

    name: str
    saw: str
    """What was seen, with figures."""
    advice: str

    def __str__(self) -> str:
        return f"{self.name}: {self.saw}; {self.advice}"


def mode_collapse(reports: Sequence[Report], looks: Sequence[Look]) -> Alarm | None:
    """The samples of some class are much more alike than its real images are, at two looks one after the other, though
    the generator has begun to learn: what shows nothing yet is all alike."""
    begun = len(looks) >= BEGUN or any(look.tells for look in looks)
    if not begun or len(looks) < 2 or not all(look.alike for look in looks[-2:]):
        return None
    look = looks[-1]
    return Alarm(
        "mode collapse",
        f"samples of '{look.least_diverse}' differ {look.least_diversity:.0%} as much as its real images do",
        "raise r1_weight, set minibatch=deviation, or use --recipe modern",
    )


def discriminator_overpowers(reports: Sequence[Report], looks: Sequence[Look]) -> Alarm | None:
    """D tells real from generated nearly always, for long, and KID does not fall: G is told little."""
    recent = [report["discriminator/accuracy"] for report in reports[-REPORTS:]]
    if len(recent) < REPORTS or np.mean(recent) < 0.97:
        return None
    if len(looks) > 1 and looks[-1].kid < 0.98 * looks[-2].kid:
        return None
    return Alarm(
        "discriminator overpowers",
        f"D preferred the real image in {np.mean(recent):.1%} of the pairs of the last {REPORTS} reports (it is 50% at "
        "the equilibrium)",
        "raise r1_weight, halve discriminator_learning_rate, or add augment and dropout",
    )


def vanishing_gradients(reports: Sequence[Report], looks: Sequence[Look]) -> Alarm | None:
    """G's gradient has all but died down against what it was at first."""
    norms = [report["gradient/generator"] for report in reports if "gradient/generator" in report]
    if len(norms) < REPORTS:
        return None
    first, now = np.median(norms[: REPORTS // 4]), np.median(norms[-REPORTS // 4 :])
    if now > 1e-3 * first:
        return None
    return Alarm(
        "vanishing gradients",
        f"the norm of G's gradient fell from {first:.2g} to {now:.2g}",
        "use a non-saturating loss, raise r1_weight, or halve discriminator_learning_rate",
    )


def oscillation(reports: Sequence[Report], looks: Sequence[Look]) -> Alarm | None:
    """KID goes up and down by as much as it is."""
    kids = np.array([look.kid for look in looks[-5:]])
    if len(kids) < 5:
        return None
    steps = np.diff(kids)
    turns = (np.sign(steps[1:]) != np.sign(steps[:-1])).sum()
    if turns < 3 or np.abs(steps).min() < 0.3 * np.abs(kids).mean():
        return None
    return Alarm(
        "oscillation",
        f"KID went {' -> '.join(f'{kid:.3f}' for kid in kids)}",
        "halve both learning rates, or set ema_half_life",
    )


def memorisation(reports: Sequence[Report], looks: Sequence[Look]) -> Alarm | None:
    """Many samples are nearer to a training image than real images are."""
    if not looks or looks[-1].memorised < 0.1:
        return None
    return Alarm(
        "memorisation",
        f"{looks[-1].memorised:.0%} of the samples are nearer to a training image than 1% of held-out images are",
        "train on more images, add augment, or stop earlier",
    )


def dead_outputs(reports: Sequence[Report], looks: Sequence[Look]) -> Alarm | None:
    """Samples show nothing."""
    if len(looks) < 2 or not all(look.empty for look in looks[-2:]):
        return None
    return Alarm(
        "dead outputs",
        f"{looks[-1].dead:.0%} of the samples are of one colour",
        "raise r1_weight, or train anew with lower rates or another --seed",
    )


def divergence(saw: str, generator_rate: float, discriminator_rate: float) -> Alarm:
    """Return the alarm of figures or weights that are not finite, as ``saw`` says, at the recipe's learning rates."""
    return Alarm(
        "divergence",
        saw,
        f"train anew with lower rates (--set discriminator_learning_rate={discriminator_rate / 2:g} "
        f"--set generator_learning_rate={generator_rate / 2:g})",
    )


RULES: dict[str, Callable[[Sequence[Report], Sequence[Look]], Alarm | None]] = {
    rule.__name__.replace("_", " "): rule
    for rule in (
        mode_collapse,
        discriminator_overpowers,
        vanishing_gradients,
        oscillation,
        memorisation,
        dead_outputs,
    )
}


class Alarms:
    """The history of a run, and which alarms stand."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.looks: list[Look] = []
        self.standing: dict[str, Alarm] = {}
        self._judged_from = 0

    def begin_anew(self) -> None:
        """Judge by what comes from now on: something was done about the alarms so far. Looks stay known."""
        self.reports.clear()
        self.standing.clear()
        self._judged_from = len(self.looks)

    def as_json(self) -> dict[str, Any]:
        """Return all but the looks as JSON values."""
        standing = [asdict(alarm) for alarm in self.standing.values()]
        return {"reports": list(self.reports), "standing": standing, "judged_from": self._judged_from}

    def restore(self, saved: dict[str, Any], looks: Sequence[Look]) -> None:
        """Go on with what `as_json` gave, and the looks so far."""
        self.reports, self.looks = list(saved["reports"]), list(looks)
        self.standing = {alarm["name"]: Alarm(**alarm) for alarm in saved["standing"]}
        self._judged_from = saved["judged_from"]

    def report(self, figures: Report) -> list[Alarm]:
        """Take one report; return the alarms that it raises anew."""
        self.reports.append(figures)
        # The first ones are what later ones are measured by.
        del self.reports[REPORTS : max(REPORTS, len(self.reports) - 2 * REPORTS)]
        return self._raised()

    def look(self, look: Look) -> list[Alarm]:
        """Take one look; return the alarms that it raises anew."""
        self.looks.append(look)
        return self._raised()

    def _raised(self) -> list[Alarm]:
        looks = self.looks[self._judged_from :]
        now = {name: rule(self.reports, looks) for name, rule in RULES.items()}
        raised = [alarm for name, alarm in now.items() if alarm is not None and name not in self.standing]
        self.standing = {name: alarm for name, alarm in now.items() if alarm is not None}
        return raised
