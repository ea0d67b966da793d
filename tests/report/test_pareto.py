"""The front of a Pareto plot, its axes, and that equal figures give equal files."""

import itertools
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo
from zoo.errors import ZooError
from zoo.evaluate.frechet import FID
from zoo.plugins import Plugin
from zoo.registry import Registry, part
from zoo.report.comparison import Cost, Entry, Outcome
from zoo.report.pareto import Axis, axes_of, pareto_front, plot, to_svg

REGISTRY = Registry()
METRICS = ("accuracy", "fid")


def entry(name, macs, *qualities, image=None, activations=None):
    outcomes = tuple(
        Outcome(name, 10, 500, {"fid": 1.0, **each}, METRICS, 100.0, 50.0, has_floor=True) for each in qualities
    )
    return Entry(name, Cost(macs // 2, macs, (), image, None, "", activations), outcomes)


def beaten(points, index):
    """Whether another point is at least as good on both axes, and better on one: brute force."""
    own = points[index]
    return any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in points)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_is_what_nothing_beats(points):
    unbeaten = {points[index] for index in range(len(points)) if not beaten(points, index)}
    assert {points[index] for index in pareto_front(points)} == unbeaten


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=12))
def test_the_front_goes_from_left_to_right_without_repeating_itself(points):
    found = [points[index] for index in pareto_front(points)]
    assert all(one[0] < other[0] and one[1] > other[1] for one, other in itertools.pairwise(found))


def test_axes_are_cost_and_quality_where_runs_are_given():
    entries = [entry("a", 10, {"accuracy": 0.9, "fid_relative": 0.1}, image=100)]
    assert axes_of(entries, None, None, REGISTRY) == (Axis("image_macs"), Axis("fid_relative"))
    assert axes_of(entries, "params", "accuracy", REGISTRY) == (Axis("params"), Axis("accuracy", more_is_better=True))
    assert axes_of(entries, None, "trained images/s", REGISTRY)[1].more_is_better


@part("metric", "contrary")
class Contrary(FID):
    """FID for those who want it high."""

    more_is_better = ("fid_relative",)


def test_a_metric_that_no_run_was_judged_by_has_no_say():
    registry = Registry()
    registry.register(SimpleNamespace(zoo_parts=zoo.hookimpl(lambda: [Contrary])), Plugin("tests", "1"))
    entries = [entry("a", 10, {"fid_relative": 0.1}, image=100)]
    assert axes_of(entries, None, None, registry)[1] == Axis("fid_relative")


def test_axes_are_cost_and_size_without_runs():
    assert axes_of([entry("a", 10)], None, None, REGISTRY) == (Axis("macs"), Axis("params"))


def test_an_axis_that_nothing_has():
    with pytest.raises(ZooError, match=r"--y accuracy: nothing has such a figure .*figures of quality need --runs"):
        axes_of([entry("a", 10)], None, "accuracy", REGISTRY)
    with pytest.raises(ZooError, match=r"--x parms: nothing has such a figure; did you mean 'params'\?"):
        axes_of([entry("a", 10)], "parms", None, REGISTRY)


def test_more_of_what_is_good_ranks_first():
    assert Axis("accuracy", more_is_better=True).rank(0.9) < Axis("accuracy", more_is_better=True).rank(0.8)
    assert Axis("fid").rank(0.8) < Axis("fid").rank(0.9)


def test_runs_become_a_mean_with_a_bar():
    several = entry("a", 10, {"accuracy": 0.8}, {"accuracy": 1.0})
    spread = Axis("accuracy").value(several)
    assert spread.mean == pytest.approx(0.9)
    assert spread.deviation == pytest.approx(0.1414, abs=1e-4)
    assert Axis("macs").value(several) == (10e-9, None)


def test_a_plot_names_its_points_and_joins_the_front():
    entries = [entry("small", 10, {"accuracy": 0.8}), entry("large", 20, {"accuracy": 0.9})]
    entries.append(entry("beaten", 30, {"accuracy": 0.7}))
    figure = plot(entries, Axis("macs"), Axis("accuracy", more_is_better=True))
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["small", "large", "beaten"]
    assert axes.lines[0].get_xdata() == pytest.approx([10e-9, 20e-9])
    assert "more is better" in axes.get_ylabel()
    assert to_svg(figure) == to_svg(plot(entries, Axis("macs"), Axis("accuracy", more_is_better=True)))


def test_names_are_shown_as_they_are():
    figure = plot([entry("a$\\bad$<&\x00", 10)], Axis("macs"), Axis("params"))
    assert "a$\\bad$" in "".join(ElementTree.fromstring(to_svg(figure)).itertext())


def test_nothing_to_plot():
    with pytest.raises(ZooError, match="--plot: no recipe has both activation_bytes and params; choose other axes"):
        plot([entry("a", 10)], Axis("activation_bytes"), Axis("params"))
