"""The designer: new items of a category that a user would prefer, by a recommender's eye and a generator's hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import recgan
from recgan.config import MAX_DESIGNS, MAX_SEED, DesignSettings, EmbedSettings
from recgan.dataset.bundle import Bundle
from recgan.dataset.pixels import to_float
from recgan.design.fitting import check_fit
from recgan.design.objective import (
    Objective,
    Term,
    calibrated_realism,
    latent_shell,
    least_squares_realism,
    preference_term,
)
from recgan.design.presets import load_preset
from recgan.design.real_items import RealItems, unit_rows
from recgan.design.results import Design
from recgan.design.search import Preview, Space, search
from recgan.device import resolve_device
from recgan.encoders import Features, embed_items
from recgan.errors import MismatchError, SettingsError
from recgan.gan import TrainedGAN, load_gan
from recgan.gan.sampling import design_seeds, latents
from recgan.progress import Progress, quiet
from recgan.recommenders import Recommender, UserVector, VisualRecommender, load_recommender

__all__ = ["Designer", "load_designer", "seed_of_design"]


def seed_of_design(seed: int, place: int) -> int:
    """Return the seed of the design at ``place`` (from 0) of a request with ``seed``.

    The first design has the request's own seed: asking for one design with any design's seed gives that design again.
    """
    if place == 0:
        return seed
    high, low = np.random.SeedSequence([seed, place]).generate_state(2, np.uint32)
    return (int(high) << 21 | int(low) >> 11) & MAX_SEED


class Designer:
    """Designs with one visual recommender and one GAN of the same catalogue; keep one and ask it often.

    ::

        designer = Designer(load_recommender("runs/vbpr"), load_gan("runs/gan"))
        designs = designer.design("user-00001", "dress", n=8, seed=0)
        save_designs(designs, "designs")
    """

    def __init__(
        self,
        recommender: Recommender,
        gan: TrainedGAN,
        *,
        real_features: Features | None = None,
        device: str = "auto",
    ) -> None:
        """Bring a recommender and a GAN together.

        Args:
            recommender: a visual one (``vbpr``, ``visual_knn``), trained on real features.
            gan: trained on the same catalogue, at the size that the recommender was shown.
            real_features: the catalogue's features at the GAN's size, where the recommender was shown another.
            device: where the GAN was loaded; the encoder goes there too.

        Raises:
            SettingsError: the recommender does not look at pictures, or the GAN is on another device.
            MismatchError: they are of different catalogues, categories, image sizes or pixel transforms.
        """
        if not isinstance(recommender, VisualRecommender):
            raise SettingsError(
                f"'{recommender.name}' does not look at pictures, so it cannot say what to design; "
                "use vbpr or visual_knn"
            )
        if not recommender.fitted:
            raise SettingsError(f"this {recommender.name} is not trained yet; train it, or load a trained one")
        if recommender.whitening is None:
            raise SettingsError(
                f"this {recommender.name} is a control that knows nothing about pictures; train it with features=real"
            )
        if device != "auto" and resolve_device(device) != gan.device:
            raise SettingsError(f"the GAN was loaded on {gan.device}, not on {device}; load it with device='{device}'")
        check_fit(recommender, gan, real_features)
        self.recommender = recommender
        self.gan = gan
        self.device = gan.device
        self._encoder = recommender.load_encoder(str(self.device))
        self._whitening = recommender.whitening
        self._real_features = None
        if real_features is not None:
            whitened = recommender.whitening.apply(real_features.values)
            whitened[~real_features.has_image] = 0
            self._real_features = whitened

    @property
    def category_names(self) -> list[str]:
        """The categories that can be designed: those that the GAN saw a training image of."""
        return [name for name, images in zip(self.gan.category_names, self.gan.train_images) if images]

    def real_items(self, user: str | UserVector, category: str) -> RealItems:
        """Return the real items of a category for a user, scored as designs are.

        Raises:
            NotFoundError: an unknown user or category.
            SettingsError: the user has no history, or no real item is left.
        """
        vector = self._vector(user)
        self.gan.class_index(category)
        in_category = np.flatnonzero(self.recommender.items["category"].to_numpy()[: self._comparable] == category)
        features = self._features(in_category)
        pictured = features.any(axis=1)  # an item without a picture has zeros for features
        if not pictured.any():
            raise SettingsError(f"category '{category}' has no item with a picture to compare a design with; add some")
        left = pictured & ~np.isin(in_category, vector.seen)
        if not left.any():
            raise SettingsError(
                f"the user has seen every item of category '{category}', so none is left to compare a design with; "
                "choose another category"
            )
        rows, features = in_category[left], features[left]
        return RealItems(
            rows, self.recommender.item_ids[rows], self._scores(vector, features, category), unit_rows(features)
        )

    def design(
        self,
        user: str | UserVector,
        category: str,
        n: int = 8,
        *,
        seed: int = 0,
        settings: DesignSettings | None = None,
        progress: Progress = quiet,
        preview: Preview | None = None,
    ) -> list[Design]:
        """Design ``n`` items of ``category`` for a user, in the order of their seeds (not of their scores).

        Each design is searched by itself, from its own seed, so the first design of a request does not depend on how
        many there are, and any design comes again from its own ``seed`` with n=1: equal to the bit on the CPU of one
        machine. The cost is told in `recgan.design.search`.

        Args:
            user: an id, or a vector from the recommender's ``fold_in``.
            category: one of `category_names`.
            n: 1 to `recgan.config.MAX_DESIGNS`.
            seed: 0 to `recgan.config.MAX_SEED`.
            settings: how to search; see `recgan.design.presets`.
            progress: raising from it stops the search between two steps.
            preview: shown the designs while they are climbed.

        Raises:
            NotFoundError: an unknown user, category or preset.
            MismatchError: the user vector is another model's.
            SettingsError: n or seed out of range; the user has no history; no real item is left to compare with.
            TrainingError: the search met values that are not finite.
        """
        settings = settings if settings is not None else DesignSettings()
        if not 1 <= n <= MAX_DESIGNS:
            raise SettingsError(f"n={n}: ask for 1 to {MAX_DESIGNS} designs")
        if not 0 <= seed <= MAX_SEED:
            raise SettingsError(f"seed={seed}: give a seed from 0 to {MAX_SEED}")
        record = self._record(user, settings)
        vector = self._vector(user)
        real = self.real_items(user, category)
        std = settings.latent_std if settings.latent_std is not None else self.gan.recipe.latent_std
        seeds = [seed_of_design(seed, place) for place in range(n)]
        prior = self.gan.recipe.model_copy(update={"latent_std": std})
        z = torch.stack([latents(design_seeds(one, settings.samples), prior) for one in seeds])
        found = search(
            Space(self.gan.generator, self._encoder),
            self._objective(vector, category, real, settings, std),
            z.to(self.device),
            self.gan.class_index(category),
            settings,
            progress,
            preview,
        )
        designs = []
        for place, own_seed in enumerate(seeds):
            # One at a time: the last bits of a matrix product depend on the number of its rows.
            row = slice(place, place + 1)
            whitened = self._see(found.features[row])
            score = float(self._scores(vector, whitened, category)[0])
            designs.append(
                Design(
                    image=found.pixels[place],
                    z=found.z[place].numpy(),
                    category=category,
                    seed=own_seed,
                    score=score,
                    percentile=real.percentile(score),
                    realism=self._realism(found.pixels[row], category),
                    nearest=real.nearest(whitened[0], settings.neighbours),
                    settings={**record, "objective": float(found.objective[place])},
                )
            )
        return designs

    # ---- parts

    def _objective(
        self, vector: UserVector, category: str, real: RealItems, settings: DesignSettings, std: float
    ) -> Objective:
        def preference(features: Tensor) -> Tensor:
            return self.recommender.preference(vector, features, category)

        if settings.preference == "raw":
            liking: Term = preference_term(preference)
        else:
            mean, spread = self._unit(vector, category, real)
            liking = preference_term(preference, mean=mean, std=spread)
        if settings.realism == "least_squares":
            realism = least_squares_realism(self.gan.discriminator)
        else:
            realism = calibrated_realism(self.gan.realism)
        return Objective(
            [(1.0, liking), (settings.realism_weight, realism), (settings.prior_weight, latent_shell(std))]
        )

    def _unit(self, vector: UserVector, category: str, real: RealItems) -> tuple[float, float]:
        """Return mean and standard deviation of the user's preference over the category's real items."""
        spread = _spread(real.scores)
        if spread == 0:  # one item, or all alike: the unit is taken from the whole catalogue
            features = self._features(np.arange(self._comparable))
            spread = _spread(self._scores(vector, features[features.any(axis=1)], category))
        if spread == 0:
            raise SettingsError(
                f"the {self.recommender.name} likes every picture alike for this user, so there is nothing to climb; "
                "train it longer, or choose another user"
            )
        return float(real.scores.mean()), spread

    @property
    def _comparable(self) -> int:
        """How many items, from the first, have features at the GAN's size."""
        return len(self.recommender.items if self._real_features is None else self._real_features)

    def _features(self, rows: np.ndarray) -> np.ndarray:
        """Return the whitened features of items of the recommender's catalogue, float32 [n, width]."""
        features = self.recommender.item_features if self._real_features is None else self._real_features
        return features[rows].astype(np.float32)

    def _vector(self, user: str | UserVector) -> UserVector:
        if isinstance(user, UserVector):
            width = self.recommender.item_factors.shape[1]
            if user.values.shape != (width,):
                raise MismatchError(
                    f"a user vector of {len(user.values)} values does not fit this {self.recommender.name} of {width}; "
                    "fold the user in with this model"
                )
            return user
        vector = self.recommender.user_vector(user)
        if not len(vector.seen):
            raise SettingsError(
                f"user '{user}' has no history in the training data, so no taste is known; "
                "give some liked items instead (--liked ITEM, or fold_in)"
            )
        return vector

    @torch.no_grad()
    def _see(self, features: Tensor) -> np.ndarray:
        return self._whitening(features).cpu().numpy()

    @torch.no_grad()
    def _scores(self, vector: UserVector, whitened: np.ndarray, category: str) -> np.ndarray:
        """Return what `VisualRecommender.preference` gives for features that are whitened already, float32 [N]."""
        categories = torch.full((len(whitened),), self.gan.class_index(category))
        factors = self.recommender.factors_from(torch.from_numpy(whitened), categories)
        return (factors @ torch.from_numpy(vector.values)).numpy()

    @torch.no_grad()
    def _realism(self, pixels: np.ndarray, category: str) -> float:
        images = to_float(pixels, self.device)
        classes = torch.full((len(images),), self.gan.class_index(category), dtype=torch.int64, device=self.device)
        return float(self.gan.realism(images, classes)[0])

    def _record(self, user: str | UserVector, settings: DesignSettings) -> dict[str, Any]:
        """Return what, with a design's seed, reproduces it."""
        named = load_preset(settings.preset).model_dump()
        search_settings = settings.model_dump()
        if isinstance(user, UserVector):
            seen = [str(item_id) for item_id in self.recommender.item_ids[user.seen]]
            who: Any = {"vector": [float(value) for value in user.values], "seen": seen}
        else:
            who = user
        return {
            "preset": settings.preset,
            "changed": {name: value for name, value in search_settings.items() if value != named[name]},
            "search": search_settings,
            "user": who,
            "size": self.gan.size,
            "catalogue": self.gan.catalogue_digest,
            "recommender": {"name": self.recommender.name, "digest": self.recommender.digest},
            "gan": {"recipe": self.gan.recipe.name, "digest": self.gan.digest},
            "encoder": {"name": self._encoder.name, "digest": self._encoder.digest},
            "nearest_by": "cosine distance of whitened encoder features",
            "recgan": recgan.__version__,
            "torch": torch.__version__,
            "device": self.device.type,
        }


