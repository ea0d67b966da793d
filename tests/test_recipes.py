"""Every recipe that ships: its header, that it builds, and that all counts of it agree."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import paper_tables
import pytest

from tests.audit.closed_form import closed_form_macs
from zoo.assembly import build, load_recipe
from zoo.audit import Audit, audit_backbone
from zoo.backbone import Backbone
from zoo.recipe import Recipe

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").rglob("*.y*ml"))
PATHS = {path.stem: path for path in RECIPES}


ROWS = paper_tables.load_rows()
BLOCKS = paper_tables.load_blocks()
NOTES = paper_tables.notes_of(ROWS)
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
"""The manual's results, as ``paper_tables.py`` prints them: paste what it prints where they are others."""

REGISTRY = paper_tables.with_packages()
OF_TABLES = paper_tables.recipes()


@cache
def built(name: str, *otherwise: str) -> tuple[Recipe, Backbone]:
    recipe = load_recipe(OF_TABLES[name], otherwise, REGISTRY)
    return recipe, build(recipe, registry=REGISTRY, device="meta")


@cache
def audited(name: str, *otherwise: str) -> Audit:
    recipe, backbone = built(name, *otherwise)
    return audit_backbone(backbone, recipe)


def test_all_recipes_are_found() -> None:
    assert len(RECIPES) == 50
    assert [stem for stem, count in Counter(path.stem for path in RECIPES).items() if count > 1] == []


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_header(path: Path) -> None:
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    command = "train --recipe {}" if path.stem.startswith("digits_") else "build --recipe {} --flops"
    assert re.fullmatch(rf"# \S.*\S   zoo {command.format(re.escape(path.stem))}", first)
    assert re.fullmatch(r"# Source: \S.*\.", second)


def slow_if_large(name: str) -> Any:
    """Large models that are in no table are counted as their base models are, only longer."""
    is_large = re.search("_x?l(_|$)", name) and name not in {row.recipe for row in ROWS}
    return pytest.param(name, marks=pytest.mark.slow) if is_large else name


@pytest.mark.parametrize("name", [slow_if_large(name) for name in PATHS])
def test_three_counters_agree(name: str) -> None:
    """The closed form, and in the audit fvcore on the trace and PyTorch's own counter, which it holds against it."""
    recipe, backbone = built(name)
    report = audited(name)
    assert report.recipe == name
    assert all(parameter.is_meta for parameter in backbone.parameters())
    assert [stage.macs for stage in report.stages] == closed_form_macs(recipe)


def name_of(row: paper_tables.Row) -> str:
    return f"{row.table}: {row.row}".replace(" ", "_")


def slow_if_of_a_package(row: paper_tables.Row) -> Any:
    """Their packages count them too."""
    marks = [pytest.mark.slow] if row.recipe not in PATHS else []
    return pytest.param(row, id=name_of(row), marks=marks)


@pytest.mark.parametrize("row", [slow_if_of_a_package(row) for row in ROWS])
def test_paper_row(row: paper_tables.Row) -> None:
    figures = paper_tables.compare(row, audited)
    assert paper_tables.line_of(row, figures, NOTES) in PAGE.splitlines()
    assert {name: figure for name, figure in figures.items() if not figure.within} == {}
    checked = {name for name, figure in figures.items() if figure.limit is not None}
    wanted = {"percent"} if row.against else {"macs" if row.gmacs_here is None else "macs_here"}
    wanted |= {"parameters"} if row.params_m else set()
    wanted |= {"convention"} if row.gmacs_paper and row.convention != "-" else set()
    assert checked == wanted


def test_a_figure_is_counted_by_its_own_convention() -> None:
    report = audited("dit_xl_512")
    counted = {each: paper_tables.as_counted(report, each) for each in ("MPDiT", "torchprofile", "with norms", "-")}
    assert counted["torchprofile"] == report.torchprofile_convention.macs > report.macs
    assert counted["MPDiT"] == report.paper_convention.macs
    assert counted["with norms"] == report.macs + report.norm_ops
    assert counted["-"] == report.macs


@pytest.mark.parametrize(("name", "printed"), [("dit_b", 23.02), ("dit_xl", 118.66), ("dit_xl_512", 524.7)])
def test_what_is_counted_by_torchprofile_is_no_count_of_multiply_adds(name: str, printed: float) -> None:
    row = paper_tables.Row(table="t", row="r", recipe=name, gmacs_paper=printed, convention="torchprofile")
    assert paper_tables.compare(row, audited)["convention"].within
    report = audited(name)
    assert abs(report.macs / 1e9 - printed) > row.convention_limit


