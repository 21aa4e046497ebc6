"""The proof of designs: a recommender makes them, others who never saw them made say what they are worth.

*Scorer A* is the recommender that designs; it has learnt from one half of each user's history (``--split
half=scorer``). *Judge B* is trained here from the other half, looks through another network and has another seed. Where
users are simulated, the *style oracle* and the *attribute oracle* know the truth. The designs of each method stand
beside random samples of the generator, the best of as many samples as the main method looks at, a design for everybody,
the scorer's best real item, and the oracle's choices among real items.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recgan.atomic import check_place
from recgan.config import DesignSettings, ProofSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.oracle import ORACLE_PARTS, StyleOracle
from recgan.dataset.pixels import load_pixels
from recgan.design import Designer, load_designer, load_preset
from recgan.design.sight import Sight
from recgan.errors import SettingsError
from recgan.evaluation.designs.figures import estimate, paired, preferred
from recgan.evaluation.designs.independence import check_independence, drawn_users, judge_of
from recgan.evaluation.designs.judges import (
    JUDGE,
    SCORER,
    STYLE,
    AttributeJudge,
    Judge,
    RecommenderJudge,
    StyleJudge,
)
from recgan.evaluation.designs.measuring import Invisibility, method_figures
from recgan.evaluation.designs.methods import BASELINES, ORACLE_20, ORACLE_ALL, REAL, design_settings, looks, make_all
from recgan.evaluation.designs.page import save_designs_report
from recgan.evaluation.designs.reading import PhotosOf, Reading, read_catalogue
from recgan.evaluation.designs.report import DesignsReport
from recgan.evaluation.designs.verdicts import judged
from recgan.evaluation.kept import KeptParts
from recgan.evaluation.showcase import ShownUser
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommender

__all__ = ["evaluate_designs"]


def evaluate_designs(
    bundle: Bundle | str | Path,
    recommender: str | Path,
    gan: str | Path,
    settings: ProofSettings | None = None,
    *,
    methods: Mapping[str, DesignSettings] | None = None,
    companions: Sequence[str | Path] = (),
    users: int = 200,
    seed: int = 0,
    device: str = "auto",
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = quiet,
) -> DesignsReport:
    """Design for drawn users by each method, and have the designs judged.

    Args:
        bundle: the catalogue with its users.
        recommender: folder of scorer A: a visual recommender trained with the split ``half=scorer``.
        gan: folder of the generator.
        settings: judge B, the attribute reader, how many designs a user.
        methods: settings by name; the first is the main one. Default: the presets ``default`` and ``kang2017``.
        companions: folders of recommenders, of the same half as A, that help to design.
        users: how many are drawn by the seed among those with a history in both halves.
        seed: of users, designs, judge and bootstrap.
        device: where all of it runs.
        out: folder for ``designs.json`` and a page; None: nothing is written.
        overwrite: replace it.
        progress: told of each step.

    Raises:
        ArtifactError: an artifact is missing or damaged, or ``out`` exists.
        MismatchError: A, a companion and B share what they must not: history, or the network that they look through.
        DataError: no user has a history in both halves.
        SettingsError: a method is called as a baseline is; as `Designer.design_many`.
        TrainingError, NotFoundError: as `Designer.design_many`.
    """
    began = time.perf_counter()
    if out is not None:
        check_place(out, overwrite=overwrite)
    settings = settings or ProofSettings()
    if users < 1 or users > 100_000:
        raise SettingsError(f"users={users}: judge designs for 1 to 100,000 users")
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    chosen = dict(methods) if methods else {name: load_preset(name) for name in ("default", "kang2017")}
    main = next(iter(chosen))
    if taken := [name for name in chosen if name in BASELINES]:
        raise SettingsError(f"'{taken[0]}' is a baseline that is always there; call the method otherwise")
    designer = load_designer(recommender, gan, bundle=bundle, companions=companions, device=device, progress=progress)
    check_independence(bundle, designer, settings)
    shown = drawn_users(bundle, designer, users, seed=seed)
    proof = _Proof(bundle, designer, settings, design_settings(chosen, main, designer), main, shown, seed, progress)
    with KeptParts(out, proof.identity) as kept:
        report = proof.run(kept, began)
        if out is not None:
            save_designs_report(report, bundle, designer, out, overwrite=overwrite)
    return report


@dataclass(frozen=True)
class _Proof:
    """One proof: what all its steps share."""

    bundle: Bundle
    designer: Designer
    settings: ProofSettings
    methods: dict[str, DesignSettings]
    """All that design, the baselines among them."""
    main: str
    users: list[ShownUser]
    seed: int
    progress: Progress

    @property
    def identity(self) -> dict[str, Any]:
        """What every kept part depends on, as JSON values."""
        helped = (self.designer.sight, *self.designer.companions)
        return {
            "bundle": self.bundle.digest,
            "recommenders": [sight.recommender.digest for sight in helped],
            "gan": self.designer.gan.digest,
        }

    def run(self, kept: KeptParts, began: float) -> DesignsReport:
        """Design, judge and measure."""
        bundle, designer, seed, progress = self.bundle, self.designer, self.seed, self.progress
        photos_of = self._photos()
        oracle = StyleOracle.load(bundle) if ORACLE_PARTS[0] in bundle.header.parts else None
        made = make_all(
            designer,
            self.users,
            self.methods,
            self.main,
            photos_of,
            oracle,
            each=self.settings.designs,
            seed=seed,
            kept=kept,
            progress=progress,
        )
        judge = judge_of(bundle, designer, self.settings, seed=seed, progress=progress)
        reading = read_catalogue(
            bundle, photos_of, designer.gan.size, self.settings, seed=seed, device=designer.device, progress=progress
        )
        judges = _judges(bundle, designer, judge, oracle, reading)
        verdicts = judged(designer, judges, self.users, made, photos_of, progress)
        invisibility = Invisibility(designer, photos_of, self.settings.pairs, seed)
        classes = np.array([bundle.category_names.index(user.category) for user in self.users])
        figures = {
            name: method_figures(name, pictures, verdicts, reading, invisibility, self.users, classes, seed)
            for name, pictures in made.items()
        }
        of_oracle = (REAL, ORACLE_20, ORACLE_ALL) if oracle is not None else ()
        others = [name for name in self.methods if name != self.main]
        scores, main = verdicts.scores, verdicts.scores[self.main]
        return DesignsReport(
            methods=figures,
            main=self.main,
            comparisons={name: paired(main, scores[name], seed) for name in others},
            preferred={
                name: {who: estimate(preferred(told, scores[name][who]), seed) for who, told in main.items()}
                for name in others
            },
            headroom={name: figures[name].lift[STYLE].value for name in of_oracle},
            budget=self._budget(judge, reading, began),
            users=self.users,
            made=made,
            scores=scores,
            percentiles={
                name: {who: 100 * above for who, above in by_judge.items()} for name, by_judge in verdicts.above.items()
            },
        )

    def _photos(self) -> PhotosOf:
        """Return what gives the first pictures of items, at the generator's size."""
        pixels = load_pixels(self.bundle, self.designer.gan.size, progress=self.progress)
        return lambda rows: np.asarray(pixels[self.bundle.primary_images[rows]])

    def _budget(self, judge: Recommender, reading: Reading, began: float) -> dict[str, Any]:
        """Return what it cost and of what it was made, as JSON values."""
        designer, gan = self.designer, self.designer.gan
        return {
            "users": len(self.users),
            "designs_per_user": self.settings.designs,
            "passes_per_design": {name: looks(one, designer) for name, one in self.methods.items()},
            "settings": {name: one.model_dump(mode="json") for name, one in self.methods.items()},
            "scorer": _told_of(designer.recommender),
            "companions": [_told_of(sight.recommender) for sight in designer.companions],
            "judge": _told_of(judge),
            "gan": {"recipe": gan.recipe.name, "size": gan.size, "digest": gan.digest},
            "reader_accuracy": reading.accuracy,
            "bundle": self.bundle.name,
            "seed": self.seed,
            "device": str(designer.device),
            "seconds": round(time.perf_counter() - began, 1),
        }


def _judges(
    bundle: Bundle, designer: Designer, judge: Recommender, oracle: StyleOracle | None, reading: Reading
) -> list[Judge]:
    """Return all who judge: the oracles only where users are simulated, that of attributes only where there are any
    besides the category."""
    judges: list[Judge] = [
        RecommenderJudge(SCORER, designer.sight),
        RecommenderJudge(JUDGE, Sight(judge, designer.gan)),
    ]
    if oracle is not None:
        judges.append(StyleJudge(oracle))
        if len(reading.attributes) > 1:
            pictured = bundle.primary_images >= 0
            judges.append(AttributeJudge(oracle, reading.reader, reading.attributes, bundle.category_index, pictured))
    return judges


def _told_of(recommender: Recommender) -> dict[str, Any]:
    facts = recommender.facts
    return {
        "model": recommender.name,
        "encoder": facts["encoder"],
        "half": facts["split"]["half"],
        "seed": facts["seed"],
        "digest": recommender.digest,
    }
