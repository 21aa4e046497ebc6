"""How good a generator is, beside the catalogue's own photos."""

from recgan.evaluation.generative.judging import GenerativeJudge, evaluate_generative
from recgan.evaluation.generative.report import GenerativeReport

__all__ = ["GenerativeJudge", "GenerativeReport", "evaluate_generative"]
