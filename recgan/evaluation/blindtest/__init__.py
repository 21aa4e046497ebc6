"""A blind test by people: designs mixed with real items, votes on them, and what the votes say."""

from recgan.evaluation.blindtest.ballot import BallotBox, PageParts
from recgan.evaluation.blindtest.making import design_for_test, make_blindtest
from recgan.evaluation.blindtest.report import BlindTestReport, report_votes
from recgan.evaluation.blindtest.server import VoteServer
from recgan.evaluation.blindtest.votes import Key, Vote, load_key, read_votes

__all__ = [
    "BallotBox",
    "BlindTestReport",
    "Key",
    "PageParts",
    "Vote",
    "VoteServer",
    "design_for_test",
    "load_key",
    "make_blindtest",
    "read_votes",
    "report_votes",
]
