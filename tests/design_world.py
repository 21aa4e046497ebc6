"""A small world to design in: a drawn catalogue, simulated users, two recommenders with different eyes, and a generator
that has hardly learned. What is judged on it is the machinery, never the designs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recgan.config import DesignSettings, EmbedSettings, Recipe, SimulateSettings, VisualKNNSettings
from recgan.dataset.boutique import make_boutique
from recgan.dataset.bundle import Bundle
from recgan.dataset.simulate import simulate_users
from recgan.design import Designer
from recgan.gan import train_gan
from recgan.recommenders import load_recommender, train_recommender

SIZE = 32
QUICK = DesignSettings(samples=2, starts=1, steps=1, neighbours=2)


@dataclass(frozen=True)
class World:
    """The folder holds ``catalogue``, ``recommender``, ``judge`` and ``gan``."""

    folder: Path
    bundle: Bundle
    designer: Designer


def make_world(folder: Path) -> World:
    bundle = simulate_users(
        make_boutique(folder / "drawn", items=104, size=64),
        folder / "catalogue",
        SimulateSettings(users=40, interactions=400),
    )
    for name, encoder in (("recommender", "efficientnet_lite0"), ("judge", "efficientnet_lite2")):
        train_recommender(
            bundle,
            "visual_knn",
            VisualKNNSettings(width=16),
            out=folder / name,
            embed=EmbedSettings(size=SIZE, encoder=encoder),
            device="cpu",
        )
    small = Recipe(name="small", generator_width=16, discriminator_width=16, latent_dim=8, batch_size=8)
    gan = train_gan(bundle, small, out=folder / "gan", size=SIZE, images_seen=8, device="cpu")
    return World(folder, bundle, Designer(load_recommender(folder / "recommender"), gan, device="cpu"))
