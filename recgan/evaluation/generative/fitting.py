"""Whether a bundle's photos can judge a generator, and which."""

from __future__ import annotations

import numpy as np

from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import TRANSFORM
from recgan.errors import DataError, MismatchError
from recgan.gan import TrainedGAN
from recgan.gan.data import training_rows
from recgan.gan.monitor import FEWEST

__all__ = ["check_fit", "photo_parts"]


def check_fit(gan: TrainedGAN, bundle: Bundle) -> None:
    """Check that a bundle's test photos can judge a generator.

    Raises:
        MismatchError: it was trained on another catalogue, or with other pixels.
        DataError: it has seen the test photos.
    """
    if list(gan.category_names) != bundle.category_names:
        raise MismatchError(
            f"bundle '{bundle.path}' has other categories ({_some(bundle.category_names)}) than the generator was "
            f"trained on ({_some(list(gan.category_names))}); give the bundle that it was trained on"
        )
    if gan.catalogue_digest != bundle.catalogue_digest:
        raise MismatchError(
            f"the generator was trained on another catalogue ({gan.catalogue_digest[:12]}) than bundle '{bundle.path}' "
            f"({bundle.catalogue_digest[:12]}), so which photos it has seen is not known; give the bundle that it was "
            "trained on"
        )
    if gan.transform != TRANSFORM:
        raise MismatchError(
            f"the generator learned from pixels made by '{gan.transform}', and this recgan makes them by "
            f"'{TRANSFORM}'; train it anew"
        )
    if "test" in gan.manifest.facts["parts"]:
        raise DataError(
            "the generator was trained on all photos (--all), so none is left to judge it by; train one without --all "
            "to know how good the recipe is"
        )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def photo_parts(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """Return the items whose photos are trained on, and those of the test in categories that are trained on.

    Raises:
        DataError: there are fewer than `recgan.gan.monitor.FEWEST` of the test.
    """
    train, test = (training_rows(bundle, (part,)) for part in ("train", "test"))
    test = test[np.isin(bundle.category_index[test], bundle.category_index[train])]
    if len(test) < FEWEST:
        raise DataError(
            f"bundle '{bundle.path}' holds {len(test)} photos for the test of a generator (a tenth of all, of "
            f"categories with training photos), and at least {FEWEST} are needed; import more"
        )
    return train, test
