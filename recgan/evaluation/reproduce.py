"""The ladder of Kang, Fang, Wang & McAuley (ICDM 2017): what is published beside what is measured here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recgan.config import DVBPRSettings, EmbedSettings, Settings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.errors import SettingsError, nearest_name
from recgan.evaluation.estimates import Estimate, without_nan
from recgan.evaluation.ranking import evaluate_ranking
from recgan.evaluation.ranking.report import RankingReport
from recgan.progress import Progress, quiet

__all__ = ["DATASETS", "LADDER", "PAPERS_SETTINGS", "Kang2017Report", "Rung", "reproduce_kang2017"]

LADDER: Mapping[str, str] = {
    "PopRank": "popularity",
    "WARP": "warp",
    "BPR-MF": "bpr_mf",
    "VisRank": "visual_knn",
    "VBPR": "vbpr",
    "DVBPR": "dvbpr",
}
"""The paper's models from the bottom up, and which of ours is measured for each."""

PAPERS_SETTINGS: Mapping[str, Settings] = {
    "dvbpr": DVBPRSettings(
        backbone="cnn_f",
        item_bias=False,
        frozen_epochs=0,
        dim=100,
        network_regularisation=0.001,
        user_regularisation=1,
        factor_learning_rate=0.0001,
    )
}
"""Where our defaults are of another model than the paper's: theirs, by the name of ours."""

_PUBLISHED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "fashion": {
        "PopRank": (0.585, 0.391),
        "WARP": (0.607, 0.503),
        "BPR-MF": (0.628, 0.551),
        "VisRank": (0.684, 0.681),
        "VBPR": (0.748, 0.732),
        "DVBPR": (0.796, 0.772),
    },
    "women": {
        "PopRank": (0.619, 0.382),
        "WARP": (0.626, 0.516),
        "BPR-MF": (0.654, 0.520),
        "VisRank": (0.651, 0.639),
        "VBPR": (0.708, 0.689),
        "DVBPR": (0.757, 0.714),
    },
    "men": {
        "PopRank": (0.606, 0.390),
        "WARP": (0.608, 0.501),
        "BPR-MF": (0.645, 0.513),
        "VisRank": (0.659, 0.655),
        "VBPR": (0.709, 0.686),
        "DVBPR": (0.741, 0.692),
    },
    "tradesy": {
        "PopRank": (0.527, 0.395),
        "WARP": (0.618, 0.533),
        "BPR-MF": (0.586, 0.542),
        "VisRank": (0.646, 0.608),
        "VBPR": (0.750, 0.753),
        "DVBPR": (0.786, 0.778),
    },
}
"""AUC on all and on cold items, as commonly quoted from the paper's table; not verified against the paper itself."""
DATASETS = tuple(_PUBLISHED)
_LEAVE_ONE_OUT = (
    "one validation and one test item a user with 5 actions or more "
    "(the paper drops the other users; here they stay in train)"
)
_UNTUNED = (
    "no setting is tuned here, where the paper chooses them on the validation part: choose with 'recgan tune', and "
    "give what it chooses with --set"
)
_QUOTED = "published figures are as commonly quoted, unverified"
_RELEASED = (
    "the released Fashion file has fewer users, items and interactions than the paper's Fashion set, so its figures "
    "are not to be compared with that row one to one"
)


@dataclass(frozen=True)
class Rung:
    """One model of the ladder."""

    name: str
    """The paper's."""
    model: str
    """Ours."""
    published: dict[str, float]
    """``all`` and ``cold``; empty where nothing is published for this data."""
    measured: dict[str, Estimate]
    """The same."""
    seconds: float


@dataclass(frozen=True)
class Kang2017Report:
    """What `reproduce_kang2017` returns."""

    compared_with: str | None
    """Which of the paper's data sets the published figures are of."""
    protocol: str
    rungs: list[Rung]
    left_out: list[str]
    """The paper's models that were not asked for."""
    notes: list[str]
    ranking: RankingReport
    """Everything that was measured."""

    def as_json(self) -> dict[str, Any]:
        """Return the whole report as JSON values."""
        own = {name: getattr(self, name) for name in ("compared_with", "protocol", "left_out", "notes")}
        return without_nan({**own, "rungs": [asdict(one) for one in self.rungs], "ranking": self.ranking.as_json()})


