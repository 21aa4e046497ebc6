"""The named recipes: each a complete `recgan.config.Recipe`, from the simplest to the default.

A setting that a recipe does not name has its default from `Recipe`. ``recgan train gan --list`` shows the names; any
setting can be changed with ``--set``, and a changed recipe keeps its name. Recipes differ from their papers in that all
are told the class (but `vanilla-fc`), draw z from a normal prior, share the family's layers, and mostly have batches of
8 or 16, which suit a small catalogue and the default length; what else differs is said beside each.
"""

from __future__ import annotations

import torch

from recgan.config import Recipe
from recgan.errors import SettingsError, nearest_name

__all__ = ["RECIPES", "default_recipe", "find_recipe"]

DEFAULT_RECIPE = "modern"
DEFAULT_RECIPE_CPU = "modern-small"

_MODERN = Recipe(
    name="modern",
    summary="the default: residual, no norm, relativistic pairs of one class, R1 + R2, projection, FiLM, average",
    network="residual",
    latent_dim=128,
    generator_width=512,
    discriminator_width=512,
    blocks=1,
    latent_skips=True,
    class_dim=64,
    generator_classes="film",
    discriminator_classes="projection",
    discriminator_norm="none",
    loss="relativistic",
    r1_weight=1.0,
    r2_weight=1.0,
    r1_every=1,
    final_penalty=0.1,
    batch_size=64,
    generator_learning_rate=2e-4,
    discriminator_learning_rate=2e-4,
    beta1=0.0,
    beta2=0.99,
    final_rate=0.1,
    class_warm_up=0.1,
    ema_half_life=20_000,
    augment=("flip", "translate", "colour"),
    class_power=0.5,
    images_seen=1_000_000,
)
"""Its ideas: Huang et al. 2024 (relativistic pairs with R1 and R2 need no other trick), Miyato & Koyama 2018
(projection), Perez et al. 2018 (FiLM), Zhao et al. 2020 (augmentation), Shahbazi et al. 2022 (warm-up of the class)."""

_DCGAN = Recipe(
    name="dcgan",
    summary="strided convolutions and batch norm in both (Radford et al. 2016)",
    network="dcgan",
    latent_dim=100,
    generator_classes="concat",
    discriminator_classes="concat",
    discriminator_norm="batch",
    minibatch="discrimination",  # Salimans et al. 2016: else a small catalogue's soon makes one picture a class
    loss="non_saturating",
    batch_size=16,
    generator_learning_rate=2e-4,
    discriminator_learning_rate=2e-4,
    beta1=0.5,
    beta2=0.999,
)

