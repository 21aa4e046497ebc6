"""Who judges: a recommender that looks through another network than the one that designs."""

from __future__ import annotations

from pathlib import Path

from recgan.config import EmbedSettings, ProofSettings
from recgan.dataset.bundle import Bundle
from recgan.design import Designer
from recgan.design.sight import Sight
from recgan.encoders import embed_items
from recgan.errors import MismatchError
from recgan.evaluation.designs import judge_of, shared_eye
from recgan.progress import Progress, quiet
from recgan.recommenders import VisualRecommender, load_recommender

__all__ = ["choose_judge", "load_judge"]


def choose_judge(
    bundle: Bundle,
    designer: Designer,
    settings: ProofSettings | None = None,
    *,
    seed: int = 0,
    progress: Progress = quiet,
) -> Sight:
    """Return the judge that the proof of designs has (`recgan.evaluation.designs.judge_of`): trained from the half of
    the histories that the designer has not seen, once, and then kept beside the bundle.

    Raises:
        MismatchError: it would look through the designer's own network, or the designer has seen its half.
    """
    return Sight(judge_of(bundle, designer, settings, seed=seed, progress=progress), designer.gan)


def load_judge(folder: str | Path, designer: Designer, bundle: Bundle, *, progress: Progress = quiet) -> Sight:
    """Return a saved recommender as the judge of a designer's designs: through another encoder than the designer's.

    Raises:
        ArtifactError: it is not there, or damaged.
        MismatchError: it looks through the designer's own network, or through one that was tuned on from the same; or
            it is of another catalogue.
        SettingsError: it does not look at pictures.
    """
    model = load_recommender(folder)
    model.check_fits(bundle)
    features = None
    if isinstance(model, VisualRecommender) and model.whitening is not None and model.size != designer.gan.size:
        embed, encoder = EmbedSettings(size=designer.gan.size), model.load_encoder(str(designer.device))
        features = embed_items(bundle, embed, encoder=encoder, device=str(designer.device), progress=progress)
    judge = Sight(model, designer.gan, features)
    if shared_eye(judge.encoder, designer) is not None:
        raise MismatchError(
            f"the judge '{folder}' looks through the network that designs are made with ({judge.encoder.name}), so "
            "whatever fools the one fools the other; train a judge with another --encoder (dvbpr: another backbone)"
        )
    return judge
