"""Models compared over the judged weeks: figures and differences, with intervals over users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from recgan.evaluation.backtest.report import ALL_TIME, ALL_WEEKS, RECENT, REPURCHASE, WeekFacts
from recgan.evaluation.estimates import Estimate
from recgan.evaluation.ranking.judging import METRICS, Judged
from recgan.evaluation.ranking.report import Comparison
from recgan.metrics.stats import bootstrap_means, holm, interval, paired_p_value

__all__ = ["clustered", "compared"]


def compared(
    judged: Sequence[Mapping[str, Judged]],
    user_ids: Sequence[np.ndarray],
    weeks: Sequence[WeekFacts],
    metric: str,
    resamples: int,
    seed: int,
) -> tuple[dict[str, dict[str, dict[str, Estimate]]], list[Comparison]]:
    """Return the figures and the comparisons, by week and over all of them."""
    names = list(judged[0])
    inverse = np.unique(np.concatenate(user_ids), return_inverse=True)[1]
    of_weeks = np.split(inverse, np.cumsum([len(ids) for ids in user_ids])[:-1])
    baselines = [name for name in (RECENT, ALL_TIME, REPURCHASE) if name in names]
    pairs = [(name, other) for name in names if name not in (ALL_TIME, RECENT) for other in baselines if other != name]
    groups = [(facts.first_day, [number]) for number, facts in enumerate(weeks)]
    groups.append((ALL_WEEKS, list(range(len(weeks)))))
    figures: dict[str, dict[str, dict[str, Estimate]]] = {name: {one: {} for one in METRICS} for name in names}
    comparisons: list[Comparison] = []
    place = {pair: column for column, pair in enumerate((name, one) for name in names for one in METRICS)}
    for group, numbers in groups:
        users = np.concatenate([of_weeks[number] for number in numbers])
        columns = [
            np.concatenate([judged[number][name].per_user[one]["all"] for number in numbers]) for name, one in place
        ]
        means, values = clustered(np.stack(columns, axis=1), users, resamples, seed)
        for (name, one), column in place.items():
            figures[name][one][group] = Estimate(float(values[column]), *interval(means[:, column]))
        for name, other in pairs:
            differences = means[:, place[name, metric]] - means[:, place[other, metric]]
            mean = float(values[place[name, metric]] - values[place[other, metric]])
            p = paired_p_value(differences)
            comparisons.append(Comparison(name, other, metric, group, mean, *interval(differences), p, p_holm=np.nan))
    overall = [number for number, one in enumerate(comparisons) if one.group == ALL_WEEKS]
    for number, adjusted in zip(overall, holm([comparisons[number].p for number in overall])):
        comparisons[number] = replace(comparisons[number], p_holm=float(adjusted))
    return figures, comparisons


def clustered(columns: np.ndarray, users: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return bootstrap means [resamples, M] of columns [n, M] and their means [M], where whole users are drawn, each
    with all of its rows (``users`` int [n]); rows with a value that is not known are left out."""
    known = np.isfinite(columns).all(axis=1)
    columns, users = columns[known], np.unique(users[known], return_inverse=True)[1]
    sums = np.stack([np.bincount(users, weights=column) for column in columns.T] + [np.bincount(users)], axis=1)
    means = bootstrap_means(sums, resamples=resamples, seed=seed)
    return means[:, :-1] / means[:, -1:], columns.mean(axis=0)