def test_a_block_is_counted_in_each_schedule() -> None:
    (block,) = (each for each in BLOCKS if each.block == "DiT")
    costs = paper_tables.costs_of(block, audited)
    assert list(costs) == ["one", "by_depth", "by_timestep", "both"]
    assert costs["by_depth"] == audited("mpdit_b").macs
    assert costs["by_timestep"] == audited("ppflow_b_2").macs
    assert costs["one"] == audited("sit_b").macs
    _, _, row = paper_tables.markdown_of_blocks([block], [costs])
    assert row == "| DiT | 23.005 | 16.165 (70.3%) | 14.285 (62.1%) | 10.563 (45.9%) |"
    assert row in PAGE.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("block", [each for each in BLOCKS if each.block != "DiT"], ids=lambda block: block.block)
def test_a_block_of_a_package_costs_what_the_page_says(block: paper_tables.Block) -> None:
    *_, line = paper_tables.markdown_of_blocks([block], [paper_tables.costs_of(block, audited)])
    assert line in PAGE.splitlines()


def test_every_row_of_every_table_is_there() -> None:
    assert Counter(row.table for row in ROWS) == {
        "MPDiT 1": 12, "MPDiT 2": 2, "MPDiT 3": 5, "MPDiT 4": 8, "MPDiT 5": 6, "MPDiT 6": 5, "MPDiT 7": 5,
        "MPDiT 8": 5, "MPDiT 9": 3, "DiT 1": 4, "PPFlow": 4, "PPFlow 3": 3, "REPA": 1,
        "MaskDiT": 1, "Hybrid": 2,
    }  # fmt: skip
    unchecked = {row.recipe for row in ROWS if row.convention == "-"}
    at_512 = {"mpdit_xl_512", "mpdit_xl_512_three_level", "dico_xl_512"}
    assert unchecked == {"mpdit_b_conv_transpose", "dig_b", "dig_xl"} | at_512


@pytest.mark.parametrize(
    ("column", "value", "limit"),
    [
        ("params_m", 104.8, 0.1), ("params_m", 482, 1.1), ("gmacs_true", 16.165, 0.016165), ("gmacs_paper", 16.6, 0.1),
    ],
)  # fmt: skip
def test_limits(column: str, value: float, limit: float) -> None:
    row = paper_tables.Row(table="t", row="r", recipe="mpdit_b", **{column: value})
    (figure,) = paper_tables.compare(row, audited).values()
    assert figure.limit == pytest.approx(limit)


@pytest.mark.parametrize(
    ("column", "wrong"),
    [("params_m", 104.7), ("params_m", 103), ("gmacs_true", 16.14), ("gmacs_paper", 16.5), ("percent_true", 70.5)],
)
def test_check_catches_a_wrong_figure(
    column: str, wrong: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    against = "dit_b" if column == "percent_true" else None
    row = paper_tables.Row(table="t", row="wrong one", recipe="mpdit_b", against=against, **{column: wrong})
    monkeypatch.setattr(paper_tables, "load_rows", lambda: [row])
    monkeypatch.setattr(paper_tables, "load_blocks", lambda: [])
    monkeypatch.setattr(paper_tables, "auditor", lambda: audited)
    assert paper_tables.main(["--check"]) == 1
    assert "t: wrong one: " in capsys.readouterr().err
    assert paper_tables.main([]) == 0


def test_tables_are_markdown_and_on_the_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the figures of one assembly throughout: those of each row, and of each block, are looked at above."""
    monkeypatch.setattr(paper_tables, "auditor", lambda: lambda name, *otherwise: audited("hybrid_b"))
    assert paper_tables.main([]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("out of tolerance:"), "the progress bar is for terminals alone"
    costs, shares, notes, blocks = (block.splitlines() for block in printed.out.strip().split("\n\n"))
    assert len(costs) + len(shares) == 4 + len(ROWS)
    assert len(blocks) == 2 + len(BLOCKS)
    for table in (costs, shares, blocks):
        assert len({line.count("|") for line in table}) == 1
    assert [line.split(".")[0] for line in notes] == [str(1 + index) for index in range(len(notes))]
    cited = {int(number) for number in re.findall(r"\[(\d+)\] \|", printed.out)}
    assert cited == set(range(1, 1 + len(notes)))
    assert named(printed.out.strip()) in named(PAGE), "the manual's results have other rows: paste the tool's output"


def named(text: str) -> str:
    """A text of which rows of figures keep no more than what they are of, and in which table and place they stand."""
    return re.sub(r"^(\| [^|]+ \|(?: [^|]+ \| `\w+` \|)?) .*\d.*$", r"\1", text, flags=re.MULTILINE)
