"""The commands that the manual shows run, one page after the other in a folder: small where they would be dear."""

import re
import shlex

import pages
import pytest
from typer.testing import CliRunner

from tests.shown import FILES, TEXTS, block_with
from zoo.cli import app

NOT_RUN = {
    r"stabilityai|inception|imagenet|torchrun|--procs": "needs a download, or machines: options are checked alone",
    r"SiT-XL|sit_xl|ppflow_xl_2": "of the paper's size: tests/weights do the same to small ones",
    r"fit: adapt": "tests/weights/test_adapting.py does it to small ones",
    r"^zoo sweep": "dozens of backbones: tests/cli/test_sweep.py has two",
    r"^zoo train --recipe mpdit_b|^zoo plan --recipe hybrid_xl": "of the paper's size",
    r"zoo-lightning|lightning": "needs a package of plugins/, which has tests of its own",
    r"^(make|python|source|pip|export|#|head=|srun| )": "no command of zoo, or a job's script",
    r" [|>] ": "needs a shell: test_a_shell_runs_it has them",
}
"""Commands that are not run here, and why."""

LESS = {
    r"^zoo train --recipe": "--set train.steps=4 --set train.checkpoint_every=2 --set evaluate.count=64"
    " --set sample.steps=4",
    r"--count 100": "--count 8",
    r"--count 500": "--count 16",
    r"--step 750": "--step 2",
}
"""What a command gets besides, so that it ends in seconds; what a run is judged by is its own."""

PLACES = (
    "README.md", "docs/start.md", "docs/train.md", "docs/judge.md", "docs/compare.md", "docs/compose.md",
    "docs/plugins.md",
)  # fmt: skip
"""Pages of which commands run, those first that make what others look at."""


def shown(place: str) -> list[str]:
    """The lines of a page that a shell would run."""
    text = "".join(pages.blocks(TEXTS[place], "bash")).replace("\\\n", "")
    return [line for each in text.splitlines() if (line := re.split(r" +#", each)[0])]


def is_run(line: str) -> bool:
    return not any(re.search(pattern, line) for pattern in NOT_RUN)


def zoo(line: str) -> None:
    """Run a line, for less."""
    less = (more for pattern, more in LESS.items() if re.search(pattern, line))
    result = CliRunner().invoke(app, shlex.split(" ".join([line, *less]))[1:])
    assert result.exit_code == 0, (line, result.output)


@pytest.mark.slow
@pytest.mark.timeout(900)  # it runs two dozen commands
def test_what_is_shown_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, part in FILES.items():
        (tmp_path / name).write_text(block_with("python", part))
    for line in dict.fromkeys(["zoo train --recipe digits_dit", *(each for place in PLACES for each in shown(place))]):
        if is_run(line):  # the front page shows some that a page below shows too
            zoo(line)


def test_all_else_stands_on_the_list():
    lines = {place: shown(place) for place in TEXTS}
    left = [line for place, every in lines.items() if place not in PLACES for line in filter(is_run, every)]
    assert left == []
    assert [sum(map(is_run, lines[place])) for place in PLACES] == [6, 5, 6, 4, 3, 1, 1]


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_no_command_is_left_out_that_is_not_shown(pattern):
    assert any(re.search(pattern, line) for place in TEXTS for line in shown(place))
