"""Synthetic shops: one of drawn factors, without pictures, as large as a real one; and a small one with pictures and a
generator that has hardly learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from recgan.config import EmbedSettings, Recipe, SimulateSettings, VBPRSettings
from recgan.dataset.boutique import make_boutique
from recgan.dataset.bundle import Bundle
from recgan.dataset.bundle_writer import BundleWriter
from recgan.dataset.simulate import simulate_users
from recgan.gan import train_gan
from recgan.recommenders import Recommender, create_recommender, train_recommender

__all__ = ["DIM", "SEEN", "SIZES", "make_boutique_shop", "make_shop", "user_id"]

SIZES = {"tiny": (500, 2_000), "small": (100_000, 200_000), "full": (500_000, 2_000_000)}
"""Items and users."""
DIM = 64
SEEN = 20
"""Items that each user has had."""
_CATEGORIES = 40
_PIXELS = 32


def user_id(row: int) -> str:
    """Return the id of a user."""
    return f"user-{row:08d}"


def make_shop(folder: Path, scale: str, seed: int) -> tuple[Path, Path]:
    """Write a bundle and a recommender of a scale, and return where they are; what is there already is taken."""
    n_items, n_users = SIZES[scale]
    data, model = folder / f"{scale}-catalogue", folder / f"{scale}-recommender"
    rng = np.random.default_rng(seed)
    if not data.exists():
        with BundleWriter(data, name=f"synthetic {scale}", licence="CC0-1.0", source=f"drawn, seed {seed}") as writer:
            ids = [f"item-{row:07d}" for row in range(n_items)]
            categories = [f"category-{row % _CATEGORIES:02d}" for row in range(n_items)]
            writer.set_items(pd.DataFrame({"item_id": ids, "category": categories, "available": True}))
    if not model.exists():
        _model(Bundle.open(data), n_users, rng).save(model)
    return data, model


def _model(bundle: Bundle, n_users: int, rng: np.random.Generator) -> Recommender:
    """Return matrix factorisation with drawn factors: the search does not know how they were learned."""
    n_items = len(bundle.items)
    model = create_recommender("bpr_mf")
    model.category_names, model.catalogue_digest = tuple(bundle.category_names), bundle.catalogue_digest
    users = rng.standard_normal((n_users, DIM + 1), dtype=np.float32)
    users[:, 0] = 1.0  # times the item's bias
    # Distinct items a user, sorted, without a loop: one of each of SEEN equal parts of the catalogue.
    part = n_items // SEEN
    seen = rng.integers(part, size=(n_users, SEEN)) + part * np.arange(SEEN)
    model.restore(
        np.array([user_id(row) for row in range(n_users)], dtype=object),
        bundle.items,
        {
            "user_factors": users,
            "item_factors": rng.standard_normal((n_items, DIM + 1), dtype=np.float32),
            "seen_indptr": np.arange(n_users + 1, dtype=np.int64) * SEEN,
            "seen_items": seen.ravel().astype(np.int64),
            "cold_bias": np.zeros(1),
            "pull": np.zeros(1),
            "warm": np.ones(n_items, dtype=bool),
        },
    )
    return model


def make_boutique_shop(folder: Path, seed: int) -> tuple[Path, Path, Path]:
    """Draw a catalogue, simulate its users, train a recommender and a GAN on it for a moment, and return where the
    three are; what is there already is taken."""
    data, model, gan = (folder / f"boutique-{name}" for name in ("catalogue", "recommender", "gan"))
    if not data.exists():
        drawn = make_boutique(folder / "boutique", items=208, size=64, seed=seed)
        simulate_users(drawn, data, SimulateSettings(users=100, interactions=1_000))
    bundle = Bundle.open(data)
    if not model.exists():
        embed = EmbedSettings(size=_PIXELS)
        train_recommender(bundle, "vbpr", VBPRSettings(epochs=3), out=model, embed=embed, seed=seed, device="cpu")
    if not gan.exists():
        small = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=8, batch_size=8)
        train_gan(bundle, small, out=gan, size=_PIXELS, images_seen=64, seed=seed, device="cpu")
    return data, model, gan
