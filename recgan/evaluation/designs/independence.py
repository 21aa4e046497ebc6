"""A judge that shares nothing with who designs: it learns from the other half of each user's history, and looks through
another network."""

from __future__ import annotations

import numpy as np

from recgan.artifacts import json_digest
from recgan.config import EmbedSettings, ProofSettings, SplitSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.split import make_split
from recgan.design import Designer
from recgan.encoders import Encoder, load_encoder
from recgan.errors import DataError, MismatchError
from recgan.evaluation.showcase import ShownUser, draw_users
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommender, load_recommender, train_recommender

__all__ = ["check_independence", "drawn_users", "judge_of", "shared_eye"]

_LEAST_HISTORY = 2
"""Training interactions that a user must have in each half."""


def judge_of(
    bundle: Bundle,
    designer: Designer,
    settings: ProofSettings | None = None,
    *,
    seed: int = 0,
    progress: Progress = quiet,
) -> Recommender:
    """Return judge B of a designer's scorer: trained once, then kept beside the bundle.

    Raises:
        MismatchError: as `check_independence`.
    """
    settings = settings or ProofSettings()
    check_independence(bundle, designer, settings)
    split = SplitSettings(**{**designer.recommender.facts["split"], "half": "judge"})
    embed = EmbedSettings(encoder=settings.judge_encoder, size=designer.gan.size)
    about = {
        "model": settings.judge_model,
        "split": split.model_dump(mode="json"),
        "embed": embed.model_dump(mode="json"),
        "bundle": bundle.digest,
        "seed": seed + 1,
    }
    place = bundle.cache_folder / f"judge-{json_digest(about)[:16]}"
    if not place.is_dir():
        train_recommender(
            bundle,
            settings.judge_model,
            split=split,
            embed=embed,
            out=place,
            seed=seed + 1,
            device=str(designer.device),
            progress=progress,
        )
    return load_recommender(place)


def check_independence(bundle: Bundle, designer: Designer, settings: ProofSettings) -> None:
    """See to it that judge B, as the settings have it, will share nothing with who designs.

    Raises:
        MismatchError: it would look through the network of the scorer or of a companion, or one of these has seen
            its half.
    """
    _check_halves(bundle, designer)
    shared = shared_eye(load_encoder(settings.judge_encoder, "cpu"), designer)
    if shared is not None:
        raise MismatchError(
            f"judge and scorer would look through one network ({shared}), so the judge is fooled where the scorer is; "
            "set another judge_encoder"
        )


def shared_eye(judge: Encoder, designer: Designer) -> str | None:
    """Return the name of the encoder, of the scorer or of a companion, that is one eye with a judge's: the same
    network, or one that was tuned on from the same; None where there is none."""
    names = (sight.encoder.name for sight in (designer.sight, *designer.companions) if sight.encoder.eye == judge.eye)
    return next(names, None)


def drawn_users(bundle: Bundle, designer: Designer, users: int, *, seed: int = 0) -> list[ShownUser]:
    """Return users drawn by the seed that have a history in both halves, each with a category.

    Raises:
        DataError: there is none.
    """
    recommender = designer.recommender
    known = set(recommender.user_ids.tolist())
    for half in ("scorer", "judge"):
        split = make_split(bundle, SplitSettings(**{**recommender.facts["split"], "half": half}))
        counts = np.bincount(split.train.users, minlength=split.n_users)
        known &= set(split.user_ids[counts >= _LEAST_HISTORY].tolist())
    drawn = draw_users(designer, len(recommender.user_ids), seed=seed)
    found = [user for user in drawn if user.user_id in known][:users]
    if not found:
        raise DataError(
            f"no user of bundle '{bundle.path}' has {_LEAST_HISTORY} training interactions in each half; "
            "evaluate designs on data with longer histories"
        )
    return found


def _check_halves(bundle: Bundle, designer: Designer) -> None:
    """See to it that nobody who helps to design has seen the judge's half of these very histories."""
    expected = designer.recommender.facts["split"]
    digest = make_split(bundle, SplitSettings(**expected)).digest
    for sight in (designer.sight, *designer.companions):
        recommender = sight.recommender
        half = recommender.facts["split"].get("half", "both")
        if half != "scorer":
            raise MismatchError(
                f"this {recommender.name} was trained on half={half} of the histories, so a judge would have nothing "
                "of its own to judge by; train it with: recgan train recommender ... --split half=scorer"
            )
        if recommender.facts["split"] != expected:
            raise MismatchError(
                f"this {recommender.name} was trained on another split than the scorer, whose half overlaps the "
                "judge's; train it with the scorer's --split settings"
            )
        if recommender.split_digest != digest:
            raise MismatchError(
                f"this {recommender.name} learnt from other interactions than those of bundle '{bundle.path}' (or from "
                "more since), so it may have seen the judge's half; train it on this bundle with --split half=scorer"
            )
