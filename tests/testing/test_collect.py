"""Tests of parts and laws, one by one, as pytest runs them for the author of a package."""

from __future__ import annotations

import re

import pytest

PART = '''
import zoo
from torch import nn
from zoo.parts import TimeEmbedder


@zoo.part("time_embedder", "mine")
class Mine(TimeEmbedder):
    """Mine."""

    def __init__(self, dim: int, *, scale: float = 1.0, layers: int = 1):
        super().__init__()
        self.proj, self.scale = nn.Linear(1, dim), scale

    def forward(self, t):
        if self.scale != 1.0:
            _, _ = t.shape
        return self.proj((t - {mean}).unsqueeze(1)) * self.scale


@zoo.hookimpl
def zoo_parts():
    return [Mine]
'''

TESTS = """
import my_parts
from zoo.testing import check_part, laws_of_package, laws_of_parts

test_package = laws_of_package("My.Package")
test_parts = laws_of_parts(my_parts.Mine)


def test_one():
    check_part(my_parts.Mine, laws=["batch_invariance"])
"""


@pytest.fixture
def package(pytester: pytest.Pytester) -> pytest.Pytester:
    """An installed distribution with a part that breaks the law of batches, and others for one option."""
    pytester.makepyfile(my_parts=PART.replace("{mean}", "t.mean()"), test_mine=TESTS)
    for name, value in {"my-package": "my_parts", "broken": "not_there", "empty": None}.items():
        info = pytester.mkdir(f"{name.replace('-', '_')}-1.0.dist-info")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
        (info / "entry_points.txt").write_text(f"[zoo.parts]\nmine = {value}\n" if value else "", "utf-8")
    pytester.syspathinsert()
    return pytester


def run(package: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Pytest in the folder of a package; with zoo's plug-in, whatever is said of zoo where it is installed here."""
    options = ["-p", "pytest_zoo", "-p", "no:cacheprovider", "-p", "no:timeout", "-p", "no:random_order"]
    options += ["-W", "ignore::DeprecationWarning"]
    return package.runpytest_inprocess(*options, *arguments)


def failures(output: str) -> dict[str, list[str]]:
    """The lines of each failure, by the name that stands above them."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in output.partition(" FAILURES ")[2].partition(" short test summary")[0].splitlines()[1:]:
        if line.startswith("___"):
            name = line.strip("_ ")
            found[name] = []
        elif line.strip():
            found[name].append(line)
    return found


def test_a_package_is_checked_part_by_part_and_law_by_law(package):
    done = run(package, "--zoo-plugin", "my-package", "-k", "batch_invariance or shape_contract", "-v")
    assert done.ret == 1
    assert re.search(r"collected \d+ items / \d+ deselected / 2 selected", str(done.stdout))
    assert "my-package::time_embedder-mine-batch_invariance FAILED" in str(done.stdout)
    told = failures(str(done.stdout))
    law = "A sample's output does not depend on who else is in the batch."
    first = f"time_embedder mine (my_parts.Mine) breaks the law batch_invariance: {law}"
    assert told["time_embedder-mine-batch_invariance"][0] == first
    at = r"    at my_parts\.py:\d+, in forward: _, _ = t\.shape"
    assert any(re.fullmatch(at, line) for line in told["time_embedder-mine-shape_contract"])
    assert all(len(lines) <= 12 for lines in told.values())


@pytest.mark.parametrize("processes", ["0", pytest.param("2", marks=pytest.mark.slow)])
def test_in_a_file_of_tests_one_line_does_the_same(package, processes):
    done = run(package, "-k", "batch_invariance or test_one", "-n", processes)
    told = failures(str(done.stdout))
    assert {name.partition(" [gw")[0] for name in told} == {
        "test_package[time_embedder-mine-batch_invariance]",
        "test_parts[time_embedder-mine-batch_invariance]",
        "test_one",
    }
    assert all(len(lines) <= 12 for lines in told.values())


def test_with_the_whole_traceback_where_that_is_asked_for(package):
    done = run(package, "--zoo-plugin", "my-package", "-k", "shape_contract", "--tb=long")
    assert "_, _ = t.shape" in str(done.stdout)
    assert "E           ValueError: not enough values to unpack" in str(done.stdout)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("not-there", "no package not-there with parts is installed"),
        ("my-pakage", "did you mean 'my-package'"),
        ("broken", "No module named 'not_there'"),
        ("empty", "no package empty with parts is installed"),
    ],
)
def test_a_package_without_parts_is_an_error_of_usage(package, name, message):
    done = run(package, "--zoo-plugin", name, "--zoo-plugin", "my-package")
    assert done.ret == 4
    (line,) = [line for line in done.errlines if line]
    assert line.startswith("ERROR: --zoo-plugin: ")
    assert message in line


def test_who_does_not_ask_for_it_imports_no_zoo(package):
    package.makepyfile(test_other="import sys\n\ndef test(): assert not {'zoo', 'torch'} & set(sys.modules)\n")
    assert package.runpytest_subprocess("-p", "pytest_zoo", "test_other.py").ret == 0
