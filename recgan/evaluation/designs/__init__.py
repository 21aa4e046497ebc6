"""The proof of designs: a recommender makes them, others who never saw them made say what they are worth."""

from recgan.evaluation.designs.independence import judge_of, shared_eye
from recgan.evaluation.designs.proving import evaluate_designs
from recgan.evaluation.designs.report import DesignsReport, MethodFigures

__all__ = ["DesignsReport", "MethodFigures", "evaluate_designs", "judge_of", "shared_eye"]
