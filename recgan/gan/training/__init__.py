"""Training: from a catalogue's images and a recipe to a GAN; its plan beforehand, and sweeps over recipes."""

from recgan.gan.training.plan import plan_gan
from recgan.gan.training.sweep import sweep_gan, sweep_table
from recgan.gan.training.trainer import run_folder, train_gan

__all__ = ["plan_gan", "run_folder", "sweep_gan", "sweep_table", "train_gan"]
