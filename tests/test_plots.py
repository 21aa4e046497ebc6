"""What the plots show: positions, names in their order, labels of the axes."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from recgan.evaluation.estimates import Estimate
from recgan.evaluation.plots import Panel, plot_estimates, plot_series

NAN = Estimate(math.nan, math.nan, math.nan)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), save(self, *a, **k)))
    return figures


def test_estimates_stand_where_they_are_the_first_name_at_the_top(drawn, tmp_path):
    rows = [Estimate(0.7, 0.6, 0.8), NAN, Estimate(0.5, 0.45, 0.55)]
    names = ["vbpr", "a $name$ that is no formula", "runs/" + "x" * 60]
    plot_estimates(tmp_path / "p.png", "title", names, [Panel("AUC (95% interval)", rows, 0.9, "oracle")])
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    (axis,) = drawn[0].axes
    assert axis.get_xlabel() == "AUC (95% interval)"
    shown = {place: label.get_text() for place, label in zip(axis.get_yticks(), axis.get_yticklabels())}
    assert list(shown) == [3, 2, 1]
    assert [shown[3], shown[2]] == names[:2]
    assert shown[1] == "…" + "x" * 39
    *bars, dots, line = [(list(one.get_xdata()), list(one.get_ydata())) for one in axis.lines]
    assert bars == [([0.6, 0.8], [3, 3]), ([0.45, 0.55], [1, 1])]
    assert dots == ([0.7, 0.5], [3, 1])
    assert line[0] == [0.9, 0.9]
    assert [text.get_text() for text in axis.texts] == ["oracle"]


def test_numbers_along_an_axis_do_not_touch(drawn, tmp_path):
    rows = [Estimate(value, value - 0.006, value + 0.006) for value in (0.81, 0.776, 0.644)]
    names = ["visual_knn", "ideal_point", "popularity"]
    plot_estimates(tmp_path / "p.png", "title", names, [Panel("AUC, all items (95% interval over users)", rows)] * 3)
    for axis in drawn[0].axes:
        boxes = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_text()]
        boxes.sort(key=lambda box: box.x0)
        assert len(boxes) > 2
        assert all(one.x1 + 10 < other.x0 for one, other in pairwise(boxes))  # a digit and more


def test_series_have_a_line_a_name_and_leave_out_what_is_not_known(drawn, tmp_path):
    lines = {"als": [Estimate(0.2, 0.1, 0.4), NAN], "popularity": [Estimate(0.1, 0.1, 0.1), Estimate(0.3, 0.2, 0.4)]}
    plot_series(tmp_path / "p.png", "title", "week", "NDCG@20", ["2025-01-06", "2025-01-13"], lines)
    (axis,) = drawn[0].axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("week", "NDCG@20")
    assert [label.get_text() for label in axis.get_xticklabels()] == ["2025-01-06", "2025-01-13"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(lines)
    ends = [bar[1].tolist() for container in axis.containers for bar in container.lines[2][0].get_segments()]
    starts = [bar[0].tolist() for container in axis.containers for bar in container.lines[2][0].get_segments()]
    assert [y for _, y in starts] == pytest.approx([0.1, 0.1, 0.2])
    assert [y for _, y in ends] == pytest.approx([0.4, 0.1, 0.4])
    assert axis.get_ylim()[0] == 0
