"""The backtest: models judged on the last weeks of a log, one after the other."""

from recgan.evaluation.backtest.report import BacktestReport
from recgan.evaluation.backtest.running import backtest

__all__ = ["BacktestReport", "backtest"]
