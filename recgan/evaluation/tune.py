"""Choosing a model's settings by its validation part, with Optuna (the extra ``tune``).

The first trial is the model as it is, so what is chosen is never worse there; up to the tenth the others are drawn at
random, and from then on by a tree-structured Parzen estimator, which has to have seen some. The test part is not looked
at: the settings are judged by it once, with `evaluate_ranking`.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recgan.artifacts import json_digest
from recgan.atomic import atomic_file, check_place
from recgan.config import EmbedSettings, Settings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import make_split
from recgan.errors import SettingsError, TrainingError, nearest_name
from recgan.evaluation.estimates import without_nan
from recgan.evaluation.kept import KeptParts, Part
from recgan.evaluation.ranking.judging import HeldOut, check_metric, inner_products
from recgan.progress import Progress, quiet
from recgan.recommenders.registry import create_recommender, recommender_type
from recgan.recommenders.train import data_for

__all__ = ["SPACES", "Choice", "Range", "Trial", "TuneReport", "tune"]


@dataclass(frozen=True)
class Range:
    """Numbers from low to high."""

    low: float
    high: float
    log: bool = False
    """Drawn evenly by their logarithm."""
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]


_RANDOM_TRIALS = 10
"""Of the first trials, that did not diverge: drawn at random, the defaults among them."""
_RATE = Range(0.003, 0.3, log=True)
_PENALTY = Range(1e-4, 30, log=True)
_CRITERION = Choice(("auc", "ndcg"))
_WIDTH: Mapping[str, Range | Choice] = {"width": Choice((32, 64, 128, 256)), "whitening": Range(0.0, 1.0)}
_LATENT: Mapping[str, Range | Choice] = {
    "latent_dim": Choice((16, 32, 64, 128)),
    "learning_rate": _RATE,
    "latent_regularisation": _PENALTY,
    "bias_regularisation": _PENALTY,
    "batch_size": Choice((256, 512, 1024, 2048)),
    "criterion": _CRITERION,
}
_VISUAL: Mapping[str, Range | Choice] = {
    **_WIDTH,
    "visual_dim": Choice((16, 32, 64, 128)),
    "visual_learning_rate": _RATE,
    "visual_regularisation": _PENALTY,
}

SPACES: Mapping[str, Mapping[str, Range | Choice]] = {
    "popularity": {"half_life_days": Range(1, 365, log=True)},
    # What users take again is not in the validation part, so that the rest cannot be chosen by it.
    "repurchase": {"popularity_half_life_days": Range(1, 365, log=True)},
    "visual_knn": _WIDTH,
    "ideal_point": {
        **_WIDTH,
        "dim": Choice((8, 16, 32, 64, 128)),
        "category_smoothing": Range(0.5, 50, log=True),
        "criterion": _CRITERION,
    },
    "bpr": {
        "factors": Choice((16, 32, 64, 128)),
        "learning_rate": _RATE,
        "regularisation": Range(1e-4, 0.3, log=True),
        "epochs": Range(20, 400, log=True, whole=True),
    },
    "als": {
        "factors": Choice((16, 32, 64, 128, 256)),
        "regularisation": Range(1e-3, 100, log=True),
        "confidence": Range(1, 200, log=True),
        "epochs": Range(5, 40, whole=True),
    },
    "category": {"smoothing": Range(0.1, 100, log=True), "within": Choice(("even", "popularity"))},
    # Beyond 1 the latent factors die out; `bpr` draws its negatives with power 1.
    "bpr_mf": {
        **_LATENT,
        "latent_regularisation": Range(3e-3, 1, log=True),
        "bias_regularisation": Range(1e-3, 1, log=True),
        "negative_power": Choice((0.0, 0.5, 1.0)),
    },
    "warp": _LATENT,
    "vbpr": {**_LATENT, **_VISUAL, "negative_power": Range(0.0, 1.0)},
    "vbpr_ssm": {**_LATENT, **_VISUAL, "latent_std": Range(0.01, 0.3, log=True)},
    "blend": {**_WIDTH, "criterion": Choice(("auc", "ndcg", "both"))},
    "dvbpr": {
        "loss": Choice(("bpr", "warp", "ssm")),
        "learning_rate": Range(1e-5, 1e-3, log=True),
        "factor_learning_rate": Range(1e-3, 0.1, log=True),
        "user_regularisation": _PENALTY,
        "network_regularisation": Range(1e-5, 0.1, log=True),
        "criterion": _CRITERION,
    },
}
"""By model what is searched. A setting that is given keeps its value and is not searched."""


@dataclass(frozen=True)
class Trial:
    """One choice of settings and what came of it."""

    number: int
    settings: dict[str, Any]
    """What was searched; of the first trial what the model has by itself."""
    value: float
    """The metric on validation; NaN where the training diverged."""
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class TuneReport:
    """What `tune` returns."""

    bundle: str
    model: str
    metric: str
    """Mean over users on the validation part, all items."""
    split: dict[str, Any]
    seed: int
    given: dict[str, Any]
    """Settings that were given, and not searched."""
    trials: list[Trial] = field(default_factory=list)

    @property
    def best(self) -> Trial:
        """The trial with the largest value; of equal ones the earliest."""
        return max(self.trials, key=lambda one: (-math.inf if math.isnan(one.value) else one.value, -one.number))

    def options(self, prefix: str = "") -> str:
        """Return the best settings as options of the command line; with ``prefix`` ``vbpr.`` as several models take
        them."""
        chosen = {**self.given, **self.best.settings}
        return " ".join(f"--set {prefix}{name}={json.dumps(value)}" for name, value in chosen.items())

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as JSON values."""
        best = self.best
        found = {**asdict(self), "best": asdict(best), "default": asdict(self.trials[0]), "set": self.options()}
        return without_nan({**found, "set_model": self.options(f"{self.model}.")})


