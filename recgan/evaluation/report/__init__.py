"""The report: one page that shows what was trained, how well it ranks, and what it designs."""

from recgan.evaluation.report.making import make_report, write_report

__all__ = ["make_report", "write_report"]
