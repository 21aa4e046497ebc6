"""Whether a recommender and a GAN belong together: one catalogue, one order of categories, the same pixels."""

from __future__ import annotations

from recgan.encoders import Features
from recgan.errors import MismatchError
from recgan.gan import TrainedGAN
from recgan.recommenders import VisualRecommender

__all__ = ["check_fit"]


def check_fit(recommender: VisualRecommender, gan: TrainedGAN, real_features: Features | None = None) -> None:
    """Check that a user's preference for the GAN's images means the same as for the catalogue's real items.

    Args:
        recommender: has learned from the real items at its own size.
        gan: whose images it is to judge.
        real_features: features of the real items at the GAN's size, where the recommender was shown another.

    Raises:
        MismatchError: it does not; the message says why and what to do.
    """
    if recommender.catalogue_digest != gan.catalogue_digest:
        raise MismatchError(
            "the recommender and the GAN were trained on different catalogues "
            f"({recommender.catalogue_digest[:12]} and {gan.catalogue_digest[:12]}); train both on the same bundle"
        )
    if list(recommender.category_names) != list(gan.category_names):
        raise MismatchError(
            "the recommender and the GAN order the categories differently; train both on the same bundle"
        )
    if real_features is None:
        size, transform, mend = recommender.size, recommender.transform, f"train the recommender with --size {gan.size}"
    else:
        size, transform, mend = real_features.size, real_features.transform, f"embed the bundle with --size {gan.size}"
        if real_features.encoder_digest != recommender.encoder_digest:
            raise MismatchError(
                f"the real items were embedded by another encoder ({real_features.encoder}) than the recommender's "
                f"({recommender.encoder_name}); embed the bundle with --encoder {recommender.encoder_name}"
            )
        if len(real_features.values) != len(recommender.items):
            raise MismatchError(
                f"there are features of {len(real_features.values)} real items, and the recommender knows "
                f"{len(recommender.items)}; embed the bundle that it was trained on"
            )
    if size != gan.size:
        raise MismatchError(
            f"the recommender was shown images of {size} px and the GAN makes {gan.size} px, so a design and a real "
            f"item would be seen differently; {mend}, or give the bundle (--data)"
        )
    if transform != gan.transform:
        raise MismatchError(
            f"the recommender was shown pixels made by '{transform}', and the GAN learned from '{gan.transform}'; "
            "train both with one version of recgan"
        )