def tune(
    bundle: Bundle,
    model: str,
    *,
    trials: int = 30,
    metric: str = "ndcg@20",
    settings: Mapping[str, Any] | None = None,
    space: Mapping[str, Range | Choice] | None = None,
    split: SplitSettings | None = None,
    embed: EmbedSettings | None = None,
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> TuneReport:
    """Search a model's settings for the best mean of a metric over the users of the validation part.

    Trial n depends on the seed and the trials before it alone, so a search that is stopped and begun again finds what
    it would have found; and of two searches the longer one begins with the shorter.

    Args:
        bundle: catalogue and interactions.
        model: a name with an entry in `SPACES`.
        trials: how many, the first with the model's defaults.
        metric: one of `recgan.evaluation.ranking.judging.METRICS`.
        settings: names and values that are given, not searched.
        space: what is searched; None: `SPACES`.
        split: which interactions are held out.
        embed: the encoder and the size that visual models look through.
        seed: of the search and of every training.
        device: where features are computed and visual models are trained.
        out: JSON file of the report; until it is written, finished trials are kept in ``<out>.run``.
        overwrite: whether ``out`` may exist.
        progress: told how far it is.

    Raises:
        SettingsError: Optuna is not installed; an unknown model, setting or metric, or nothing to search.
        DataError: the split holds out no validation part.
        TrainingError: every trial diverged.
        ArtifactError: ``out`` exists and ``overwrite`` is false.
    """
    optuna = _optuna()
    check_metric(metric)
    if trials < 1:
        raise SettingsError(f"trials={trials}: ask for at least one")
    kind = recommender_type(model)
    base = kind.settings_type(**(settings or {}))
    space = _space(model, space, settings or {})
    if out is not None:
        check_place(out, overwrite=overwrite, file=True)
    parts = make_split(bundle, split)
    held_out = HeldOut(parts, "validation", bundle.category_index)
    data = data_for(model, bundle, parts, embed, device=device, progress=progress)
    about = {
        "bundle": bundle.digest,
        "split": parts.digest,
        "embed": (embed or EmbedSettings()).model_dump(),
        "metric": metric,
        "seed": seed,
    }

    def judge(chosen: Settings) -> Part:
        start = time.perf_counter()
        value, error = math.nan, ""
        try:
            trained = create_recommender(model, chosen).fit(data, seed=seed, device=device, progress=progress)
        except TrainingError as failure:
            error = str(failure)
        else:
            judged = held_out.judge(inner_products(trained, device), lambda done, total: None)
            value = float(np.nanmean(judged.per_user[metric]["all"]))
        return {"value": np.array([value])}, {"seconds": round(time.perf_counter() - start, 3), "error": error}

    split_facts = {**parts.settings.model_dump(mode="json"), "digest": parts.digest}
    report = TuneReport(bundle.name, model, metric, split_facts, seed, dict(settings or {}))
    distributions = {name: _distribution(optuna, one) for name, one in space.items()}
    study = optuna.create_study(direction="maximize")
    with KeptParts(out, about) as kept:
        for number in range(trials):
            note = f"best {metric} {report.best.value:.4f}" if report.trials else ""
            progress(f"tuning {model}", number, trials, note)
            # A sampler of its own, so that a trial does not depend on how many this process has drawn.
            sampler = optuna.samplers.TPESampler(n_startup_trials=_RANDOM_TRIALS, seed=_trial_seed(seed, number))
            study.sampler = sampler
            trial = study.ask(distributions) if number else None
            found = (
                {name: _short(value) for name, value in trial.params.items()}
                if trial
                else {name: getattr(base, name) for name in space}
            )
            chosen = base.model_copy(update=found)
            depends = {"settings": chosen.model_dump(mode="json")}
            values, facts = kept.of(model, depends, partial(judge, chosen))
            value = float(values["value"][0])
            if trial:
                state = optuna.trial.TrialState
                diverged = math.isnan(value)
                study.tell(trial, None if diverged else value, state.FAIL if diverged else state.COMPLETE)
            elif not math.isnan(value) and all(_holds(one, found[name]) for name, one in space.items()):
                study.add_trial(optuna.trial.create_trial(params=found, distributions=distributions, value=value))
            report.trials.append(Trial(number, found, value, facts["seconds"], facts["error"]))
        if math.isnan(report.best.value):
            raise TrainingError(f"every trial of '{model}' diverged ({report.trials[0].error}); give other --set")
        progress(f"tuning {model}", trials, trials, f"best {metric} {report.best.value:.4f}")
        if out is not None:
            with atomic_file(out) as path:
                text = json.dumps(report.as_json(), indent=2, ensure_ascii=False, allow_nan=False)
                path.write_text(text + "\n", encoding="utf-8")
    return report


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise SettingsError("tuning needs Optuna, which is not installed: pip install 'recgan[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _space(
    model: str, space: Mapping[str, Range | Choice] | None, given: Mapping[str, Any]
) -> dict[str, Range | Choice]:
    """Return what is searched: a model's own space less what is given."""
    if space is None:
        if model not in SPACES:
            raise SettingsError(f"'{model}' has nothing to search; the models that have: {', '.join(SPACES)}")
        space = SPACES[model]
    known: Sequence[str] = list(recommender_type(model).settings_type.model_fields)
    for name in space:
        if name not in known:
            raise SettingsError(f"'{model}' has no setting '{name}'{nearest_name(name, known)}")
    left = {name: one for name, one in space.items() if name not in given}
    if not left:
        raise SettingsError(f"every setting of '{model}' that is searched was given: nothing is left to search")
    return left


def _short(value: Any) -> Any:
    """Return a number with as many digits as a person would write."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _holds(one: Range | Choice, value: Any) -> bool:
    """Return whether a value lies in what is searched: a default need not."""
    if isinstance(one, Choice):
        return value in one.values
    return isinstance(value, int | float) and one.low <= value <= one.high


def _distribution(optuna: Any, one: Range | Choice) -> Any:
    kinds = optuna.distributions
    if isinstance(one, Choice):
        return kinds.CategoricalDistribution(one.values)
    if one.whole:
        return kinds.IntDistribution(int(one.low), int(one.high), log=one.log)
    return kinds.FloatDistribution(one.low, one.high, log=one.log)


def _trial_seed(seed: int, number: int) -> int:
    return int(json_digest([seed, number])[:8], 16)