def load_designer(
    recommender: str | Path,
    gan: str | Path,
    *,
    bundle: Bundle | None = None,
    device: str = "auto",
    progress: Progress = quiet,
) -> Designer:
    """Return the designer of a saved recommender and a saved GAN.

    ``bundle`` is needed only where the recommender was shown images of another size than the GAN makes: its images are
    then embedded at the GAN's size (once; they are cached).

    Raises:
        ArtifactError: one of them is not there, or damaged.
        SettingsError, MismatchError: as `Designer`.
    """
    loaded = load_recommender(recommender)
    generator = load_gan(gan, device)
    real_features = None
    if bundle is not None:
        loaded.check_fits(bundle)
    if bundle is not None and isinstance(loaded, VisualRecommender) and loaded.size != generator.size:
        embed, encoder = EmbedSettings(size=generator.size), loaded.load_encoder(device)
        real_features = embed_items(bundle, embed, encoder=encoder, device=device, progress=progress)
    return Designer(loaded, generator, real_features=real_features, device=device)


def _spread(scores: np.ndarray) -> float:
    """Return the standard deviation, or 0 where rounding alone makes the scores differ."""
    spread = float(scores.astype(np.float64).std())
    return spread if spread > 1e-6 * float(np.abs(scores).max()) else 0.0
