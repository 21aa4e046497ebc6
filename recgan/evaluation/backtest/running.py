"""The backtest: would the models have done better than recent popularity on a shop's last weeks?

The last weeks are judged one after the other. Before each, every model learns all that was known when it began; what
known users then took for the first time in it is ranked among all candidates, exactly. Where repeats are asked for, it
is all that they took, and what they had taken before stands against it. What has to be chosen (how long to train, the
half-lives of the baselines) is chosen once, by the week before the first that is judged.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from recgan.atomic import check_place
from recgan.config import EmbedSettings, PopularitySettings, RepurchaseSettings, Settings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import Split
from recgan.errors import DataError, SettingsError, nearest_name
from recgan.evaluation.backtest.comparing import compared
from recgan.evaluation.backtest.report import (
    ALL_TIME,
    RECENT,
    REPURCHASE,
    BacktestReport,
    WeekFacts,
    save_backtest,
)
from recgan.evaluation.backtest.weeks import Week, check_positives, last_weeks, week_split
from recgan.evaluation.kept import KeptParts, Part
from recgan.evaluation.ranking.contenders import Contender, contenders
from recgan.evaluation.ranking.judging import HeldOut, Judged, Scorer, check_metric, inner_products
from recgan.progress import Progress, quiet
from recgan.recommenders.base import Recommender
from recgan.recommenders.registry import create_recommender, recommender_type
from recgan.recommenders.train import data_for

__all__ = ["HALF_LIVES_DAYS", "OWN_HALF_LIVES_DAYS", "UPDATES", "backtest"]

UPDATES = ("retrain", "fold_in")
HALF_LIVES_DAYS = (2.0, 4.0, 7.0, 14.0, 28.0)
"""Of recent popularity; the best on the week before the first judged one is taken."""
OWN_HALF_LIVES_DAYS = (7.0, 28.0, 90.0, 365.0, None)
"""Of what a user took themselves, for `repurchase`, chosen likewise; None: all time counts alike."""


def backtest(
    bundle: Bundle,
    models: Sequence[str] = ("vbpr",),
    *,
    weeks: int = 4,
    update: str = "retrain",
    repeats: bool = False,
    metric: str = "ndcg@20",
    positives: SplitSettings | None = None,
    embed: EmbedSettings | None = None,
    settings: Mapping[str, Settings] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> BacktestReport:
    """Judge models on the last weeks of a bundle's log, beside all-time and recent popularity and, where repeats are
    judged, `repurchase`.

    Args:
        bundle: catalogue and interactions, each with its time.
        models: names (``vbpr``) and controls (``vbpr:permuted``).
        weeks: how many are judged.
        update: ``retrain`` before each week, or ``fold_in``: train before the first, and from then on only bring users
            up to date from what they took. The baselines are counted anew before each week in any case.
        repeats: judge what users took again in a week, too, as for a list that may show what was taken before.
        metric: by which models are compared, one of `recgan.evaluation.ranking.judging.METRICS`.
        positives: which events count (``negative_events``, ``min_rating``).
        embed: the encoder and the size that visual models look through.
        settings: settings by model name; a control takes those of its model.
        seed: of training and of the bootstrap.
        resamples: of the bootstrap, over users: one who is judged in several weeks is drawn with all of them.
        device: where features are computed and visual models are trained.
        out: folder for the report, the answer and a plot; until it is written, what is done is kept in ``<out>.run``,
            so that a stopped backtest goes on where it stopped.
        overwrite: whether ``out`` may exist.
        progress: told how far it is.

    Raises:
        SettingsError: an unknown model, metric or way to update; a saved model, which knows what is judged;
            `repurchase` without ``repeats``.
        DataError: interactions without a time, too short a log, or weeks in which nothing can be judged.
        ArtifactError: ``out`` exists and ``overwrite`` is false.
        StorageError: it cannot be written (told before the training).
    """
    check_metric(metric)
    if update not in UPDATES:
        hint = nearest_name(update, UPDATES) or f"; use {', '.join(UPDATES)}"
        raise SettingsError(f"there is no update '{update}'{hint}")
    baselines = (ALL_TIME, REPURCHASE) if repeats else (ALL_TIME,)
    others = {name: given for name, given in (settings or {}).items() if name not in baselines}
    runs = [run for run in contenders(models, others) if run.name not in baselines]
    if any(run.name == REPURCHASE for run in runs):
        raise SettingsError(
            "repurchase only knows what a user took before, and what is new to them is judged here; "
            "judge with --repeats, or leave it out"
        )
    if saved := [run.name for run in runs if run.saved]:
        raise SettingsError(f"'{saved[0]}' may have seen the weeks that are judged; give the model's name instead")
    if (not runs and not repeats) or set(baselines) & set(settings or {}):
        told = "popularity is the baseline, with a half-life that it chooses"
        if repeats:
            told = "popularity and repurchase are the baselines, with half-lives that they choose"
        raise SettingsError(f"{told}: name other models to compare")
    positives = positives or SplitSettings()
    check_positives(positives)
    if out is not None:
        check_place(out, overwrite=overwrite)
    calendar = last_weeks(bundle, weeks)
    test = _Backtest(bundle, embed or EmbedSettings(), positives, metric, update, repeats, seed, device, progress)
    with KeptParts(out, test.identity(calendar)) as kept:
        report = test.run(runs, calendar, settings or {}, resamples, kept)
        if out is not None:
            save_backtest(report, out, overwrite=overwrite)
    return report


@dataclass
class _Backtest:
    """One backtest: what all its steps share."""

    bundle: Bundle
    embed: EmbedSettings
    positives: SplitSettings
    metric: str
    update: str
    repeats: bool
    seed: int
    device: str
    progress: Progress
    trained: dict[str, Recommender] = field(default_factory=dict)
    """The models whose users are folded in."""

    def identity(self, calendar: Sequence[Week]) -> dict[str, Any]:
        """Return what every kept part depends on, as JSON values."""
        return {
            "bundle": self.bundle.digest,
            "positives": self.positives.model_dump(mode="json"),
            "embed": self.embed.model_dump(),
            "first": calendar[0].name,
            "update": self.update,
            "repeats": self.repeats,
            "metric": self.metric,
            "seed": self.seed,
        }

    @property
    def baselines(self) -> list[Contender]:
        """What every model is compared with."""
        known = [Contender(ALL_TIME, ALL_TIME), Contender(RECENT, ALL_TIME)]
        return [*known, Contender(REPURCHASE, REPURCHASE)] if self.repeats else known

    def run(
        self,
        runs: Sequence[Contender],
        calendar: Sequence[Week],
        given: Mapping[str, Settings],
        resamples: int,
        kept: KeptParts,
    ) -> BacktestReport:
        """Choose, judge every week, and compare."""
        first = calendar[0]
        everyone = [*self.baselines, *runs]
        chosen = self._choose(runs, first.before, given, kept)
        facts, user_ids, judged = [], [], []
        about: dict[str, dict[str, Any]] = {
            run.name: {"settings": chosen[run.name].model_dump(mode="json"), "seconds": 0.0} for run in everyone
        }
        for number, week in enumerate(calendar):
            self.progress("judging weeks", number, len(calendar), week.name)
            parts = week_split(self.bundle, week, self.positives, repeats=self.repeats)
            held_out = self._held_out(parts.split, "test", week)
            of_week = {}
            for run in everyone:
                make = partial(self._judge, run, chosen[run.name], week, first, parts.split, held_out)
                depends = {"week": week.name, "settings": about[run.name]["settings"]}
                of_week[run.name], told = Judged.of_part(kept.of(run.name, depends, make))
                about[run.name]["seconds"] += told["seconds"]
            judged.append(of_week)
            user_ids.append(parts.split.user_ids[held_out.users])
            facts.append(
                WeekFacts(
                    first_day=week.name,
                    last_day=week.last_day,
                    users=len(held_out.users),
                    new_users=parts.new_users,
                    interactions=held_out.positives["all"],
                    cold_interactions=held_out.positives["cold"],
                    repeated_interactions=_repeated(parts.split),
                )
            )
        self.progress("judging weeks", len(calendar), len(calendar))
        figures, comparisons = compared(judged, user_ids, facts, self.metric, resamples, self.seed)
        return BacktestReport(
            bundle=self.bundle.name,
            metric=self.metric,
            update=self.update,
            repeats=self.repeats,
            seed=self.seed,
            weeks=facts,
            users=len(np.unique(np.concatenate(user_ids))),
            figures=figures,
            comparisons=comparisons,
            about=about,
        )

    def _choose(
        self, runs: Sequence[Contender], week: Week, given: Mapping[str, Settings], kept: KeptParts
    ) -> dict[str, Settings]:
        """Return each model's settings with what the week before the judged ones chose filled in."""
        split = week_split(self.bundle, week, self.positives, "validation", repeats=self.repeats).split
        held_out = self._held_out(split, "validation", week)
        chosen: dict[str, Settings] = {ALL_TIME: PopularitySettings()}

        def best(model: str, candidates: Sequence[Settings]) -> Settings:
            def score(settings: Settings) -> float:
                scorer = inner_products(self._fit(model, settings, split), self.device)
                values = held_out.judge(scorer, lambda done, total: None).per_user[self.metric]["all"]
                return float(np.nanmean(values))

            return max(candidates, key=score)

        recent = [PopularitySettings(half_life_days=days) for days in HALF_LIVES_DAYS]
        chosen[RECENT] = best(ALL_TIME, recent)
        if self.repeats:
            others = chosen[RECENT].model_dump()["half_life_days"]
            own = [
                RepurchaseSettings(half_life_days=days, popularity_half_life_days=others)
                for days in OWN_HALF_LIVES_DAYS
            ]
            chosen[REPURCHASE] = best(REPURCHASE, own)
        for run in runs:
            settings = run.settings(given) or recommender_type(run.model).settings_type()

            def make(run: Contender = run, settings: Settings = settings) -> Part:
                return {}, self._fit(run.model, settings, split).chosen_settings().model_dump(mode="json")

            if recommender_type(run.model).chosen_by_validation:
                depends = {"choosing": week.name, "settings": settings.model_dump(mode="json")}
                settings = type(settings)(**kept.of(run.name, depends, make)[1])
            chosen[run.name] = settings
        return chosen

    def _held_out(self, split: Split, part: str, week: Week) -> HeldOut:
        if not len(split.test) and not len(split.validation):
            raise DataError(
                f"bundle '{self.bundle.path}': in the week from {week.name} no known user took anything"
                f"{'' if self.repeats else ' new'}; ask for other --weeks"
            )
        return HeldOut(split, part, self.bundle.category_index, repeats=self.repeats)

    def _fit(self, model: str, settings: Settings, split: Split) -> Recommender:
        data = data_for(model, self.bundle, split, self.embed, device=self.device, progress=self.progress)
        fresh = create_recommender(model, settings)
        return fresh.fit(data, seed=self.seed, device=self.device, progress=self.progress)

    def _judge(
        self, run: Contender, settings: Settings, week: Week, first: Week, split: Split, held_out: HeldOut
    ) -> Part:
        start = time.perf_counter()
        if self.update == "retrain" or run in self.baselines:
            scorer = inner_products(self._fit(run.model, settings, split), self.device)
        else:
            if run.name not in self.trained:
                before = week_split(self.bundle, first, self.positives).split
                self.trained[run.name] = self._fit(run.model, settings, before)
            scorer = _folding_scorer(self.trained[run.name], split)
        seconds = time.perf_counter() - start
        step = f"judging {run.name}, week of {week.name}"
        judged = held_out.judge(scorer, lambda done, total: self.progress(step, done, total))
        return judged.as_part({"seconds": round(seconds, 3)})


def _repeated(split: Split) -> int:
    """Return how many of the judged pairs are in train as well."""
    keys = [pairs.users * split.n_items + pairs.items for pairs in (split.test, split.train)]
    return int(np.isin(*keys).sum())


def _folding_scorer(model: Recommender, split: Split) -> Scorer:
    """Score users by what they have taken by now, with a model trained before: its vector for those who took nothing
    since, a new one folded in for the others."""
    known = {user: row for row, user in enumerate(model.user_ids)}
    order = np.argsort(split.train.users, kind="stable")
    bounds = np.searchsorted(split.train.users[order], np.arange(split.n_users + 1))
    item_ids = model.item_ids

    def vector(user: int) -> np.ndarray:
        taken = np.sort(split.train.items[order[bounds[user] : bounds[user + 1]]])
        row = known.get(split.user_ids[user])
        if row is not None and np.array_equal(model.seen[row], taken):
            return model.user_factors[row]
        return model.fold_in([str(item) for item in item_ids[taken]]).values

    return lambda users: np.stack([vector(user) for user in users]) @ model.item_factors.T
