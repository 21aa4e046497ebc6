"""What an acting monitor does about an alarm, while the run goes on.

Weights, optimisers and averages go back to the best state; the images that were shown since stay counted and the
random generator stays where it is, so that the run ends when it would have and does not go the same way again. Rates
are halved and penalties doubled for the rest of the run. An alarm that comes back after `MOST` mends ends the run with
a clear line. All of it is kept in checkpoints, so a resumed run does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recgan.config import Recipe
from recgan.errors import TrainingError
from recgan.gan.monitor import Alarm
from recgan.gan.training.checkpoint import latest_checkpoint, load_checkpoint
from recgan.gan.training.steps import TrainingState

__all__ = ["ACTS", "MENDS", "MOST", "Mender"]

ACTS = ("go back", "halve G's rate", "halve D's rate", "double the penalty")
"""What can be done; where a recipe has no penalty, D's rate is halved instead."""
_BACK, _SLOW_G, _SLOW_D, _PENALISE = ACTS
MENDS: dict[str, tuple[str, ...]] = {
    "divergence": (_BACK, _SLOW_G, _SLOW_D),
    "mode collapse": (_BACK, _PENALISE),
    "discriminator overpowers": (_SLOW_D, _PENALISE),
    "vanishing gradients": (_BACK, _SLOW_D, _PENALISE),
    "oscillation": (_SLOW_G, _SLOW_D),
    "dead outputs": (_BACK, _SLOW_G, _SLOW_D),
    "memorisation": (),
}
"""Acts by alarm. Nothing that can be done in the midst of a run helps against memorisation: the best state is kept."""
MOST = 3
"""Times that one alarm is mended."""


class Mender:
    """Acts on the alarms of one run; ``counts`` says how often on which."""

    def __init__(self, recipe: Recipe, state: TrainingState, folder: Path, identity: dict[str, Any]) -> None:
        """Args: ``folder`` is the run's; its ``best/`` holds the state to go back to."""
        self._recipe, self._state, self._folder, self._identity = recipe, state, folder, identity
        self.counts: dict[str, int] = {}

    def acts(self, alarm: Alarm) -> tuple[str, ...]:
        """Return what is done about an alarm under this recipe, in the order of `ACTS`."""
        recipe = self._recipe
        penalised = recipe.r1_weight or recipe.r2_weight or recipe.gradient_penalty_weight
        wanted = {act if act != _PENALISE or penalised else _SLOW_D for act in MENDS[alarm.name]}
        return tuple(act for act in ACTS if act in wanted)

    def goes_back(self, alarms: Sequence[Alarm]) -> bool:
        """Return whether any of these alarms is answered by going back to the best state."""
        return any(_BACK in self.acts(alarm) for alarm in alarms)

    def mend(self, alarms: Sequence[Alarm]) -> list[str]:
        """Do what all alarms together ask for, each act once; return what was done, in words.

        In a run of several processes all come here, the alarms of the first count, and all do the same.

        Raises:
            TrainingError: an alarm was mended `MOST` times already.
        """
        state = self._state
        known = [alarm for alarm in alarms if self.acts(alarm) and state.world.first]
        worn_out = [alarm for alarm in known if self.counts.get(alarm.name, 0) >= MOST]
        wanted = {act for alarm in known for act in self.acts(alarm)}
        hopeless, *due = state.world.any(bool(worn_out), *(act in wanted for act in ACTS))
        if hopeless:
            raise TrainingError(self._farewell(worn_out))
        for alarm in known:
            self.counts[alarm.name] = self.counts.get(alarm.name, 0) + 1
        return [self._do(act) for act, wished in zip(ACTS, due) if wished]

    def _do(self, act: str) -> str:
        state, adjusted, recipe = self._state, self._state.adjusted, self._recipe
        if act == _BACK:
            return self._go_back()
        if act == _PENALISE:
            state.adjusted = replace(adjusted, penalty=adjusted.penalty * 2)
            return f"doubled the penalty's weight (now {state.adjusted.penalty:g} times the recipe's)"
        if act == _SLOW_G:
            state.adjusted = replace(adjusted, generator_rate=adjusted.generator_rate / 2)
            now = recipe.generator_learning_rate * state.adjusted.generator_rate
            return f"halved G's learning rate (now {now:g})"
        state.adjusted = replace(adjusted, discriminator_rate=adjusted.discriminator_rate / 2)
        now = recipe.discriminator_learning_rate * state.adjusted.discriminator_rate
        return f"halved D's learning rate (now {now:g})"

    def _go_back(self) -> str:
        state = self._state
        best = latest_checkpoint(self._folder / "best")
        assert best is not None  # an acting run has one from its beginning on
        stays = {name: getattr(state, name) for name in ("images_seen", "seconds", "adjusted")}
        chance = state.rng.get_state()
        load_checkpoint(best, state, self._identity)
        state.rng.set_state(chance)
        for name, value in stays.items():
            setattr(state, name, value)
        return f"went back to the state of image {int(best.name):,}"

    def _farewell(self, alarms: Sequence[Alarm]) -> str:
        where = f"at image {self._state.images_seen:,}"
        told = "; ".join(f"{alarm.name} came back after {MOST} mends, {alarm.saw}; {alarm.advice}" for alarm in alarms)
        return f"training is given up {where}: {told}. The best state is kept in '{self._folder / 'best'}'"
