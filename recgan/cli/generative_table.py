"""The figures of a generative evaluation as tables for a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from recgan.evaluation.estimates import Estimate
    from recgan.evaluation.generative.report import Against, ClassFigures, GenerativeReport

__all__ = ["generative_table"]

_CLASSES = 10
"""Categories shown: those with the worst coverage."""


def generative_table(report: GenerativeReport) -> Group:
    """Return the figures beside those of real photos, and below them the categories that come out worst."""
    settings = report.settings
    title = (
        f"{report.bundle}: {report.n:,} samples of {report.gan['recipe']} at {report.gan['size']} px, "
        f"{report.n:,} test photos, seed {report.seed}\n"
    )
    extractor = _figures(f"{settings['extractor']} at {settings['extractor_size']} px")
    for name, label in (("kid", "KID"), *((name, name) for name in ("precision", "recall", "density", "coverage"))):
        own, real = getattr(report.likeness, name), getattr(report.likeness_of_train, name)
        extractor.add_row(label, _with_interval(own), _number(real.value), "")
    extractor.add_row("Frechet distance", _number(report.likeness.fd), _number(report.likeness_of_train.fd), "")
    extractor.add_row("memorised", _share(report.memorised), "1.0%", "")
    classifier = _figures(f"classifiers learnt here: of {report.classifier_images:,} photos, or of as many samples")
    classifier.add_row("KID", _with_interval(report.likeness_by_classifier.kid), "", "")
    _against(classifier, "class consistency", report.class_consistency)
    _against(classifier, "score", report.classifier_score)
    _against(classifier, "learnt from samples", report.train_on_synthetic)
    pairs = _figures(f"{report.pairs:,} pairs of pictures of one category")
    _against(pairs, "perceptual", report.perceptual)
    _against(pairs, "1 - SSIM", report.dissimilarity)
    if report.lpips is not None:
        _against(pairs, "LPIPS", report.lpips)
    tables = [extractor, classifier, pairs]
    if report.published is not None:
        published = _figures(report.published["extractor"])
        published.add_row("FID", _number(report.published["fid"]), "", "")
        published.add_row("Inception Score", _number(report.published["inception_score"]), "", "")
        tables.append(published)
    note = (
        "In brackets 95% bootstrap intervals. Photos: training photos in the place of samples (KID to coverage), else "
        "the test photos. Ratio: samples over photos.\n"
    )
    return Group(Text(title, style="bold"), *tables, Text(note, style="dim"), _classes(report))


def _classes(report: GenerativeReport) -> Table:
    def coverage(line: tuple[str, ClassFigures]) -> float:
        return line[1].coverage

    worst = sorted(report.per_class.items(), key=coverage)[:_CLASSES]
    table = _table(f"the {len(worst)} of {len(report.per_class)} categories with the lowest coverage: samples / photos")
    table.add_column("category")
    for name in ("n", "training", "coverage", "consistency", "diversity", "memorised"):
        table.add_column(name, justify="right")
    for name, figures in worst:
        table.add_row(
            Text(name),
            f"{figures.n:,}",
            f"{figures.train_images:,}",
            f"{figures.coverage:.2f} / {figures.coverage_real:.2f}",
            f"{figures.consistency:.2f} / {figures.consistency_real:.2f}",
            _number(figures.diversity),
            f"{figures.memorised:.0%}",
        )
    return table


def _figures(eye: str) -> Table:
    table = _table(eye)
    table.add_column("", min_width=19, no_wrap=True)
    for name, width in (("samples", 22), ("photos", 7), ("ratio", 22)):
        table.add_column(name, justify="right", min_width=width, no_wrap=True)
    return table


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))


def _against(table: Table, name: str, figure: Against) -> None:
    table.add_row(name, _number(figure.generated), _number(figure.real), _with_interval(figure.ratio))


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _with_interval(one: Estimate) -> str:
    if math.isnan(one.value):
        return "-"
    return f"{_number(one.value)} [{_number(one.low)}, {_number(one.high)}]"


def _share(one: Estimate) -> str:
    return f"{one.value:.1%} [{one.low:.1%}, {one.high:.1%}]"
