"""New items that a user would prefer: a recommender says what is liked, a generator what can be drawn."""

from recgan.design.designer import Designer, Request, load_designer, seed_of_design
from recgan.design.presets import PRESETS, load_preset
from recgan.design.real_items import RealItems
from recgan.design.results import Design, load_designs, save_designs, sheet_of

__all__ = [
    "PRESETS",
    "Design",
    "Designer",
    "RealItems",
    "Request",
    "load_designer",
    "load_designs",
    "load_preset",
    "save_designs",
    "seed_of_design",
    "sheet_of",
]