def reproduce_kang2017(
    bundle: Bundle,
    *,
    compare_with: str | None = None,
    rungs: Sequence[str] = tuple(LADDER),
    embed: EmbedSettings | None = None,
    settings: Mapping[str, Settings] | None = None,
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> Kang2017Report:
    """Run the ladder by the paper's protocol: one validation and one test item a user, AUC over all unseen items.

    The split is the data's own where it has one (``dvbpr-npy``), else leave-one-out of users with five actions or more.
    Cold items are those with fewer than five training actions, as in the paper. The released code estimates the AUC by
    100 sampled items; it is exact here, and equal to theirs in expectation.

    Args:
        bundle: any with interactions.
        compare_with: the paper's data set that it is, one of `DATASETS`; None: nothing published is set beside it.
        rungs: which models of `LADDER` are run.
        embed: the encoder and the size that visual models look through.
        settings: settings by model name, in place of our defaults (of `PAPERS_SETTINGS` for ``dvbpr``).
        seed: of training and of the bootstrap.
        device: where features are computed and visual models are trained.
        out: folder for the ranking report, as in `evaluate_ranking`.
        overwrite: whether ``out`` may exist.
        progress: told how far it is.

    Raises:
        SettingsError: an unknown data set or rung.
        DataError, ArtifactError, StorageError: as `evaluate_ranking`.
    """
    if compare_with is not None and compare_with not in DATASETS:
        hint = nearest_name(compare_with, DATASETS) or f"; there are: {', '.join(DATASETS)}"
        raise SettingsError(f"nothing is published for '{compare_with}'{hint}")
    for name in rungs:
        if name not in LADDER:
            hint = nearest_name(name, LADDER) or f"; they are: {', '.join(LADDER)}"
            raise SettingsError(f"the ladder has no rung '{name}'{hint}")
    ours = {name: model for name, model in LADDER.items() if name in rungs}
    if not ours:
        raise SettingsError(f"give at least one rung of: {', '.join(LADDER)}")
    given = "split" in bundle.interactions
    split = SplitSettings(protocol="given") if given else SplitSettings(cold_share=0, min_interactions=5)
    settings = dict(settings or {})
    ranking = evaluate_ranking(
        bundle,
        list(ours.values()),
        split=split,
        embed=embed,
        settings={name: PAPERS_SETTINGS[name] for name in ours.values() if name in PAPERS_SETTINGS} | settings,
        seed=seed,
        device=device,
        out=out,
        overwrite=overwrite,
        progress=progress,
    )
    found = []
    for name, model in ours.items():
        figures = ranking.models[model]
        values, intervals = figures.values["auc"], figures.intervals["auc"]
        measured = {
            to: Estimate(values[group], *intervals[group]) for to, group in (("all", "all"), ("cold", "under_5"))
        }
        published = dict(zip(("all", "cold"), _PUBLISHED[compare_with][name])) if compare_with else {}
        found.append(Rung(name, model, published, measured, figures.about["seconds"]))
    return Kang2017Report(
        compared_with=compare_with,
        protocol=_protocol(given),
        rungs=found,
        left_out=[name for name in LADDER if name not in ours],
        notes=_notes(compare_with, ranking, tuned=set(ours.values()) <= {"popularity", *settings}),
        ranking=ranking,
    )


def _protocol(given: bool) -> str:
    split = "the data's own split" if given else _LEAVE_ONE_OUT
    return f"{split}; exact AUC over all unseen items; cold: fewer than 5 training actions"


def _notes(compare_with: str | None, ranking: RankingReport, *, tuned: bool) -> list[str]:
    notes = [] if tuned else [_UNTUNED]
    if compare_with:
        notes.append(_QUOTED)
    if compare_with == "fashion":
        notes.append(_RELEASED)
    if ranking.embed and not {"visual_knn", "vbpr"}.isdisjoint(ranking.models):
        notes.append(
            f"the paper's VisRank and VBPR see 4096 features of a Caffe network; here {ranking.embed['encoder']} at "
            f"{ranking.embed['size']} px"
        )
    if ranking.pseudo_users:
        notes.append("pseudo-users: a seed item stands for a user, these are item-to-item figures")
    if ranking.simulated:
        notes.append("users are simulated: a check of the machinery, no evidence")
    return notes
