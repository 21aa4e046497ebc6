"""Recommenders: one contract (`base`), one file a model (`models`), and how to get them by name (`registry`).

::

    data = training_data(bundle, make_split(bundle), embed_items(bundle))
    model = create_recommender("vbpr").fit(data, seed=0)
    model.recommend(["anna"], k=10, categories=["Dresses"])
    model.save(folder)
"""

from recgan.recommenders.base import Recommender
from recgan.recommenders.data import TrainingData, training_data
from recgan.recommenders.models.visual import CONTROLS, VisualRecommender
from recgan.recommenders.registry import create_recommender, load_recommender, recommender_names, recommender_type
from recgan.recommenders.scoring import Recommendation, UserVector
from recgan.recommenders.train import train_recommender

__all__ = [
    "CONTROLS",
    "Recommendation",
    "Recommender",
    "TrainingData",
    "UserVector",
    "VisualRecommender",
    "create_recommender",
    "load_recommender",
    "recommender_names",
    "recommender_type",
    "train_recommender",
    "training_data",
]
