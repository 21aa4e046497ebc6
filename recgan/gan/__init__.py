"""Class-conditional GANs: recipes, training, sampling."""

from recgan.gan.artifact import TrainedGAN, load_gan
from recgan.gan.networks import build_networks
from recgan.gan.recipes import RECIPES, find_recipe
from recgan.gan.sampling import design_seeds, latents, sample_sheet
from recgan.gan.trainer import run_folder, train_gan

__all__ = [
    "RECIPES",
    "TrainedGAN",
    "build_networks",
    "design_seeds",
    "find_recipe",
    "latents",
    "load_gan",
    "run_folder",
    "sample_sheet",
    "train_gan",
]
