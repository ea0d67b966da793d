"""Tables of plain cells, as commands print them and pages show them."""

from dataclasses import replace

import pytest

from tests.shapes import level, recipe_of
from tests.train.small import small
from zoo.assembly import build
from zoo.audit import audit
from zoo.report.comparison import Cost, Entry, Outcome, StageCost
from zoo.report.tables import (
    audit_facts,
    cost_table,
    figures_table,
    giga,
    parts_table,
    plain_way_table,
    quality_table,
    way_table,
    with_unit,
)

HALF = {"type": "tread", "first": 1, "stop": 2}
FINE = {"noise_above": 0.0, "levels": [level(2, 2)]}
COST = Cost(2_000_000, 3_000_000, (StageCost((0.0, 1.0), 3_000_000, (8, 20)),), None, None, "dopri5", None)


def outcome(fid: float, **figures: float) -> Outcome:
    return Outcome("run", 3, 12, {"fid": fid, **figures}, ("fid",), None, 5.0, has_floor=True)


def test_every_row_has_a_cell_for_every_column():
    report = audit(small())
    record = {"counts": {"real": 9, "a": 3, "b": 4}, "evaluate": {"features": {"type": "pca"}, "reference": "train"}}
    entries = [Entry("one", COST, (outcome(1.0),))]
    for table in (
        way_table(report, small().backbone.dim),
        parts_table(report),
        figures_table({"a": {"x": 1.0}, "b": {"y": 2.0}}, record),
        cost_table(entries),
        quality_table(entries),
    ):
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}


def test_the_levels_and_the_rest_of_a_stage_are_its_sum():
    report = audit(small())
    table = way_table(report, small().backbone.dim)
    sums = [table.rows[index] for index in sorted(table.sums)]
    assert [row[6] for row in sums] == [giga(stage.macs) for stage in report.stages]
    assert sum(float(row[7].rstrip("%")) for row in sums) == pytest.approx(100, abs=0.2)
    assert [row[4] for row in table.rows] == ["2 + 1 = 3", "2 + 4 = 6", "rest", "stage", "2 + 4 = 6", "rest", "stage"]


def test_parts_in_slots_stand_below_the_part_around_them_and_parts_without_a_place_nowhere():
    rows = parts_table(audit(small())).rows
    kinds = [row[0] for row in rows]
    block = kinds.index("block")
    assert kinds[block : block + 4] == ["block", "  attention", "  mlp", "  norm"]
    assert [row[1] for row in rows[block : block + 4]] == ["dit", "softmax", "gelu", "layer"]
    assert "downsampler" not in kinds


def test_widths_stand_beside_patches_where_one_is_not_the_backbones():
    recipe = small()
    report = audit(recipe)
    plain, wide = (way_table(report, dim) for dim in (recipe.backbone.dim, 99))
    assert "width" not in plain.columns
    place = wide.columns.index("width")
    assert [row[place] for row in wide.rows] == [str(recipe.backbone.dim) if row[1] else "" for row in wide.rows]
    assert [(*row[:place], *row[place + 1 :]) for row in wide.rows] == list(plain.rows)
    assert wide.sums == plain.sums


def test_a_figure_that_a_set_has_not_is_a_dash():
    record = {"counts": {"real": 9, "a": 3, "b": 4}, "evaluate": {"features": {"type": "pca"}, "reference": "train"}}
    table = figures_table({"a": {"x": 1.0}, "b": {"y": 2.0}}, record)
    assert table.rows == (("x", "1", "-"), ("y", "-", "2"), ("images", "3", "4"))


def test_deviations_stand_below_means_of_several_runs():
    entries = [Entry("one", COST, (outcome(1.0), outcome(2.0))), Entry("other", COST, (outcome(1.5, x=2.0),))]
    table = quality_table(entries)
    step = str(entries[0].outcomes[0].step)
    assert [row[:4] for row in table.rows] == [("one", "2", step, "1.5\n± 0.7"), ("other", "1", step, "1.5")]
    assert [row[table.columns.index(">x")] for row in table.rows] == ["-", "2"]
    assert quality_table([Entry("none", COST)]) is None


def test_figures_without_a_floor_are_called_so():
    bare = Entry("bare", COST, (replace(outcome(1.0), has_floor=False),))
    assert "12 images each (no floor): means" in quality_table([bare]).title
    assert "floor" not in quality_table([Entry("one", COST, (outcome(1.0),))]).title


def test_what_is_not_known_is_a_dash():
    (row,) = cost_table([Entry("one", COST)]).rows
    assert row == ("one", "2.00 M", "3.000 M", "100.0%", "", "8 > 20", "-", "-", "-", "-")


@pytest.mark.parametrize(
    ("count", "words"),
    [(10**8 - 1, "100.000 M"), (10**8, "0.100 G"), (10**11, "0.100 T"), (10**15, "1.000 P"), (10**18, "1.000 E")],
)
def test_units(count, words):
    assert with_unit(count) == words


def test_training_stands_beside_sampling_where_a_router_leaves_out_tokens():
    plain, routed = Entry("plain", COST), Entry("routed", replace(COST, training_macs=2_000_000))
    assert ">in training" not in cost_table([plain]).columns
    table = cost_table([plain, routed])
    place = table.columns.index(">in training")
    assert table.columns[place - 1] == ">MACs"
    assert [row[place - 1 : place + 1] for row in table.rows] == [("3.000 M", "3.000 M"), ("3.000 M", "2.000 M")]
    before = cost_table([plain, plain]).rows
    assert [(*row[1:place], *row[place + 1 :]) for row in table.rows] == [row[1:] for row in before]


def test_the_facts_say_what_training_costs_where_a_router_leaves_out_tokens():
    plain, routed = (audit(recipe_of([level(2, 3)], router=each)) for each in ("none", HALF))
    assert "in training" not in dict(audit_facts(plain))
    assert plain.training_macs == plain.macs == routed.macs > routed.training_macs
    words = dict(audit_facts(routed))["in training"]
    share = routed.training_macs / routed.macs
    assert (
        words == f"{giga(routed.training_macs)} a forward pass, {share:.1%} of sampling's: the router leaves out tokens"
    )


def test_sizes_of_latents_stand_beside_stages_that_have_their_own():
    own, same = ([{"noise_above": 0.5, "levels": [level(4, 2)], **more}, FINE] for more in ({"scale": 2}, {}))
    for build_table in (lambda each: way_table(audit(each), 24), lambda each: plain_way_table(build(each))):
        assert "latent" not in build_table(recipe_of(stages=same)).columns
        table = build_table(recipe_of(stages=own))
        assert table.columns[:2] == ("noise level", "latent")
        assert [row[1] for row in table.rows if row[0]] == ["4x8", "8x16"]
        assert [row[1] for row in table.rows if not row[0]] == [""] * (len(table.rows) - 2)
