"""The ranking protocol: models judged exactly by held-out interactions, and compared."""

from recgan.evaluation.ranking.comparing import evaluate_ranking
from recgan.evaluation.ranking.contenders import with_controls
from recgan.evaluation.ranking.report import Comparison, ModelFigures, RankingReport

__all__ = ["Comparison", "ModelFigures", "RankingReport", "evaluate_ranking", "with_controls"]
