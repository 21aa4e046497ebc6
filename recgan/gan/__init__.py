"""Class-conditional GANs: recipes, training, sampling."""

from recgan.gan.artifact import TrainedGAN, load_gan
from recgan.gan.export import export_gan
from recgan.gan.networks import build_networks
from recgan.gan.recipes import RECIPES, default_recipe, find_recipe
from recgan.gan.sampling import design_seeds, latents, sample_sheet
from recgan.gan.shipped import shipped_gan
from recgan.gan.training import plan_gan, run_folder, sweep_gan, train_gan

__all__ = [
    "RECIPES",
    "TrainedGAN",
    "build_networks",
    "default_recipe",
    "design_seeds",
    "export_gan",
    "find_recipe",
    "latents",
    "load_gan",
    "plan_gan",
    "run_folder",
    "sample_sheet",
    "shipped_gan",
    "sweep_gan",
    "train_gan",
]
