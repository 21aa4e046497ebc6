"""Settings of the designer."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from recgan.config.base import Settings
from recgan.errors import SettingsError

__all__ = ["MAX_DESIGNS", "MAX_SEED", "DesignSettings", "check_request"]

MAX_DESIGNS = 256
"""Designs that one request may ask for."""
MAX_SEED = 2**53 - 1
"""Of designs: seeds are exact in JSON up to here."""


class DesignSettings(Settings):
    """How the designer searches (`recgan.design`). Every number is for one design, which is seeded by itself.

    The defaults stay where the generator is good and the recommender is hard to fool: the best of 256 samples that are
    nearer to the centre than the prior's, and a short climb from there (measured in docs/results/designs.md)."""

    preset: str = "default"
    """The name under which the settings are known; it chooses nothing (`recgan.design.load_preset` does)."""
    samples: int = Field(256, ge=1, le=4096)
    """Latents drawn and scored for a design."""
    starts: int = Field(1, ge=1, le=4096, validate_default=True)
    """The best of the samples, that are climbed; the highest of where they end is the design."""
    steps: int = Field(10, ge=0)
    """Steps of gradient ascent from each start; 0: the best sample is the design (best of N)."""
    learning_rate: float = Field(0.02, gt=0)
    """Adam's step length, in units of z."""
    method: Literal["adam", "langevin", "cma_es"] = "adam"
    """How starts are bettered (`recgan.design.climbing`): gradient ascent; Langevin's dynamics; CMA-ES, which needs no
    gradient and the package ``cma``."""
    temperature: float = Field(0.01, gt=0)
    """Langevin's: how much the noise counts against the objective."""
    population: int = Field(8, ge=4)
    """CMA-ES: points a generation, one step being one generation."""
    keep: Literal["best", "last"] = "best"
    """Which point of a climb is kept: its highest or its last."""
    visible: bool = True
    """Whether a climb counts only where its end looks different from its start (`recgan.design.visible`); if it does
    not, the start is the design. What else would be gained, the recommender alone could see."""
    validate_by: Literal["none", "companions"] = Field("none", validate_default=True)
    """Whether a scorer that is held back (`Designer`'s companions) says which point of a climb and which start is
    kept, and when a climb ends."""
    validate_every: int = Field(5, ge=1)
    """Steps between two looks of that scorer."""
    patience: int = Field(4, ge=1)
    """Looks without a better point after which a climb ends (all rows that are computed together)."""
    space: Literal["z", "w"] = "z"
    """Where the search moves: w is only in a generator with a mapping network (``stylegan-lite``)."""
    latent_std: float | None = Field(0.7, gt=0)
    """Spread of the starting z; None: the recipe's own prior."""
    truncation: float | None = Field(None, gt=0)
    """Of the starting z: what lies beyond so many standard deviations is drawn again (Brock et al. 2019), so that
    starts are where the generator is good; in w they are drawn as much nearer to the centre of their class. None: as
    the recipe has it."""
    box: float | None = Field(None, gt=0)
    """Half the side, in standard deviations of the prior, of the box that z stays in: samples are moved into it, and
    climbs stay there by tanh (Kang et al. 2017). None: no box; in w there is none."""
    crowd_weight: float = Field(1.5, ge=0)
    """Weight of what users in general think of the picture, in a design for one user: a taste is known from few items,
    so it is drawn towards the mean taste (`recgan.design.preference.crowd_term`). A cohort is a mean already."""
    preference: Literal["standardised", "raw"] = "standardised"
    """``standardised``: in standard deviations of the user's preference for the category's real items, so that the
    other weights mean the same for every user; ``raw``: as the recommender gives it (Kang et al. 2017)."""
    cohort: Literal["mean", "min", "share"] = "mean"
    """Of a design for several users: what is raised is their mean liking, the least one, or the share of them who like
    it more than their best real item."""
    companions: bool = True
    """Whether the designer's companions, other recommenders of the same catalogue, have a say (`Designer`)."""
    kappa: float = Field(1.0, ge=0)
    """Where companions help to score (``validate_by=none``): how many standard deviations of their disagreement count
    against a design."""
    views: float = Field(0.0, ge=0, le=2)
    """Strength of the random views (cut, mirrored, blurred, with the noise of a JPEG) that are scored at each step in
    place of the picture itself; 0: none."""
    realism: Literal["least_squares", "calibrated"] = "calibrated"
    """``least_squares``: -(D-1)^2 (Kang et al. 2017), where a D of another loss, which has no scale of its own, is
    brought to mean 1 and standard deviation 1 over real images of the class; ``calibrated``: a penalty on falling below
    the mean realism of real images, in standard deviations."""
    realism_weight: float = Field(1.0, ge=0)
    """eta: weight of the realism term."""
    typical_weight: float = Field(0.0, ge=0)
    """Weight of a penalty on features that lie farther out than the usual ones of the class, in standard deviations."""
    typical_of: Literal["real", "generated"] = "real"
    """What is usual: the catalogue's pictures, or random samples of the generator."""
    class_weight: float = Field(0.0, ge=0)
    """Weight of the log probability that the picture is of its class, up to one half."""
    prior_weight: float = Field(1.0, ge=0)
    """Weight of the latent prior: a penalty on |z| leaving the shell where the prior has its mass (in w: on going
    farther from the centre than usual)."""
    pool: int = Field(1, ge=1, le=16)
    """So many designs are made for each one asked for, and the most various good ones are returned."""
    select: Literal["mmr", "k_dpp"] = "mmr"
    """How: by maximal marginal relevance, or by the most probable set of a determinantal point process."""
    balance: float = Field(0.5, ge=0, le=1)
    """1: by the objective alone; 0: by variety alone."""
    neighbours: int = Field(5, ge=1)
    """Real items told with each design: those that look most like it."""

    @field_validator("starts")
    @classmethod
    def _starts_are_samples(cls, starts: int, earlier: ValidationInfo) -> int:
        if starts > earlier.data.get("samples", starts):
            raise ValueError(f"the starts are the best of the {earlier.data['samples']} samples; set samples too")
        return starts

    @field_validator("box")
    @classmethod
    def _box_is_of_z(cls, box: float | None, earlier: ValidationInfo) -> float | None:
        if box is not None and earlier.data.get("space") == "w":
            raise ValueError("the box is of z, and the search moves in w; leave it out")
        return box

    @field_validator("validate_by")
    @classmethod
    def _last_is_not_validated(cls, validate_by: str, earlier: ValidationInfo) -> str:
        if validate_by != "none" and earlier.data.get("keep") == "last":
            raise ValueError("the scorer that is held back chooses the point; leave out keep=last")
        return validate_by


def check_request(n: int, seed: int, *, least: int = 1) -> None:
    """Refuse numbers that no request for designs may have.

    Raises:
        SettingsError: ``n`` is not between ``least`` and `MAX_DESIGNS`, or ``seed`` not between 0 and `MAX_SEED`.
    """
    if not least <= n <= MAX_DESIGNS:
        raise SettingsError(f"n={n}: ask for {least} to {MAX_DESIGNS} designs")
    if not 0 <= seed <= MAX_SEED:
        raise SettingsError(f"seed={seed}: give a seed from 0 to {MAX_SEED}")
