"""The settings of every stage, with their defaults, in one place.

Each class is frozen and refuses unknown names. ``overridden(settings, ["name=value"])`` is what the command line's
``--set`` does. The GAN's recipes are named instances of `Recipe`, in `recgan.gan.recipes`; the designer's presets are
named instances of `DesignSettings`, in `recgan.design.presets`.
"""

from recgan.config.base import Settings, complaint, overridden
from recgan.config.data import EmbedSettings, ImportOptions, SimulateSettings, SplitSettings
from recgan.config.demo import DemoSettings
from recgan.config.design import MAX_DESIGNS, MAX_SEED, DesignSettings, check_request
from recgan.config.editing import EditSettings
from recgan.config.evaluation import GenerativeSettings, ProofSettings
from recgan.config.gan import InverterSettings, MonitorSettings, Recipe
from recgan.config.recommenders import (
    ALSSettings,
    BlendSettings,
    BPRMFSettings,
    BPRSettings,
    CategorySettings,
    DVBPRSettings,
    FactorSettings,
    FeatureKind,
    IdealPointSettings,
    IndexSettings,
    LookSettings,
    PopularitySettings,
    RepurchaseSettings,
    VBPRSettings,
    VBPRSSMSettings,
    VisualKNNSettings,
    WARPSettings,
    index_settings,
)

__all__ = [
    "MAX_DESIGNS",
    "MAX_SEED",
    "ALSSettings",
    "BPRMFSettings",
    "BPRSettings",
    "BlendSettings",
    "CategorySettings",
    "DVBPRSettings",
    "DemoSettings",
    "DesignSettings",
    "EditSettings",
    "EmbedSettings",
    "FactorSettings",
    "FeatureKind",
    "GenerativeSettings",
    "IdealPointSettings",
    "ImportOptions",
    "IndexSettings",
    "InverterSettings",
    "LookSettings",
    "MonitorSettings",
    "PopularitySettings",
    "ProofSettings",
    "Recipe",
    "RepurchaseSettings",
    "Settings",
    "SimulateSettings",
    "SplitSettings",
    "VBPRSSMSettings",
    "VBPRSettings",
    "VisualKNNSettings",
    "WARPSettings",
    "check_request",
    "complaint",
    "index_settings",
    "overridden",
]
