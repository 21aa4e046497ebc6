"""The gap finder: what cohorts of users would like that the catalogue lacks, as a second recommender sees it."""

from recgan.evaluation.gaps.choosing import choose_judge, load_judge
from recgan.evaluation.gaps.cohorts import TasteCohort, taste_cohorts
from recgan.evaluation.gaps.finding import Gap, Gaps, find_gaps
from recgan.evaluation.gaps.pages import load_gaps, save_gaps

__all__ = [
    "Gap",
    "Gaps",
    "TasteCohort",
    "choose_judge",
    "find_gaps",
    "load_gaps",
    "load_judge",
    "save_gaps",
    "taste_cohorts",
]