_ALL = (
    Recipe(
        name="vanilla-fc",
        summary="fully connected, and told no class: all categories look alike (Goodfellow et al. 2014)",
        network="dense",
        latent_dim=100,
        generator_width=256,
        discriminator_width=256,
        generator_classes="none",
        discriminator_classes="none",
        discriminator_norm="none",
        dropout=0.3,
        loss="non_saturating",
        batch_size=64,
        beta1=0.5,
        beta2=0.999,
    ),
    Recipe(
        name="cgan",
        summary="fully connected, the class beside z and beside the pixels (Mirza & Osindero 2014)",
        network="dense",
        latent_dim=100,
        generator_width=256,
        discriminator_width=256,
        class_dim=64,
        generator_classes="concat",
        discriminator_classes="concat",
        discriminator_norm="none",
        dropout=0.3,
        loss="non_saturating",
        batch_size=64,
        beta1=0.5,
        beta2=0.999,
    ),
    _DCGAN,
    _DCGAN.model_copy(
        update={
            "name": "dcgan-minimax",
            "summary": "dcgan whose G minimises log(1 - D): to see its gradient vanish (Goodfellow et al. 2014, eq. 1)",
            "loss": "minimax",
        }
    ),
    # Kang et al. 2017, by their released code. 64 px only.
    Recipe(
        name="kang2017",
        summary="the paper's least-squares GAN to the letter, 64 px (Kang et al. 2017)",
        network="kang2017",
        latent_dim=256,
        loss="least_squares",
        batch_size=16,
        generator_learning_rate=1e-4,
        discriminator_learning_rate=1e-4,
        beta1=0.5,
        beta2=0.99,
        ema_half_life=0,
        epochs=30,
    ),
    Recipe(
        name="dcgan-lsgan",
        summary="dcgan with least squares, group norm in D, R1 and an average: can be gone on with",
        network="dcgan",
        loss="least_squares",
        batch_size=8,  # half as many images to the same KID as with 16 at first, and no more time later
        ema_half_life=50_000,  # at most a tenth of the images seen: long runs alone average so long
        r1_weight=5.0,
        class_power=0.5,
    ),
    # The classifier takes the class's place in D.
    _DCGAN.model_copy(
        update={
            "name": "acgan",
            "summary": "dcgan whose D names the class instead of being told it (Odena et al. 2017)",
            "discriminator_classes": "classifier",
            "class_weight": 1.0,
        }
    ),
    # The code has a normal prior, as all of z, instead of a uniform one.
    _DCGAN.model_copy(
        update={
            "name": "infogan",
            "summary": "dcgan whose D reads a code of 8 numbers back from the image (Chen et al. 2016)",
            "code_dim": 8,
            "code_weight": 0.5,
            "discriminator_learning_rate": 1e-4,
        }
    ),
    # Rates are four times the paper's, for runs of some hundred thousand images.
    _DCGAN.model_copy(
        update={
            "name": "wgan",
            "summary": "the Wasserstein distance, by a critic with clipped weights (Arjovsky et al. 2017)",
            "minibatch": "none",
            "loss": "wasserstein",
            "clip": 0.01,
            "discriminator_steps": 5,
            "optimiser": "rmsprop",
            "beta2": 0.99,
            "generator_learning_rate": 2e-4,
            "discriminator_learning_rate": 2e-4,
        }
    ),
    # Here too, and for the same reason.
    _DCGAN.model_copy(
        update={
            "name": "wgan-gp",
            "summary": "the Wasserstein distance, by a critic with gradients near 1 (Gulrajani et al. 2017)",
            "minibatch": "none",
            "discriminator_norm": "group",
            "loss": "wasserstein",
            "gradient_penalty_weight": 10.0,
            "discriminator_steps": 5,
            "generator_learning_rate": 4e-4,
            "discriminator_learning_rate": 4e-4,
            "beta1": 0.0,
            "beta2": 0.9,
        }
    ),
    # Balance and rates move faster than the paper's: an empty white picture is the easiest to restore, and a generator
    # that finds it before D objects does not come back.
    Recipe(
        name="began",
        summary="D restores images, and the two errors are held in balance (Berthelot et al. 2017)",
        network="autoencoder",
        latent_dim=64,
        generator_width=24,
        discriminator_width=24,
        generator_classes="concat",
        discriminator_classes="concat",
        discriminator_norm="none",
        loss="boundary_equilibrium",
        equilibrium=0.7,
        equilibrium_rate=0.02,
        batch_size=16,
        generator_learning_rate=4e-4,
        discriminator_learning_rate=4e-4,
        beta1=0.5,
        beta2=0.999,
        final_rate=0.1,
    ),
    Recipe(
        name="sngan-projection",
        summary="spectral norm in D, the class by projection, hinge loss (Miyato et al. 2018)",
        network="residual",
        latent_dim=128,
        generator_width=256,
        discriminator_width=256,
        class_dim=64,
        generator_classes="batch_norm",
        discriminator_classes="projection",
        discriminator_norm="spectral",
        loss="hinge",
        discriminator_steps=5,
        batch_size=16,
        generator_learning_rate=2e-4,
        discriminator_learning_rate=2e-4,
        beta1=0.0,
        beta2=0.9,
    ),
    # "Lite": a few hundred channels and batches of 64 instead of 1,500 and 2,048; z whole in every block.
    Recipe(
        name="biggan-lite",
        summary="spectral norm in both, z in every block, self-attention, truncated samples (Brock et al. 2019)",
        network="residual",
        latent_dim=128,
        truncation=2.0,
        generator_width=256,
        discriminator_width=256,
        latent_skips=True,
        class_dim=64,
        generator_classes="batch_norm",
        generator_spectral=True,
        discriminator_classes="projection",
        discriminator_norm="spectral",
        attention=True,
        loss="hinge",
        orthogonal_weight=1e-4,
        discriminator_steps=2,
        batch_size=16,
        generator_learning_rate=1e-4,
        discriminator_learning_rate=4e-4,
        beta1=0.0,
        beta2=0.999,
        ema_half_life=20_000,
    ),
    Recipe(
        name="stylegan-lite",
        summary="a mapping to w, scaled convolutions, noise; designs can be edited in w (Karras et al. 2020)",
        network="style",
        latent_dim=128,
        generator_width=256,
        discriminator_width=256,
        class_dim=64,
        discriminator_classes="projection",
        discriminator_norm="none",
        minibatch="deviation",
        loss="non_saturating",
        r1_weight=1.0,
        r1_every=16,
        batch_size=16,
        generator_learning_rate=2e-3,
        discriminator_learning_rate=5e-4,
        beta1=0.0,
        beta2=0.99,
        ema_half_life=10_000,
        augment=("flip", "translate", "colour"),
        class_power=0.5,
    ),
    # The class, which the original does not know, is joined to z and projected in D.
    Recipe(
        name="progressive",
        summary="the resolution grows from 4 px while it trains; Wasserstein loss (Karras et al. 2018)",
        network="progressive",
        latent_dim=128,
        generator_width=256,
        discriminator_width=256,
        class_dim=64,
        generator_classes="concat",
        discriminator_classes="projection",
        discriminator_norm="none",
        minibatch="deviation",
        loss="wasserstein",
        gradient_penalty_weight=10.0,
        drift_weight=0.001,
        growth=0.6,
        batch_size=16,
        generator_learning_rate=1e-3,
        discriminator_learning_rate=1e-3,
        beta1=0.0,
        beta2=0.99,
        ema_half_life=10_000,
    ),
    _MODERN,
    _MODERN.model_copy(
        update={
            "name": "modern-small",
            "summary": "the default on a CPU: modern's game in strided networks, penalties in every fourth step",
            "network": "residual_dcgan",
            "generator_width": 256,
            "discriminator_width": 192,
            "r1_weight": 0.4,
            "r2_weight": 0.4,
            "r1_every": 4,
            "batch_size": 16,
            "generator_learning_rate": 1.2e-3,
            "discriminator_learning_rate": 1.2e-3,
            "beta1": 0.5,
            "augment": (),  # slower at first; for a small shop, whose photos are seen many times, set them
            "class_warm_up": 0.0,
            "ema_half_life": 50_000,
            "images_seen": 200_000,
        }
    ),
)
RECIPES = {recipe.name: Recipe(**recipe.model_dump()) for recipe in _ALL}
"""Recipes by name. (Made anew, since a copy with changes is not checked.)"""


def default_recipe(device: torch.device) -> str:
    """Return the name of the recipe for ``device`` where nobody chose one."""
    return DEFAULT_RECIPE_CPU if device.type == "cpu" else DEFAULT_RECIPE


def find_recipe(recipe: str | Recipe) -> Recipe:
    """Return the recipe of that name; a `Recipe` is returned as it is.

    Raises:
        SettingsError: no recipe has that name (the nearest one is suggested).
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        hint = nearest_name(recipe, RECIPES) or f"; the recipes are: {', '.join(RECIPES)}"
        raise SettingsError(f"there is no recipe '{recipe}'{hint}")
    return RECIPES[recipe]
