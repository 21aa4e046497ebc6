"""The named recipes: each a complete `recgan.config.Recipe`."""

from __future__ import annotations

from recgan.config import Recipe
from recgan.errors import SettingsError, nearest_name

__all__ = ["RECIPES", "find_recipe"]

RECIPES = {
    recipe.name: recipe
    for recipe in (
        # Kang et al. 2017, by their released code. 64 px only.
        Recipe(
            name="kang2017",
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
            network="dcgan",
            loss="least_squares",
            batch_size=16,
            ema_half_life=5000,
            r1_weight=5.0,
            class_power=0.5,
        ),
    )
}
"""Recipes by name."""


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
